package checkers

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"soak/history"
)

// unsynced knows for which partitions a cluster that leaves its records to the kernel (flush none) promises nothing any more. An acknowledged record is
// written on every member of the ISR then, and synced on none. A process that is killed loses nothing of it, and a broker that may have
// lost some leaves the ISR while another member remains. What is left: the last member comes back from a loss of power, and leads with what its
// disk has kept. From then on nothing is claimed of that partition's records. Of all others, and without such a fault, everything is.
//
// It rests on the nodes' own events, which are held against each other by metadata-agreement and epoch-monotonic.
type unsynced struct {
	on      bool
	applied map[uint64]entryAt // by raft index
	until   map[partition]int64
}

// entryAt is an applied entry and the earliest time at which a node told of it: those that start later tell of it again.
type entryAt struct {
	*history.Apply
	time int64
}

func newUnsynced(run *history.Run) unsynced {
	return unsynced{on: run.Contract.Flush == "none", applied: map[uint64]entryAt{}}
}

func (u *unsynced) see(e *history.Event) {
	if a, ok := e.Body.(*history.Apply); ok && u.on && a.Outcome == history.Applied && (a.Command == "register_broker" || len(a.Changes) > 0) {
		if old, known := u.applied[a.Index]; !known || e.Time < old.time {
			u.applied[a.Index] = entryAt{a, e.Time}
		}
	}
}

// exempt lists the partitions of which nothing is claimed, each with the reason, and sets until when that is so: what was sent to a partition after its last member
// was back is as safe as ever. A registration before the fault took nothing from anybody, nor did one after the first that followed it: restarts come
// back without a loss as well. Where clocks were made wrong, before and after cannot be told from each other.
func (u *unsynced) exempt(faults []*history.Fault) map[partition]string {
	out := map[partition]string{}
	u.until = map[partition]int64{}
	var losses []*history.Fault // what may have taken unsynced records from a node
	for _, f := range faults {
		if u.on && f.Asked != 0 && (f.Kind == "power-loss" || f.Kind == "fsync-error") {
			losses = append(losses, f)
		}
	}
	if len(losses) == 0 {
		return out
	}
	trusted := trustedClocks(faults)
	isr := map[partition][]int32{}
	registered := map[int32]int64{} // when a node came back last
	for _, index := range slices.Sorted(maps.Keys(u.applied)) {
		a := u.applied[index]
		for _, ch := range a.Changes {
			isr[partition{ch.Topic, ch.Partition}] = ch.ISR
		}
		if a.Command != "register_broker" {
			continue
		}
		var id int32
		if _, err := fmt.Sscanf(a.Key, "broker-%d", &id); err != nil {
			continue
		}
		before := registered[id]
		registered[id] = a.time
		i := slices.IndexFunc(losses, func(f *history.Fault) bool {
			return slices.Contains(f.Nodes, id) && (!trusted || f.Asked <= a.time && (f.Healed == 0 || f.Healed >= before))
		})
		if i < 0 {
			continue
		}
		for p, members := range isr {
			if len(members) != 1 || members[0] != id {
				continue
			}
			if out[p] == "" {
				out[p] = fmt.Sprintf("%s was the last in-sync replica of %s when it came back after fault %d, %s", node(id), p, losses[i].ID, losses[i].Plain())
			}
			if u.until[p] = a.time; !trusted {
				u.until[p] = math.MaxInt64
			}
		}
	}
	return out
}

// unclaimed says in one sentence which partitions are exempt; "" if none is.
func unclaimed(exempt map[partition]string, among []partition) string {
	var parts []partition
	for _, p := range among {
		if exempt[p] != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	slices.SortFunc(parts, func(a, b partition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
	})
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.String()
	}
	text := strings.Join(names, ", ")
	if len(names) > maxListed {
		text = fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
	}
	return fmt.Sprintf("nothing is claimed of %s, whose records are not synced: %s", text, exempt[parts[0]])
}
