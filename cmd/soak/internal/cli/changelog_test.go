package cli

import (
	"os"
	"strings"
	"testing"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/checkers"
)

// The answer to what a later version brings points at CHANGELOG.md: that must name all that this one has, and nothing that it has not.
func TestChangelogNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" ,.;:`\n", r) }) {
		words[w] = true
	}
	there := append(scenario.Names(), chaos.Kill, chaos.RestartAll, chaos.Pause, chaos.Partition)
	for _, c := range commands() {
		if !c.hidden {
			there = append(there, c.name)
		}
	}
	for _, c := range checkers.List() {
		there = append(there, c.ID)
	}
	for _, w := range there {
		if !words[w] {
			t.Errorf("CHANGELOG.md does not name %q", w)
		}
	}
	for _, l := range laterCommands {
		if words[l] {
			t.Errorf("CHANGELOG.md names %q, which is not in this version", l)
		}
	}
}
