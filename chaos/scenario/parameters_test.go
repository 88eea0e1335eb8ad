package scenario

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/chaos"
)

// everyKind is one fault of each kind, as a person writes it.
const everyKind = `
faults:
  - {kind: kill, target: raft-leader, at: 3s, for: 50ms, brief: true}
  - {kind: restart-all, at: 3s}
  - {kind: pause, target: n1, at: 3s}
  - {kind: partition, target: n1+n3, at: 3s}
  - {kind: partition-one-way, target: follower, way: in, clients: true, at: 3s}
  - {kind: stop, target: n2, at: 3s}
  - {kind: rolling-restart, every: 1s, at: 3s}
  - {kind: crash-loop, target: raft-leader, every: 500ms, at: 3s}
  - {kind: bridge, target: n1+n2, at: 3s}
  - {kind: all-apart, at: 3s}
  - {kind: partition-clients, target: n2, at: 3s}
  - {kind: link-delay, target: n2, by: 50ms, jitter: 20ms, clients: true, at: 3s}
  - {kind: link-delay, target: n2, by: 50ms, at: 3s}
  - {kind: bandwidth, target: n2, bytes_per_second: 20000, at: 3s}
  - {kind: packet-loss, target: n2, ppm: 100000, at: 3s}
  - {kind: flapping-partition, target: n2, every: 300ms, at: 3s}
  - {kind: connection-reset, target: all, every: 100ms, at: 3s}
  - {kind: power-loss, target: all, at: 3s}
  - {kind: disk-crash, target: n3, at: 3s}
  - {kind: disk-full, target: n3, at: 3s}
  - {kind: slow-disk, target: n3, factor: 20, at: 3s}
  - {kind: write-error, target: n3, at: 3s}
  - {kind: fsync-error, target: n3, at: 3s}
  - {kind: read-error, target: n3, at: 3s}
  - {kind: bit-rot, target: n3, files: raft, at: 3s}
  - {kind: clock-jump, target: n3, by: -2s, at: 3s}
  - {kind: clock-rate, target: n3, ppm: -20000, at: 3s}
  - {kind: slow-node, target: n3, factor: 30, at: 3s}
  - {kind: client-crash, target: produce-2, at: 3s}
  - {kind: client-crash, target: clients, at: 3s}
  - {kind: client-crash, target: consume-1, at: 3s}
`

func TestEveryKindIsReadAndWritten(t *testing.T) {
	s := written(t, "kinds.yaml", "sim: {latency_max: 2ms, drop_ppm: 500, wire: true, power_seed: 18446744073709551615}"+everyKind)
	again, err := Parse("again.yaml", s.YAML())
	if err != nil {
		t.Fatalf("%v\n%s", err, s.YAML())
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("it reads differently (-first +read):\n%s", diff)
	}
	var seen []string
	for _, f := range s.Faults {
		if !slices.Contains(seen, f.Kind) {
			seen = append(seen, f.Kind)
		}
	}
	if diff := cmp.Diff(kinds, seen, cmp.Transformer("sorted", func(k []string) []string { return slices.Compact(slices.Sorted(slices.Values(k))) })); diff != "" {
		t.Errorf("kinds tried here (-known +tried):\n%s", diff)
	}
	if s.Sim.PowerSeed != 1<<64-1 || !s.Sim.Wire || s.Sim.LatencyMin != DefaultSim.LatencyMin || s.Sim.Readers != DefaultSim.Readers {
		t.Errorf("what the section says, and else the defaults: %+v", s.Sim)
	}
	if got := s.Window(s.Faults[0], true).Milliseconds(); got != 50 {
		t.Errorf("a brief fault on the raft leader lasts %d ms", got)
	}
}

