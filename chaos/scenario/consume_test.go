package scenario

import (
	"errors"
	"testing"
)

// consuming is a small scenario with a consume workload and a sim section, each "" for none.
func consuming(t *testing.T, consume, sim string) *Scenario {
	t.Helper()
	src := "topics: [{name: orders}]\n"
	if consume != "" {
		src += "workloads: {consume: " + consume + "}\n"
	}
	if sim != "" {
		src += "sim: " + sim + "\n"
	}
	s, err := Parse("small.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConsumersOfAScenario(t *testing.T) {
	for _, tc := range []struct {
		consume, sim    string
		real, simulated int
	}{
		{"", "", 0, 2},
		{"", "{readers: 5}", 0, 5},
		{"", "{readers: 0}", 0, 0},
		{"{}", "", 2, 2},
		{"{readers: 3}", "", 3, 3},
		{"{readers: 3}", "{readers: 0, wire: true}", 3, 3},
	} {
		s := consuming(t, tc.consume, tc.sim)
		again, err := Parse("again.yaml", s.YAML())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Scenario{s, again} {
			m := s.Machine()
			if s.Workloads.Consume.Readers != tc.real || m.Readers != tc.simulated || m.SyncMax != DefaultSim.SyncMax {
				t.Errorf("consume %s, sim %s: %d consumers, %d in a simulated run of %+v; want %d and %d",
					tc.consume, tc.sim, s.Workloads.Consume.Readers, m.Readers, m, tc.real, tc.simulated)
			}
		}
	}
	for _, consume := range []string{"{readers: 0}", "{readers: 65}", "{consumers: 2}", "2"} {
		_, err := Parse("small.yaml", []byte("topics: [{name: orders}]\nworkloads: {consume: "+consume+"}\n"))
		if e := (*Error)(nil); !errors.As(err, &e) || e.Line != 2 {
			t.Errorf("consume: %s: %v, want an error in line 2", consume, err)
		}
	}
}

// The consumers that a fault may name are those of a simulated run, by whichever section says how many they are.
func TestCrashOfAConsumerThatIsThere(t *testing.T) {
	parse := func(client string) error {
		_, err := Parse("small.yaml", []byte("topics: [{name: orders}]\nworkloads: {consume: {readers: 3}}\nfaults: [{kind: client-crash, target: "+client+", at: 3}]\n"))
		return err
	}
	if err := parse("consume-3"); err != nil {
		t.Error(err)
	}
	if parse("consume-4") == nil {
		t.Error("a fourth of three consumers was accepted")
	}
}

func TestEmbeddedScenariosReadAlong(t *testing.T) {
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Workloads.Consume.Readers == 0 {
			t.Errorf("%s has no consumers: phantom-read would judge nothing", name)
		}
	}
}
