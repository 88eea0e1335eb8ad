package nearest_test

import (
	"testing"

	"soak/internal/nearest"
)

func TestNearest(t *testing.T) {
	known := []string{"quick", "story", "restart-all", "elector-gate-has-leader"}
	for word, want := range map[string]string{"quik": "quick", "sotry": "story", "restartall": "restart-all", "elector": "elector-gate-has-leader",
		"zzzzz": "", "": "", "q": "", "quick": "quick"} {
		if got := nearest.Word(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