// What a hint proposes is accepted when it is written down.
func TestWhatIsMissingIsShownByAnExample(t *testing.T) {
	for _, kind := range kinds {
		for _, name := range parameters(kind) {
			fault := "{kind: " + kind + ", target: n2, at: 1"
			if kind == chaos.Rolling {
				fault = "{kind: " + kind + ", at: 1"
			}
			parse := func(fault string) error {
				_, err := Parse("x.yaml", []byte("faults: ["+fault+"}]\ntopics: [{name: a}]\n"))
				return err
			}
			var refusal *Error
			if !errors.As(parse(fault), &refusal) || !strings.HasPrefix(refusal.Hint, "as in ") {
				t.Errorf("%s without %s: %+v", kind, name, refusal)
				continue
			}
			if err := parse(fault + ", " + strings.TrimPrefix(refusal.Hint, "as in ")); err != nil {
				t.Errorf("%s with what the hint proposes: %v", kind, err)
			}
		}
	}
}

func TestParametersOfOtherKindsAreRefused(t *testing.T) {
	for lines, want := range map[string]string{
		"faults: [{kind: kill, target: n1, at: 1, factor: 3}]":                             "factor does not belong to kill",
		"faults: [{kind: slow-disk, target: n1, at: 1}]":                                   "slow-disk needs factor",
		"faults: [{kind: bridge, target: n1, at: 1}]":                                      "a bridge cuts one pair",
		"faults: [{kind: bridge, target: n2+n1, at: 1}]":                                   `unknown target "n2+n1"`,
		"faults: [{kind: power-loss, target: n2+n4, at: 1}]":                               "the cluster has 3 nodes",
		"faults: [{kind: clock-jump, target: n2, by: 0s, at: 1}]":                          "the clock would stay",
		"faults: [{kind: partition-one-way, target: n2, way: up, at: 1}]":                  `unknown way "up"`,
		"faults: [{kind: kill, target: n2, at: 1, brief: true}]":                           "for is missing",
		"faults: [{kind: connection-reset, target: n2, every: 1ns, at: 1}]":                "is not between",
		"faults: [{kind: client-crash, target: n2, at: 1}]":                                `"n2" is none`,
		"faults: [{kind: kill, target: produce-1, at: 1}]":                                 "only client-crash is of clients",
		"faults: [{kind: client-crash, target: produce-5, at: 1}]":                         "has 4 clients of that kind",
		"faults: [{kind: client-crash, target: autocreate, at: 1}]":                        "nothing is auto-created",
		"faults: [{kind: client-crash, target: consume-3, at: 1}]":                         "has 2 clients of that kind",
		"sim: {latency_min: 2ms, latency_max: 1ms}":                                        "latency_max: 1ms is not above",
		"faults: [{kind: stop, target: n2, at: 1, every: 1s}]":                             "every does not belong to stop",
		"faults: [{kind: rolling-restart, at: 1}]":                                         "rolling-restart needs every",
		"faults: [{kind: crash-loop, target: n1, every: 2s, for: 1s, brief: true, at: 1}]": "before it kills a second time",
		"faults: [{kind: all-apart, target: n1+n2, at: 1}]":                                "all-apart has the target all",
		"faults: [{kind: bridge, target: n1+n2, clients: true, at: 1}]":                    "clients belongs to",
		"faults: [{kind: link-delay, target: n1, jitter: 1ms, at: 1}]":                     "link-delay needs by",
		"faults: [{kind: link-delay, target: n1, by: -1ms, at: 1}]":                        "nothing would be delayed",
		"faults: [{kind: link-delay, target: n1, by: 4s, at: 1}]":                          "more than 3s is no delay",
		"faults: [{kind: clock-jump, target: n1, by: 1s, jitter: 1ms, at: 1}]":             "jitter does not belong to clock-jump",
		"faults: [{kind: bandwidth, target: n1, bytes_per_second: 999, at: 1}]":            "is not between",
		"faults: [{kind: packet-loss, target: n1, ppm: -1, at: 1}]":                        "nothing would be lost",
		"sim: {drop: 3}":             `unknown field "drop"`,
		"sim: {slow_node: 4}":        "not between 0 and 3",
		"sim: {power_seed: -1}":      "not a whole number",
		"sim: {drop_ppm: 500001}":    "not between",
		"sim: {segment_bytes: 4095}": "not between",
	} {
		_, err := Parse("x.yaml", []byte(lines+"\ntopics: [{name: a}]\nworkloads: {produce: {}}\n"))
		var refusal *Error
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Msg, want) {
			t.Errorf("%s: got %v, want %q", lines, err, want)
		}
	}
}
