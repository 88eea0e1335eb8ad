package docker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"soak/chaos"
	"soak/chaos/owner"
	"soak/chaos/ports"
)

var chaosPartition = chaos.Spec{ID: 3, Kind: chaos.Partition, Nodes: []int32{1}}

func TestNewChecksItsConfig(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	good := chaos.Config{RunID: "a", Nodes: 3, Dir: t.TempDir(), Sink: deaf{}}
	for name, change := range map[string]func(*chaos.Config){
		"no nodes":  func(c *chaos.Config) { c.Nodes = 0 },
		"too many":  func(c *chaos.Config) { c.Nodes = 101 },
		"no sink":   func(c *chaos.Config) { c.Sink = nil },
		"no folder": func(c *chaos.Config) { c.Dir = "" },
		"bad id":    func(c *chaos.Config) { c.RunID = "a/b" },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	c, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if !owner.Alive("a") {
		t.Error("the run holds no lock")
	}
	if err := c.Close(t.Context()); err != nil { // never started
		t.Error(err)
	}
	if owner.Alive("a") {
		t.Error("the lock outlives Close")
	}
}

// laidOut is a cluster whose network is known, and which nothing runs in.
func laidOut(nodes int) *cluster {
	c := &cluster{
		cfg:    chaos.Config{RunID: "a", Nodes: nodes, ElectionInterval: 2 * time.Second, SessionTimeout: time.Second, Bugs: []string{"x", "y"}, Seed: 9},
		subnet: netip.MustParsePrefix("172.30.0.0/16"), faults: map[int]*fault{},
	}
	for id := int32(1); id <= int32(nodes); id++ {
		c.nodes = append(c.nodes, &node{id: id, port: ports.Port{Number: 20000 + int(id)}, collector: chaos.NewCollector(id, deaf{})})
	}
	return c
}

func TestANodeIsToldItsPlace(t *testing.T) {
	c := laidOut(3)
	got := strings.Join(c.arguments(c.nodes[1]), " ")
	want := "broker --id 2 --data /data/node --listen :9092 --advertise 127.0.0.1:20002 " +
		"--peers 1=172.30.0.11:9093,2=172.30.0.12:9093,3=172.30.0.13:9093 --peer-listen :9093 --seed 9 " +
		"--election-interval 2s --session-timeout 1s --bug x --bug y"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if a := c.Addr(3); a != "127.0.0.1:20003" {
		t.Errorf("clients reach n3 at %s", a)
	}
	if a := c.Addr(4); a != "" {
		t.Errorf("clients reach n4 at %s", a)
	}
}

func TestACutNamesItsPeers(t *testing.T) {
	c := laidOut(3)
	k := newCut(c.nodes[0], c.nodes[1:], chaos.Spec{ID: 7, Kind: chaos.Partition, Clients: true})
	line := string(c.rules(k).Line())
	for _, want := range []string{"soak-7", "--others", "n2=172.30.0.12", "n3=172.30.0.13"} {
		if !strings.Contains(line, `"`+want+`"`) {
			t.Errorf("%s misses %s", line, want)
		}
	}
	if strings.Contains(line, "n1=172.30.0.11") {
		t.Error("n1 is cut off from itself")
	}
}

// Which rules a fault of links sets in which namespace.
func TestTheShapesOfCuts(t *testing.T) {
	for name, tc := range map[string]struct {
		spec chaos.Spec
		want string // of each cut: the node, its peers, and what else
	}{
		"partition":         {chaos.Spec{Kind: chaos.Partition, Nodes: []int32{1}}, "n1: n2 n3"},
		"of two":            {chaos.Spec{Kind: chaos.Partition, Nodes: []int32{1, 3}}, "n1: n2; n3: n2"},
		"with clients":      {chaos.Spec{Kind: chaos.Partition, Nodes: []int32{1}, Clients: true}, "n1: n2 n3 others"},
		"one way":           {chaos.Spec{Kind: chaos.OneWay, Nodes: []int32{2}, Parameters: chaos.Parameters{Way: chaos.WayOut}}, "n2: n1 n3 way out"},
		"bridge":            {chaos.Spec{Kind: chaos.Bridge, Nodes: []int32{1, 3}}, "n1: n3"},
		"all apart":         {chaos.Spec{Kind: chaos.AllApart, Nodes: []int32{1, 2, 3}}, "n1: n2 n3; n2: n3"},
		"clients alone":     {chaos.Spec{Kind: chaos.ClientsCut, Nodes: []int32{2}}, "n2: others but n1 n3"},
		"flapping":          {chaos.Spec{Kind: chaos.Flapping, Nodes: []int32{2}, Parameters: chaos.Parameters{Every: time.Second}}, "n2: n1 n3 every 1s"},
		"reset":             {chaos.Spec{Kind: chaos.Reset, Nodes: []int32{2}, Parameters: chaos.Parameters{Every: time.Second}}, "n2: others but n1 n3 reset every 1s"},
		"loss":              {chaos.Spec{Kind: chaos.Loss, Nodes: []int32{1, 2}, Parameters: chaos.Parameters{PPM: 9}}, "n1: n2 n3 way in ppm 9; n2: n1 n3 way in ppm 9"},
		"nobody else there": {chaos.Spec{Kind: chaos.Partition, Nodes: []int32{1, 2, 3}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := laidOut(3)
			targets, err := c.targets(tc.spec)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range c.cutsOf(tc.spec, targets) {
				r := c.rules(k)
				words := slices.Sorted(maps.Keys(r.Peers))
				if r.Others {
					words = append(words, "others")
				}
				if len(r.Spare) > 0 {
					words = append(append(words, "but"), slices.Sorted(maps.Keys(r.Spare))...)
				}
				if r.Way != "" {
					words = append(words, "way", r.Way)
				}
				if r.PPM != 0 {
					words = append(words, "ppm", fmt.Sprint(r.PPM))
				}
				if r.Reset {
					words = append(words, "reset")
				}
				if r.Every != 0 {
					words = append(words, "every", r.Every.String())
				}
				got = append(got, fmt.Sprintf("n%d: %s", k.node.id, strings.Join(words, " ")))
			}
			if got := strings.Join(got, "; "); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestFaultsThatAreNone(t *testing.T) {
	c := laidOut(3)
	for name, s := range map[string]chaos.Spec{
		"unknown kind":  {ID: 1, Kind: "meteor", Nodes: []int32{1}},
		"nothing runs":  {ID: 2, Kind: chaos.Delay, Nodes: []int32{1}},
		"no target":     {ID: 3, Kind: chaos.Kill},
		"unknown node":  {ID: 4, Kind: chaos.Kill, Nodes: []int32{4}},
		"node down":     {ID: 5, Kind: chaos.Kill, Nodes: []int32{1}},
		"no other side": {ID: 6, Kind: chaos.Partition, Nodes: []int32{1, 2, 3}},
	} {
		if e, err := c.Inject(t.Context(), s); err == nil || len(e) != 0 {
			t.Errorf("%s: evidence %v, no error", name, e)
		}
	}
	for _, id := range []int{3, 99} {
		if _, err := c.Heal(t.Context(), id); err == nil {
			t.Errorf("fault %d was healed", id)
		}
	}
	// What was refused after it was noted is healed without doing anything.
	if err := c.HealAll(t.Context()); err != nil {
		t.Errorf("healing all: %v", err)
	}
}

func TestAnExitIsNamedBySignal(t *testing.T) {
	for code, want := range map[int]string{
		0: "exit code 0", 2: "exit code 2", 137: "signal: killed (exit code 137)", 143: "signal: terminated (exit code 143)",
	} {
		l := &life{code: code}
		l.read(code)
		if got := l.status(); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}
