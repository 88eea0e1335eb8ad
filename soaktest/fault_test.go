package soaktest

import (
	"strings"
	"testing"

	"soak/chaos/runloop"
)

// What cannot be is refused before the cluster is asked.
func TestFaultsThatCannotBe(t *testing.T) {
	plan, err := Options{}.plan("test")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	close(ended)
	loop, err := runloop.New(runloop.Config{Scenario: plan, Start: 1, Steered: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, plan: plan, loop: loop, inputs: make(chan runloop.Input), ended: ended, faults: map[int]*Fault{}}
	for _, c := range []struct {
		kind, target string
		settings     []string
		want         string
	}{
		{"kil", "n1", nil, `did you mean "kill"`},
		{"kill", "n7", nil, "n7"},
		{"kill", "n1", []string{"at=3"}, "a test says by itself what comes when"},
		{"kill", "n1", []string{"hard"}, "want NAME=VALUE"},
		{"link-delay", "n1", nil, "by"},
		{"packet-loss", "n1", []string{"ppm=1000"}, "the driver process cannot do it"},
		{"kill", "n1", nil, "the run has ended"},
	} {
		f, err := r.breakNow(c.kind, c.target, c.settings)
		if err == nil || !strings.Contains(words(err), c.want) {
			t.Errorf("%s of %s %v: %v, %v, want something of %q", c.kind, c.target, c.settings, f, err, c.want)
		}
	}
}

// Without Main no node could start; that is said before anything is.
func TestMainIsAskedFor(t *testing.T) {
	defer hooked.Store(hooked.Swap(false))
	for _, driver := range []string{"process", "docker"} {
		if err := (Options{Driver: driver}).check(); err == nil || !strings.Contains(err.Error(), "soaktest.Main(m)") {
			t.Errorf("%s: got %v", driver, err)
		}
	}
}
