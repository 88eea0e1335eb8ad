package process

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"soak/chaos"
	"soak/chaos/process/proxy"
	"soak/history"
)

// names are the links that evidence of a phase speaks of, sorted.
func names(evidence []history.Evidence, phase string) (links []string) {
	for _, e := range evidence {
		if name, _, _ := strings.Cut(e.What, ":"); e.Phase == phase && !slices.Contains(links, name) {
			links = append(links, name)
		}
	}
	slices.Sort(links)
	return links
}

// Each kind disturbs the links that it should, says so, is seen while it lasts, is seen to be gone where somebody lets go of what it does,
// and heals.
func TestFaultsOfLinks(t *testing.T) {
	const n = time.Millisecond
	for name, c := range map[string]struct {
		spec  chaos.Spec
		links string
		letGo func(f fixture)
	}{
		"partition": {chaos.Spec{Kind: chaos.Partition, Nodes: []int32{1}}, "n1→n2 n1→n3 n2→n1 n3→n1",
			func(f fixture) { f.links[pair{1, 2}].Resume(proxy.Both) }},
		"of clients too": {chaos.Spec{Kind: chaos.Partition, Nodes: []int32{1}, Clients: true}, "clients→n1 n1→n2 n1→n3 n2→n1 n3→n1",
			func(f fixture) { f.node(1).client.Resume(proxy.Both) }},
		"hears nothing": {chaos.Spec{Kind: chaos.OneWay, Nodes: []int32{1}, Parameters: chaos.Parameters{Way: chaos.WayIn}}, "n2→n1 n3→n1",
			func(f fixture) { f.links[pair{2, 1}].Resume(proxy.Both) }},
		"is not heard": {chaos.Spec{Kind: chaos.OneWay, Nodes: []int32{1}, Parameters: chaos.Parameters{Way: chaos.WayOut}}, "n1→n2 n1→n3",
			func(f fixture) { f.links[pair{1, 3}].Resume(proxy.Both) }},
		"hears no clients": {chaos.Spec{Kind: chaos.OneWay, Nodes: []int32{1}, Clients: true, Parameters: chaos.Parameters{Way: chaos.WayIn}}, "clients→n1 n2→n1 n3→n1",
			func(f fixture) { f.node(1).client.Resume(proxy.Up) }},
		"no client hears": {chaos.Spec{Kind: chaos.OneWay, Nodes: []int32{1}, Clients: true, Parameters: chaos.Parameters{Way: chaos.WayOut}}, "n1→clients n1→n2 n1→n3",
			func(f fixture) { f.node(1).client.Resume(proxy.Down) }},
		"bridge": {chaos.Spec{Kind: chaos.Bridge, Nodes: []int32{1, 3}}, "n1→n3 n3→n1",
			func(f fixture) { f.links[pair{3, 1}].Resume(proxy.Both) }},
		"all apart": {chaos.Spec{Kind: chaos.AllApart, Nodes: []int32{1, 2, 3}}, "n1→n2 n1→n3 n2→n1 n2→n3 n3→n1 n3→n2",
			func(f fixture) { f.links[pair{3, 2}].Resume(proxy.Both) }},
		"clients cut": {chaos.Spec{Kind: chaos.ClientsCut, Nodes: []int32{2}}, "clients→n2",
			func(f fixture) { f.node(2).client.Resume(proxy.Both) }},
		"flapping": {chaos.Spec{Kind: chaos.Flapping, Nodes: []int32{1}, Parameters: chaos.Parameters{Every: 200 * n}}, "n1→n2 n1→n3 n2→n1 n3→n1",
			func(f fixture) {
				flapping := f.fault(1)
				flapping.endRepeat()
				if flapping.held[0].open {
					flapping.flap(flapping.held)
				}
				f.links[pair{1, 2}].Resume(proxy.Both)
			}},
		"reset": {chaos.Spec{Kind: chaos.Reset, Nodes: []int32{1, 2}, Parameters: chaos.Parameters{Every: 50 * n}}, "clients→n1 clients→n2",
			func(f fixture) { f.fault(1).endRepeat() }},
		"delay": {chaos.Spec{Kind: chaos.Delay, Nodes: []int32{1}, Clients: true, Parameters: chaos.Parameters{By: 60 * n, Jitter: 10 * n}}, "clients→n1 n1→n2 n1→n3 n2→n1 n3→n1",
			func(f fixture) { f.links[pair{1, 2}].Unshape(1) }},
		"delay of both": {chaos.Spec{Kind: chaos.Delay, Nodes: []int32{1, 2}, Parameters: chaos.Parameters{By: 60 * n}}, "n1→n2 n1→n3 n2→n1 n2→n3 n3→n1 n3→n2",
			func(f fixture) { f.links[pair{2, 3}].Unshape(1) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			c.spec.ID = 1
			e := f.inject(t, c.spec)
			if got := strings.Join(names(e, "during"), " "); got != c.links {
				t.Errorf("it disturbs %s, want %s", got, c.links)
			}
			if _, err := f.Probe(f.ctx, 1); err != nil {
				t.Fatalf("while it lasts: %v", err)
			}
			c.letGo(f)
			for {
				_, err := f.Probe(f.ctx, 1)
				if errors.Is(err, chaos.ErrLapsed) {
					break
				}
				if err := sleep(f.ctx, lookEvery); err != nil {
					t.Fatalf("nobody saw that it was let go: %v", err)
				}
			}
			f.heal(t, 1)
			for id := int32(1); id <= 3; id++ {
				if !f.answers(id) {
					t.Errorf("n%d does not answer afterwards", id)
				}
			}
		})
	}
}

func TestABoundedRateIsSeen(t *testing.T) {
	f := start(t)
	e := f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Bandwidth, Nodes: []int32{1}, Parameters: chaos.Parameters{BytesPerSecond: 300}}) // below what its peers send on the slowest machine
	if len(names(e, "during")) == 0 {
		t.Errorf("no link that bytes waited on: %v", e)
	}
	if _, err := f.Probe(f.ctx, 1); err != nil {
		t.Errorf("while it lasts: %v", err)
	}
	f.heal(t, 1)
}

// Links that are delayed and cut at once: each is what it should be, whoever heals first.
func TestDisturbancesAddUp(t *testing.T) {
	f := start(t)
	delay := chaos.Spec{ID: 1, Kind: chaos.Delay, Nodes: []int32{1}, Parameters: chaos.Parameters{By: 20 * time.Millisecond}}
	f.inject(t, delay)
	f.inject(t, chaos.Spec{ID: 2, Kind: chaos.Partition, Nodes: []int32{1}})
	f.inject(t, chaos.Spec{ID: 3, Kind: chaos.Kill, Nodes: []int32{3}})
	for _, id := range []int{1, 2} {
		if _, err := f.Probe(f.ctx, id); err != nil {
			t.Errorf("fault %d, while it lasts: %v", id, err)
		}
	}
	if err := f.HealAll(f.ctx); err != nil {
		t.Fatal(err)
	}
	for id := int32(1); id <= 3; id++ {
		if !f.answers(id) {
			t.Errorf("n%d does not answer afterwards", id)
		}
	}
}
