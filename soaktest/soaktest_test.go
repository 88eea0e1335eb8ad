package soaktest_test

import (
	"strings"
	"testing"
	"time"

	"soak/internal/standin"
	"soak/soaktest"
)

func TestMain(m *testing.M) { soaktest.Main(m) }

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t testing.TB)
		want string
	}{
		{"driver", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Driver: "podman"}) }, `unknown driver "podman": want process or docker`},
		{"bug", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Bugs: []string{"nosuch"}}) }, "nosuch"},
		{"nodes", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Nodes: 2}) }, "nodes: 2"},
		{"interval", func(t testing.TB) { soaktest.Start(t, soaktest.Options{ElectionInterval: time.Millisecond}) }, "election_interval"},
		{"topic", func(t testing.TB) {
			soaktest.Start(t, soaktest.Options{Topics: []soaktest.Topic{{Name: "a b", Partitions: 1}}})
		}, `"a b" cannot be a record topic's name`},
		{"load", func(t testing.TB) { soaktest.Start(t, soaktest.Options{Load: &soaktest.Load{Records: -1}}) }, "rate"},
		{"scenario", func(t testing.TB) { soaktest.Run(t, "quik", soaktest.Options{}) }, `did you mean "quick"?`},
		{"yaml", func(t testing.TB) { soaktest.Run(t, "name: x\nnodess: 3\n", soaktest.Options{}) }, "scenario.yaml:2:1"},
		{"fault", func(t testing.TB) {
			soaktest.Run(t, "topics: [{name: a}]\nfaults:\n  - {kind: packet-loss, target: n1, at: 1, ppm: 1000}\n", soaktest.Options{})
		}, "the driver process cannot do the fault packet-loss"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := standin.New("TestX")
			w.Test(c.do)
			if got := w.Failures(); !strings.HasPrefix(got, "soaktest: ") || !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want something of %q", got, c.want)
			}
		})
	}
}
