package results

import (
	"fmt"
	"sort"
	"time"

	"soak/history"
)

// Facts are what a folder's records say of the run beside the verdict, for those who print it.
type Facts struct {
	Faults []history.Fault // in the order of their ids
	Acked  int64           // records acknowledged
	Outage Outage          // the longest, of those that a fault explains
	Notes  []string        // what of the records could not be read: a truncated last line, a file that is missing
}

// Outage is the longest time that one partition went without an acknowledged record while or after a fault was active:
// what a client saw of a failover. The zero value says that there was none to measure.
type Outage struct {
	Length    time.Duration
	Topic     string
	Partition int32
	Fault     int // id of the fault that was active, or the last before it
}

type partitionKey struct {
	topic     string
	partition int32
}

// Facts reads the folder's records.
func (f *Folder) Facts(run *history.Run) (*Facts, error) {
	var facts Facts
	acks := make(map[partitionKey][]int64)
	notes, err := history.ReadFolder(f.path, history.Handler{
		Fault: func(x *history.Fault) error {
			facts.Faults = append(facts.Faults, *x)
			return nil
		},
		Operation: func(op *history.Operation) error {
			if op.Produce == nil || op.Outcome != history.OK {
				return nil
			}
			facts.Acked += int64(op.Produce.Count)
			k := partitionKey{op.Produce.Topic, op.Produce.Partition}
			acks[k] = append(acks[k], op.Complete)
			return nil
		},
	})
	if err != nil {
		return &facts, fmt.Errorf("reading what happened in the run: %w", err)
	}
	facts.Notes = notes.Lines()
	sort.SliceStable(facts.Faults, func(i, j int) bool { return facts.Faults[i].ID < facts.Faults[j].ID })
	facts.Outage = worstOutage(acks, facts.Faults)
	return &facts, nil
}

// worstOutage looks at the times between two acknowledgements in a row of one partition. A gap belongs to the last
// proven fault that began before the gap's end, and counts if that fault was active in it.
func worstOutage(acks map[partitionKey][]int64, faults []history.Fault) Outage {
	var worst Outage
	keys := make([]partitionKey, 0, len(acks))
	for k := range acks {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].topic != keys[j].topic {
			return keys[i].topic < keys[j].topic
		}
		return keys[i].partition < keys[j].partition
	})
	for _, k := range keys {
		times := acks[k]
		sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
		for i := 1; i < len(times); i++ {
			gap := time.Duration(times[i] - times[i-1])
			if gap <= worst.Length {
				continue
			}
			if id, ok := faultIn(faults, times[i-1], times[i]); ok {
				worst = Outage{Length: gap, Topic: k.topic, Partition: k.partition, Fault: id}
			}
		}
	}
	return worst
}

func faultIn(faults []history.Fault, from, to int64) (id int, ok bool) {
	var began int64
	for i := range faults {
		f := &faults[i]
		end := f.Healed
		if end == 0 {
			end = to // never seen healed
		}
		if f.Proven() && f.Asked < to && end > from && f.Asked >= began {
			id, ok, began = f.ID, true, f.Asked
		}
	}
	return id, ok
}

// Proven counts the faults whose effect was seen.
func (f *Facts) Proven() int {
	n := 0
	for i := range f.Faults {
		if f.Faults[i].Proven() {
			n++
		}
	}
	return n
}

// ActiveAt gives the faults that were active at a time (Unix ns).
func (f *Facts) ActiveAt(t int64) []history.Fault {
	var out []history.Fault
	for _, x := range f.Faults {
		if x.Asked <= t && (x.Healed == 0 || t <= x.Healed) {
			out = append(out, x)
		}
	}
	return out
}

// ByID finds a fault; nil if the records have none of that id.
func (f *Facts) ByID(id int) *history.Fault {
	for i := range f.Faults {
		if f.Faults[i].ID == id {
			return &f.Faults[i]
		}
	}
	return nil
}

// NodeNames gives nodes by their names: "n1, n3".
func NodeNames(nodes []int32) string {
	s := ""
	for i, n := range nodes {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("n%d", n)
	}
	return s
}
