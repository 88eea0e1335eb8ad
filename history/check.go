package history

import (
	"errors"
	"fmt"
)

// Bounds of what a reader believes, so that an edited or damaged file cannot make a checker allocate at its word. Far
// above anything that Soak writes.
const (
	maxBatch     = 1 << 20
	maxPartition = 1 << 20
	maxReplicas  = 1000    // of a partition
	maxReads     = 1 << 20 // replicas of partitions that a run's drain must read
)

// check refuses a description whose numbers cannot be a run's.
func (r *Run) check() error {
	var reads int64
	for _, t := range r.RecordTopics {
		if t.Partitions < 0 || t.Partitions > maxPartition || len(t.Replicas) > maxReplicas {
			return fmt.Errorf("topic %q has %d partitions on %d nodes", t.Name, t.Partitions, len(t.Replicas))
		}
		reads += int64(t.Partitions) * int64(len(t.Replicas))
	}
	if reads > maxReads {
		return fmt.Errorf("its topics have %d replicas", reads)
	}
	return nil
}

// check refuses an operation that no recorder wrote: it is the reader's guard, not a judgement of the cluster.
func (op *Operation) check() error {
	switch op.Outcome {
	case OK, Failed, Unknown:
	default:
		return fmt.Errorf("operation %q has the outcome %q", op.ID, op.Outcome)
	}
	set := 0
	for _, is := range []bool{op.Produce != nil, op.Meta != nil, op.Create != nil, op.Drain != nil, op.Consume != nil} {
		set += btoi(is)
	}
	if set != 1 {
		return fmt.Errorf("operation %q is of %d kinds", op.ID, set)
	}
	var err error
	switch {
	case op.Produce != nil:
		err = op.Produce.check()
	case op.Drain != nil:
		err = op.Drain.check()
	case op.Consume != nil:
		err = op.Consume.check()
	}
	if err != nil {
		return fmt.Errorf("operation %q: %w", op.ID, err)
	}
	return nil
}

func (p *ProduceOp) check() error {
	switch {
	case p.Partition < 0 || p.Partition > maxPartition:
		return fmt.Errorf("partition %d", p.Partition)
	case p.Count < 0 || p.Count > maxBatch:
		return fmt.Errorf("%d records", p.Count)
	case p.FirstSeq+uint64(p.Count) < p.FirstSeq:
		return errors.New("the sequence overflows")
	case len(p.Offsets) != 0 && len(p.Offsets) != int(p.Count):
		return fmt.Errorf("%d offsets for %d records", len(p.Offsets), p.Count)
	}
	return nil
}

func (d *DrainOp) check() error {
	if d.Partition < 0 || d.Partition > maxPartition {
		return fmt.Errorf("partition %d", d.Partition)
	}
	if d.From < 0 || d.To < 0 || d.LogStart < 0 {
		return fmt.Errorf("offsets from %d to %d, log start %d", d.From, d.To, d.LogStart)
	}
	for _, s := range d.Stretches {
		if s.From < 0 || s.To <= s.From {
			return fmt.Errorf("a stretch from offset %d to %d", s.From, s.To)
		}
	}
	return checkSpans(d.Spans)
}

func (c *ConsumeOp) check() error {
	if c.Partition < 0 || c.Partition > maxPartition {
		return fmt.Errorf("partition %d", c.Partition)
	}
	if c.From < 0 || c.To < c.From || c.LeaderEpoch < -1 {
		return fmt.Errorf("offsets from %d to %d in epoch %d", c.From, c.To, c.LeaderEpoch)
	}
	return checkSpans(c.Spans)
}

func checkSpans(spans []Span) error {
	for _, s := range spans {
		if s.Offset < 0 || s.Count < 1 || s.Count > maxBatch || s.Seq+uint64(s.Count) < s.Seq || s.Offset+int64(s.Count) < 0 {
			return fmt.Errorf("a span of %d records at offset %d from sequence %d", s.Count, s.Offset, s.Seq)
		}
	}
	return nil
}

func (f *Fault) check() error {
	if f.Kind == "" {
		return fmt.Errorf("fault %d has no kind", f.ID)
	}
	return nil
}
