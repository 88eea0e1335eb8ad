package docker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"soak/chaos"
	"soak/chaos/docker/sidecar"
)

// Which packets are slowed down in which namespace: each direction of each link once, at the end where it comes in.
func TestTheShapesOfSlowLinks(t *testing.T) {
	for name, tc := range map[string]struct {
		spec chaos.Spec
		want string
	}{
		"delay":        {chaos.Spec{Kind: chaos.Delay, Nodes: []int32{1}, Parameters: chaos.Parameters{By: time.Second, Jitter: 9}}, "n1: n2 n3 by 1s jitter 9ns; n2: n1 by 1s jitter 9ns; n3: n1 by 1s jitter 9ns"},
		"of two":       {chaos.Spec{Kind: chaos.Delay, Nodes: []int32{1, 3}, Parameters: chaos.Parameters{By: 1}}, "n1: n2 n3 by 1ns; n2: n1 n3 by 1ns; n3: n1 n2 by 1ns"},
		"with clients": {chaos.Spec{Kind: chaos.Delay, Nodes: []int32{2}, Clients: true, Parameters: chaos.Parameters{By: 1}}, "n1: n2 by 1ns; n2: n1 n3 others by 1ns; n3: n2 by 1ns"},
		"rate":         {chaos.Spec{Kind: chaos.Bandwidth, Nodes: []int32{3}, Parameters: chaos.Parameters{BytesPerSecond: 7}}, "n1: n3 rate 7; n2: n3 rate 7; n3: n1 n2 rate 7"},
	} {
		t.Run(name, func(t *testing.T) {
			c := laidOut(3)
			tc.spec.ID = 5
			targets, err := c.targets(tc.spec)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range c.slowed(tc.spec, targets) {
				r := c.rules(k)
				words := slices.Sorted(maps.Keys(r.Peers))
				if r.Others {
					words = append(words, "others")
				}
				if r.Shape.Delay != 0 {
					words = append(words, "by", r.Shape.Delay.String())
				}
				if r.Shape.Jitter != 0 {
					words = append(words, "jitter", r.Shape.Jitter.String())
				}
				if r.Shape.BytesPerSecond != 0 {
					words = append(words, "rate", fmt.Sprint(r.Shape.BytesPerSecond))
				}
				if r.Way != sidecar.In || r.Queue != 5 || r.Port != 9092 {
					t.Errorf("way %q, queue %d, port %d", r.Way, r.Queue, r.Port)
				}
				got = append(got, fmt.Sprintf("n%d: %s", k.node.id, strings.Join(words, " ")))
			}
			if got := strings.Join(got, "; "); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// What a sidecar's report is evidence of, and what is none.
func TestEvidenceOfSlowLinks(t *testing.T) {
	const ms = time.Millisecond
	c := laidOut(3)
	delay := newCut(c.nodes[0], c.nodes[1:], chaos.Spec{Kind: chaos.Delay, Nodes: []int32{1}, Parameters: chaos.Parameters{By: 50 * ms}})
	rate := newCut(c.nodes[0], c.nodes[1:], chaos.Spec{Kind: chaos.Bandwidth, Nodes: []int32{1}, Parameters: chaos.Parameters{BytesPerSecond: 1000}})
	for name, tc := range map[string]struct {
		cut   *cut
		phase string
		link  sidecar.Link
		want  string // "" for no evidence
	}{
		"quick before":         {delay, "before", sidecar.Link{Bytes: 90, Took: ms}, "n2→n1: 90 bytes went through, the last packet in 1ms"},
		"nothing before":       {delay, "before", sidecar.Link{}, ""},
		"slow":                 {delay, "during", sidecar.Link{Bytes: 90, Took: 51 * ms}, "n2→n1: packets took 51ms"},
		"too quick":            {delay, "during", sidecar.Link{Bytes: 90, Took: 49 * ms}, ""},
		"nothing":              {delay, "during", sidecar.Link{}, ""},
		"quick after":          {delay, "after", sidecar.Link{Bytes: 90, Took: ms}, "n2→n1: 90 bytes went through, the last packet in 1ms"},
		"still slow after":     {delay, "after", sidecar.Link{Bytes: 90, Took: 50 * ms}, ""},
		"waited":               {rate, "during", sidecar.Link{Bytes: 90, Took: 51 * ms, Waited: 70}, "n2→n1: 70 bytes waited for a rate of 1000 bytes/s"},
		"none waited":          {rate, "during", sidecar.Link{Bytes: 90, Took: 51 * ms}, ""},
		"after a bounded rate": {rate, "after", sidecar.Link{Bytes: 90, Took: 51 * ms}, "n2→n1: 90 bytes went through, the last packet in 51ms"},
	} {
		e, ok := tc.cut.went(sidecar.Report{Links: map[string]sidecar.Link{"in n2": tc.link}}, "in n2", tc.phase)
		if ok != (tc.want != "") || ok && e.What != tc.want || ok && e.Phase != tc.phase {
			t.Errorf("%s: %v, %s %q", name, ok, e.Phase, e.What)
		}
	}
	for name, tc := range map[string]struct {
		cut   *cut
		phase string
		trip  sidecar.RoundTrip
		too   bool
		want  bool
	}{
		"none":                          {delay, "before", sidecar.RoundTrip{}, false, false},
		"before":                        {delay, "before", sidecar.RoundTrip{Took: ms, Count: 1}, false, true},
		"slow both ways":                {delay, "during", sidecar.RoundTrip{Took: 100 * ms, Count: 1}, false, true},
		"slow one way":                  {delay, "during", sidecar.RoundTrip{Took: 99 * ms, Count: 1}, false, false},
		"quick after":                   {delay, "after", sidecar.RoundTrip{Took: ms, Count: 1}, false, true},
		"slow after":                    {delay, "after", sidecar.RoundTrip{Took: 100 * ms, Count: 1}, false, false},
		"of a bounded rate":             {rate, "after", sidecar.RoundTrip{Took: 300 * ms, Count: 1}, false, true},
		"slow after, by another fault":  {delay, "after", sidecar.RoundTrip{Took: 100 * ms, Count: 1}, true, true},
		"none after, by another fault":  {delay, "after", sidecar.RoundTrip{}, true, false},
		"too quick, with another fault": {delay, "during", sidecar.RoundTrip{Took: 99 * ms, Count: 1}, true, false},
	} {
		e, ok := tc.cut.trip(sidecar.Report{RoundTrips: map[string]sidecar.RoundTrip{"n2": tc.trip}}, c.nodes[1], tc.phase, tc.too)
		if ok != tc.want || !strings.HasPrefix(e.What, "n1⇄n2: a round trip took ") {
			t.Errorf("round trip, %s: %v, %q", name, ok, e.What)
		}
	}
}

// Each pair's round trips are told of once.
func TestARoundTripIsToldOfOnce(t *testing.T) {
	c := laidOut(3)
	f := &fault{spec: chaos.Spec{Kind: chaos.Delay, Nodes: []int32{2, 3}}}
	var told []string
	for _, k := range c.slowed(f.spec, []*node{c.nodes[1], c.nodes[2]}) {
		for _, peer := range k.peers {
			if f.asks(k, peer) {
				told = append(told, k.pair(peer))
			}
		}
	}
	if got := strings.Join(told, " "); got != "n2⇄n1 n2⇄n3 n3⇄n1" {
		t.Errorf("told of %s", got)
	}
}

// Faults on two nodes meet on the link between them, at both of its ends.
func TestTwoFaultsSlowOneLinkDown(t *testing.T) {
	c := laidOut(3)
	other := newCut(c.nodes[0], c.nodes[1:2], chaos.Spec{ID: 1, Kind: chaos.Bandwidth})
	other.conn = &client.ContainerAttachResult{}
	c.faults = map[int]*fault{1: {cuts: []*cut{other}}}
	for _, tc := range []struct {
		id         int
		node, peer int
		want       bool
	}{{2, 0, 1, true}, {2, 1, 0, true}, {2, 0, 2, false}, {2, 2, 1, false}, {1, 1, 0, false}} {
		k := newCut(c.nodes[tc.node], nil, chaos.Spec{ID: tc.id, Kind: chaos.Delay})
		if got := c.slowedToo(k, c.nodes[tc.peer]); got != tc.want {
			t.Errorf("fault %d, n%d and n%d: another fault slows the link down: %v", tc.id, tc.node+1, tc.peer+1, got)
		}
	}
	other.spec.Kind = chaos.Partition
	if c.slowedToo(newCut(c.nodes[0], nil, chaos.Spec{ID: 2, Kind: chaos.Delay}), c.nodes[1]) {
		t.Error("a partition slows a link down")
	}
}

func TestMoreThanABoundedRateIsSeen(t *testing.T) {
	if most := mostIn(time.Second, 100_000); most < 110_000 || most > 130_000 {
		t.Errorf("in a second %d bytes may go over a link of 100,000 bytes a second", most)
	}
}

// Rules that slow links down hinder no restart, and nothing that others see.
func TestARestartIsRefusedOfCutLinksAlone(t *testing.T) {
	c := laidOut(3)
	for kind, want := range map[string]bool{chaos.Partition: true, chaos.Loss: true, chaos.Delay: false, chaos.Bandwidth: false} {
		k := newCut(c.nodes[0], c.nodes[1:], chaos.Spec{Kind: kind})
		k.conn = &client.ContainerAttachResult{} // as of one that has begun
		c.faults = map[int]*fault{1: {cuts: []*cut{k}}}
		if _, refused := c.cutOff(c.nodes[0]); refused != want {
			t.Errorf("%s: restarts refused: %v", kind, refused)
		}
		if _, cut := c.cutBetween(newCut(c.nodes[1], c.nodes[:1], chaos.Spec{}), c.nodes[0]); cut != (kind == chaos.Partition) {
			t.Errorf("%s: nothing passes: %v", kind, cut)
		}
	}
}
