package checkers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"soak/history"
)

// Kinds of violation of acked-records. A loss is of kind "lost-" with its class: prefix, middle, tail, overwritten, truncated.
const (
	KindInconsistent  = "inconsistent-offset" // one offset, two values
	KindPhantom       = "phantom"             // nobody sent it
	KindCorrupt       = "corrupt"
	KindMisrouted     = "misrouted"
	KindForeign       = "foreign" // of another run, or no record of Soak's
	KindFailedVisible = "failed-but-visible"
	KindHole          = "hole" // an offset below a replica's own high watermark that holds no record there
	lostPrefix        = "lost-"
)

// Measures of acked-records that are there where a log start moved.
const (
	MeasureStartsMoved = "log starts that moved"
	MeasureGone        = "acknowledged records gone by retention"
)

// allReplicas is Kafka's acks=all.
const allReplicas = -1

// ackedRecords holds what clients were told against what every replica holds in the end.
type ackedRecords struct {
	ledger
	contract   history.Contract
	unsynced   unsynced
	kept       *retained
	exempt     map[partition]string // why nothing is claimed of a partition's records
	ops        *operations
	drains     *drains
	sends      map[partition]*sends
	tenures    map[partition][]tenure // who led, by the nodes' own word
	historyCut bool                   // operations may be missing: a record that nobody sent proves nothing

	acked, failed, unknown           int64
	unknownVisible, duplicates, read int64
	retired                          int64 // acknowledged, and gone by retention
	undecided                        int64 // acknowledged, absent, but not everything was read
	phantoms                         int64 // not held against anybody, since the history is cut

	clock   func(int64) string
	spare   []*recordsPage
	repeats []repeat    // for no-duplicates
	audited atomic.Bool // the audit came to its end
}

func newAckedRecords(s *shared) *ackedRecords {
	ops := s.operations()
	return &ackedRecords{
		ledger: ledger{id: AckedRecords}, contract: s.run.Contract, unsynced: newUnsynced(s.run), kept: s.retention(), ops: ops, drains: &ops.drains, sends: map[partition]*sends{},
		tenures: map[partition][]tenure{}, clock: clockOf(s.run),
	}
}

func (c *ackedRecords) partition(p partition) *sends {
	s := c.sends[p]
	if s == nil {
		s = &sends{spare: &c.spare}
		c.sends[p] = s
	}
	return s
}

func (c *ackedRecords) Event(e *history.Event) {
	c.unsynced.see(e)
	c.kept.see(e)
	if p, ok := e.Body.(*history.Partition); ok {
		c.partitionEvent(e, p)
	}
}

func (c *ackedRecords) Operation(op *history.Operation) {
	c.ops.take(op)
	p := op.Produce
	if p == nil {
		return
	}
	switch op.Outcome {
	case history.OK:
		c.acked += int64(p.Count)
	case history.Failed:
		c.failed += int64(p.Count)
	case history.Unknown:
		c.unknown += int64(p.Count)
	}
	c.partition(partition{p.Topic, p.Partition})
}

// incomplete tells that the history lacks operations.
func (c *ackedRecords) incomplete(n history.Notes) { c.historyCut = historyCut(n) }

// historyCut reports whether operations may be missing.
func historyCut(n history.Notes) bool {
	return slices.ContainsFunc(slices.Concat(n.Missing, n.Truncated), func(f string) bool {
		return f == history.HistoryFile || f == history.HistoryFile+".zst"
	})
}

// promised reports whether acknowledgements of this run mean that a record stays: acks=all and no unclean election.
func (c *ackedRecords) promised() bool { return c.contract.Acks == allReplicas && !c.contract.Unclean }

// claimed reports whether that is promised of what an operation sent.
func (c *ackedRecords) claimed(p partition, op *history.Operation) bool {
	return c.promised() && (c.exempt[p] == "" || op.Invoke > c.unsynced.until[p])
}

