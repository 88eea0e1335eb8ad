package cli

import (
	"slices"
	"testing"

	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/process"
	"soak/chaos/sim"
)

// TestEveryKindIsListed: what a scenario can ask for, soak faults shows, and some driver can do it.
func TestEveryKindIsListed(t *testing.T) {
	var listed []string
	can := map[string]bool{}
	for _, driver := range []chaos.Capabilities{sim.Capabilities(), process.Capabilities(), docker.Capabilities()} {
		for kind, why := range driver {
			can[kind] = can[kind] || why == ""
		}
	}
	for _, k := range faultKinds {
		listed = append(listed, k.kind)
		if !can[k.kind] {
			t.Errorf("%s is listed, and no driver can do it", k.kind)
		}
	}
	for kind := range can {
		if !slices.Contains(listed, kind) {
			t.Errorf("%s is not listed", kind)
		}
	}
}
