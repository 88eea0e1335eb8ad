package campaign

import (
	"testing"

	"soak/chaos/scenario"
)

// TestEmbeddedScenariosHold: every scenario that ships, but the one of a night, holds in virtual time: it proves all that it asks for, and the sound broker is
// accused of nothing.
func TestEmbeddedScenariosHold(t *testing.T) {
	for _, name := range scenario.Names() {
		if name == "nightly" {
			continue // eight hours
		}
		src, _ := scenario.Source(name)
		for seed := uint64(1); seed <= 2; seed++ {
			a := Simulate(Job{Seed: seed, Scenario: string(src)})
			if a.Error != "" || a.Outcome != "holds" {
				t.Errorf("soak run %s --driver sim --seed %d: %s %s, failures %v, inconclusive %v", name, seed, a.Outcome, a.Error, a.Failures, a.Inconclusive)
			}
		}
	}
}
