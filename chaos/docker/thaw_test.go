package docker

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestTheGuardThawsWhenTheRunnerIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		said string
		want []string
	}{
		"gone":         {"", []string{"a", "b"}},
		"gone halfway": {"don", []string{"a", "b"}},
		"dismissed":    {"done\n", nil},
	} {
		var out bytes.Buffer
		var mu sync.Mutex
		var thawed []string
		err := keepGuard([]string{"a", "b"}, strings.NewReader(c.said), &out, func(id string) error {
			mu.Lock()
			defer mu.Unlock()
			thawed = append(thawed, id)
			return nil
		})
		slices.Sort(thawed)
		if err != nil || !slices.Equal(thawed, c.want) || out.String() != "ready\n" {
			t.Errorf("%s: thawed %q, %v, said %q", name, thawed, err, out.String())
		}
	}
	err := keepGuard([]string{"a", "b"}, strings.NewReader(""), &bytes.Buffer{}, func(id string) error { return errors.New("no engine for " + id) })
	if err == nil || !strings.Contains(err.Error(), "for a") || !strings.Contains(err.Error(), "for b") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramThatIsNoGuardFreezesNothing(t *testing.T) {
	// The test binary knows no such flag: it ends without the word, and runs no test.
	g, err := guardOf(t.Context(), []string{"a"})
	if err == nil {
		g.dismiss()
		t.Fatal("it was taken for a guard")
	}
	if !strings.Contains(err.Error(), `says ""`) {
		t.Errorf("got %v", err)
	}
}
