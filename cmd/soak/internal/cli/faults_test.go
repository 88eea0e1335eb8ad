package cli

import (
	"slices"
	"testing"

	"soak/chaos/sim"
)

// TestEveryKindIsListed: what a scenario can ask for, soak faults shows. The simulator can do all kinds.
func TestEveryKindIsListed(t *testing.T) {
	var listed []string
	for _, k := range faultKinds {
		listed = append(listed, k.kind)
		if _, known := sim.Capabilities()[k.kind]; !known {
			t.Errorf("%s is listed, and no driver knows it", k.kind)
		}
	}
	for kind := range sim.Capabilities() {
		if !slices.Contains(listed, kind) {
			t.Errorf("%s is not listed", kind)
		}
	}
}
