package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/chaos/sim"
	"soak/history"
)

// TestEachKindBitesAndHeals: every kind of fault, alone, is proven by what met it, ends, and leaves a cluster that is whole and has broken no
// promise.
func TestEachKindBitesAndHeals(t *testing.T) {
	target := map[string]string{chaos.RestartAll: "all", chaos.Bridge: "n1+n2", chaos.Reset: "all", chaos.PowerLoss: "n1+n2", chaos.Rolling: "all", chaos.AllApart: "all", chaos.ClientCrash: "clients"}
	parameters := map[string]string{
		chaos.OneWay: "way: out", chaos.Flapping: "every: 200ms", chaos.Reset: "every: 100ms", chaos.SlowDisk: "factor: 20", chaos.SlowNode: "factor: 50",
		chaos.ClockJump: "by: -300ms", chaos.ClockRate: "ppm: 20000", chaos.BitRot: "files: raft", chaos.Rolling: "every: 500ms", chaos.CrashLoop: "every: 300ms",
		chaos.Delay: "by: 30ms, jitter: 10ms", chaos.Loss: "ppm: 100000, clients: true",
	}
	during := map[string]string{
		chaos.Kill: "killed", chaos.RestartAll: "killed", chaos.Pause: "stopped", chaos.Partition: "dropped", chaos.OneWay: "n2→", chaos.Bridge: "dropped",
		chaos.Flapping: "dropped", chaos.Reset: "connections reset", chaos.PowerLoss: "lost power", chaos.DiskCrash: "into a disk operation",
		chaos.DiskFull: "refused", chaos.SlowDisk: "longer", chaos.WriteError: "refused", chaos.SyncError: "refused", chaos.ReadError: "refused",
		chaos.BitRot: "refuses to start", chaos.ClockJump: "jumped", chaos.ClockRate: "+20000 ppm", chaos.SlowNode: "a turn took",
		chaos.ClientCrash: "operations cut off",
		chaos.Stop:        "exit code 0", chaos.Rolling: "n3: up again", chaos.CrashLoop: "killed",
		chaos.AllApart: "dropped", chaos.ClientsCut: "dropped", chaos.Delay: "longer", chaos.Loss: "dropped",
	}
	for kind := range sim.Capabilities() {
		t.Run(kind, func(t *testing.T) {
			who := target[kind]
			if who == "" {
				who = "n2"
			}
			text := "nodes: 3\nelection_interval: 1s\nduration: 12s\nsteady: 0\ntopics: [{name: orders, partitions: 2}]\n" +
				"workloads: {produce: {rate: 40, batch: 2}, metadata: {rate: 4}}\nfaults:\n"
			text += fmt.Sprintf("  - {kind: %s, target: %s, at: 4s, for: 2s, brief: true, overlap: true%s}\n", kind, who, field(parameters[kind]))
			if kind == chaos.ReadError { // what was written lately is read from memory: a start reads the disk
				text += "  - {kind: kill, target: n2, at: 4100ms, for: 100ms, brief: true, overlap: true}\n"
			}
			s, err := scenario.Parse("kind.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			r, report, faults := judged(t, s, 3)
			clean(t, s, 3, r, report)
			for _, f := range faults {
				if f.Kind != kind {
					continue
				}
				if !f.Proven() || f.Healed < f.HealAsked || f.HealAsked < f.Effective+int64(2*time.Second) || f.Error != "" {
					t.Errorf("it was not seen to begin, to last and to end: %+v", f)
				}
				if !says(f.Evidence, "during", during[kind]) {
					t.Errorf("its evidence does not say %q: %+v", during[kind], f.Evidence)
				}
				return
			}
			t.Error("it is not in the record")
		})
	}
}

func field(f string) string {
	if f == "" {
		return ""
	}
	return ", " + f
}

func says(evidence []history.Evidence, phase, what string) bool {
	for _, e := range evidence {
		if e.Phase == phase && strings.Contains(e.What, what) {
			return true
		}
	}
	return false
}

// TestAFaultThatNothingMeetsIsGivenUp: a full disk that nobody writes to is no fault.
func TestAFaultThatNothingMeetsIsGivenUp(t *testing.T) {
	s, err := scenario.Parse("unmet.yaml", []byte("nodes: 3\nelection_interval: 1s\nduration: 16s\nsteady: 0\ntopics: [{name: orders, partitions: 1}]\n"+
		"faults: [{kind: disk-full, target: n2, at: 4s, for: 1s, brief: true, overlap: true}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, faults := judged(t, s, 1)
	if len(faults) != 1 || faults[0].Proven() || !strings.Contains(faults[0].Error, "nothing met it within 5s") || faults[0].Healed == 0 {
		t.Errorf("%+v", faults)
	}
}
