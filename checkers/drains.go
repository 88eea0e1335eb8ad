package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// partition names a partition.
type partition struct {
	topic  string
	number int32
}

func (p partition) String() string { return fmt.Sprintf("%s-%d", p.topic, p.number) }

func comparePartitions(a, b partition) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
}

// replica names one node's copy of a partition.
type replica struct {
	partition
	node int32
}

// drains is the final read of the record topics, piece by piece as it was done.
type drains struct {
	want   []replica // by the run's description
	pieces map[replica][]*history.Operation
	highs  map[partition]int64 // highest high watermark that any replica answered with
	sorted bool
}

func newDrains(run *history.Run) drains {
	d := drains{pieces: map[replica][]*history.Operation{}, highs: map[partition]int64{}}
	for _, t := range run.RecordTopics {
		for p := range t.Partitions {
			for _, n := range t.Replicas {
				d.want = append(d.want, replica{partition{t.Name, p}, n})
			}
		}
	}
	return d
}

// add takes an operation; those that are no drain, or read nothing, are passed over.
func (d *drains) add(op *history.Operation) {
	if op.Drain != nil && op.Outcome == history.OK {
		r := replica{partition{op.Drain.Topic, op.Drain.Partition}, op.Drain.Replica}
		d.pieces[r] = append(d.pieces[r], op)
		d.highs[r.partition] = max(d.highs[r.partition], op.Drain.High)
		d.sorted = false
	}
}

// read is how far a replica was read without a gap, and whether that is its end. A replica that ends below a high watermark which
// another one named has more to come: its end is not its own.
func (d *drains) read(r replica) (next int64, end bool) {
	if !d.sorted {
		for _, pieces := range d.pieces {
			slices.SortStableFunc(pieces, func(a, b *history.Operation) int { return cmp.Compare(a.Drain.From, b.Drain.From) })
		}
		d.sorted = true
	}
	for _, op := range d.pieces[r] {
		if op.Drain.From > next {
			break
		}
		switch to := op.Drain.To; {
		case to > next:
			next, end = to, op.Drain.End
		case to == next:
			end = end || op.Drain.End
		}
	}
	for _, op := range d.pieces[r] {
		if op.Drain.To > next { // something was read behind the gap: the end is not here
			return next, false
		}
	}
	return next, end && next >= d.highs[r.partition]
}

// high is the highest high watermark that the replica answered with, 0 if none.
func (d *drains) high(r replica) int64 {
	var high int64
	for _, op := range d.pieces[r] {
		high = max(high, op.Drain.High)
	}
	return high
}

// counts is how many of the wanted replicas were read to their ends.
func (d *drains) counts() (complete, wanted int64) {
	for _, r := range d.want {
		if _, end := d.read(r); end {
			complete++
		}
	}
	return complete, int64(len(d.want))
}

// shortfalls names each wanted replica that was not read to its end.
func (d *drains) shortfalls() []string {
	var out []string
	for _, r := range d.want {
		next, end := d.read(r)
		if end {
			continue
		}
		if len(d.pieces[r]) == 0 {
			out = append(out, fmt.Sprintf("%s on n%d was never read", r.partition, r.node))
			continue
		}
		of := "an unknown end"
		if known := d.knownEnd(r.partition); known > next {
			of = fmt.Sprint(known)
		}
		out = append(out, fmt.Sprintf("drain of %s on n%d stopped at %d of %s", r.partition, r.node, next, of))
	}
	return out
}

// knownEnd is the furthest that any replica of the partition is known to reach.
func (d *drains) knownEnd(p partition) int64 {
	var known int64
	for r, pieces := range d.pieces {
		if r.partition == p {
			for _, op := range pieces {
				known = max(known, op.Drain.To, op.Drain.LogEnd, op.Drain.High)
			}
		}
	}
	return known
}

// replicas are the nodes of a partition that were read or should have been, ascending.
func (d *drains) replicas(p partition) []replica {
	var out []replica
	for r := range d.pieces {
		if r.partition == p {
			out = append(out, r)
		}
	}
	for _, r := range d.want {
		if r.partition == p && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b replica) int { return cmp.Compare(a.node, b.node) })
	return out
}