func (c *ackedRecords) Finish() Verdict {
	parts := make([]partition, 0, len(c.sends))
	for p := range c.sends {
		parts = append(parts, p)
	}
	for r := range c.drains.pieces {
		if _, ok := c.sends[r.partition]; !ok && !slices.Contains(parts, r.partition) {
			parts = append(parts, r.partition)
		}
	}
	slices.SortFunc(parts, comparePartitions)
	c.exempt = c.unsynced.exempt(c.faults)
	c.kept.judge(c.faults)
	for i := range c.kept.early {
		c.violate(c.kept.early[i])
	}
	for _, p := range parts {
		a := audit{checker: c, partition: p, sends: c.partition(p), sent: c.ops.sends(p), replicas: c.drains.replicas(p)}
		a.run()
	}
	c.inOrder()
	c.spare = nil
	c.audited.Store(true)
	return c.judge(unclaimed(c.exempt, parts))
}

// inOrder puts the violations into the order of their time, so that a cause stands before what follows from it; at one time losses first.
func (c *ackedRecords) inOrder() {
	slices.SortStableFunc(c.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(btoi(!strings.HasPrefix(a.Kind, lostPrefix)), btoi(!strings.HasPrefix(b.Kind, lostPrefix))))
	})
	c.attached = 0
}

// unclaimedRecords are the acknowledged records of which nothing is claimed.
func (c *ackedRecords) unclaimedRecords() (count int64) {
	for p := range c.exempt {
		c.ops.sends(p).each(func(_ int, op *history.Operation) {
			if op.Outcome == history.OK && op.Invoke <= c.unsynced.until[p] {
				count += int64(op.Produce.Count)
			}
		})
	}
	return count
}

func (c *ackedRecords) judge(unclaimed string) Verdict {
	var missing []string
	exempt := c.unclaimedRecords()
	claimed := c.acked - exempt
	switch {
	case c.acked == 0:
		missing = append(missing, "no acknowledged record was seen")
	case claimed == 0:
		missing = append(missing, unclaimed)
	}
	if len(c.drains.want) == 0 {
		missing = append(missing, "the run names no topic to read back")
	}
	missing = append(missing, c.drains.shortfalls()...)
	for _, of := range c.kept.unsure {
		missing = append(missing, "it is not known "+of)
	}
	if c.undecided > 0 {
		missing = append(missing, plural(c.undecided, "acknowledged record")+" not read back below a high watermark, but not shown to be gone")
	}
	if c.phantoms > 0 {
		missing = append(missing, plural(c.phantoms, "record")+" that nobody is known to have sent, while the history is cut")
	}
	holds := fmt.Sprintf("all of %s were read back at their offsets", plural(claimed-c.retired, "acknowledged record"))
	if c.retired > 0 {
		holds += fmt.Sprintf("; %d more had gone by their topics' retention", c.retired)
	}
	if unclaimed != "" {
		holds += "; " + unclaimed + "; what was sent to them after that is claimed"
	}
	v := c.verdict(claimed, "acknowledged records", holds, missing)
	if v.Outcome != Violated && !c.promised() {
		v.Outcome = NotApplicable
		v.Reason = fmt.Sprintf("records were sent with acks=%d, which does not promise that they stay", c.contract.Acks)
		if c.contract.Acks == allReplicas {
			v.Reason = "unclean elections were allowed: an acknowledged record may be lost by contract"
		}
	}
	v.Measures = append(v.Measures,
		Measure{Name: "records acknowledged", Seen: c.acked}, Measure{Name: "records failed", Seen: c.failed},
		Measure{Name: "records with unknown outcome", Seen: c.unknown}, Measure{Name: "of these visible", Seen: c.unknownVisible},
		Measure{Name: "records read, all replicas", Seen: c.read}, Measure{Name: "duplicates", Seen: c.duplicates})
	if c.kept.moves > 0 {
		v.Measures = append(v.Measures, Measure{Name: MeasureStartsMoved, Seen: c.kept.moves}, Measure{Name: MeasureGone, Seen: c.retired})
	}
	if exempt > 0 {
		v.Measures = append(v.Measures, Measure{Name: "acknowledged records of which nothing is claimed", Seen: exempt})
	}
	return v
}
