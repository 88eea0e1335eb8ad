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
		a := Simulate(Job{Seed: 1, Scenario: string(src)})
		if a.Error != "" || a.Outcome != "holds" {
			t.Errorf("soak run %s --driver sim --seed 1: %s %s, failures %v, inconclusive %v", name, a.Outcome, a.Error, a.Failures, a.Inconclusive)
		}
	}
}
