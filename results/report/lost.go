package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"soak/checkers"
	"soak/history"
)

// lostStory is what a story of lost records has to show besides what happened close to them: who took over without them, who cut them off, and
// the first send that was given an offset of theirs. All of that may be many seconds later.
type lostStory struct {
	key    string             // of the partition
	op     *history.Operation // the first send that lost records
	offset int64              // of the first lost record; -1: the client was not told
	seq    uint64             // of that record

	took     *history.Operation
	led, cut *history.Event
	said     []*history.Event // the partition's states by the word of whom acknowledged it
}

// Bounds of what a story of lost records looks for.
const (
	maxSaid  = 256
	cutAfter = int64(10e9) // beyond the first cut found by so much, an earlier one is not looked for: nodes' events are nearly in the order of time
)

// newLostStory reads the first lost record off a violation; nil if it is of another kind.
func newLostStory(v *checkers.Violation) *lostStory {
	if !strings.HasPrefix(v.Kind, lostKind) || len(v.Evidence) == 0 {
		return nil
	}
	op, err := history.ParseOperation([]byte(v.Evidence[0]))
	if err != nil || op == nil || op.Produce == nil {
		return nil
	}
	l := &lostStory{key: keyOf(headOf(op)), op: op, offset: -1, seq: op.Produce.FirstSeq}
	if first, _, ok := lostSequences(v.Sentence); ok && first >= l.seq && first < l.seq+uint64(max(op.Produce.Count, 1)) {
		l.seq = first
	}
	if i := int(l.seq - op.Produce.FirstSeq); i < len(op.Produce.Offsets) {
		l.offset = op.Produce.Offsets[i]
	}
	return l
}

var lostSequence = regexp.MustCompile(`producer \d+\.\d+ sequences? (\d+)(?: to (\d+))?\)`)

// lostSequences are the sequences that a violation's sentence calls lost.
func lostSequences(sentence string) (first, last uint64, ok bool) {
	m := lostSequence.FindStringSubmatch(sentence)
	if m == nil {
		return 0, 0, false
	}
	first, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if last = first; m[2] != "" {
		if last, err = strconv.ParseUint(m[2], 10, 64); err != nil || last < first {
			return 0, 0, false
		}
	}
	return first, last, true
}

// wants reports whether states at an instant may still tell what became of the records.
func (l *lostStory) wants(kind []byte, at int64) bool {
	return string(kind) == "partition" && at >= l.op.Invoke-before && (l.led == nil || l.cut == nil || at <= max(l.led.Time, l.cut.Time)+cutAfter)
}

// event takes a state of the partition.
func (l *lostStory) event(e *history.Event) {
	b, ok := e.Body.(*history.Partition)
	if !ok || fmt.Sprintf("%s-%d", b.Topic, b.Partition) != l.key {
		return
	}
	if e.Node == l.op.Node && b.Role == "leader" && len(l.said) < maxSaid {
		l.said = append(l.said, e)
	}
	if l.offset < 0 || e.Time < l.op.Invoke || b.LogEnd > l.offset {
		return
	}
	if b.Cause == "truncation" && (l.cut == nil || e.Time < l.cut.Time) {
		l.cut = e
	}
	if b.Role == "leader" && e.Node != l.op.Node && (l.led == nil || e.Time < l.led.Time) {
		l.led = e
	}
}

// operation looks for the first send that was given the first lost record's offset.
func (l *lostStory) operation(h opHead, whole func() (*history.Operation, error)) {
	if l.offset < 0 || h.kind != "produce" || string(h.outcome) != string(history.OK) || string(h.id) == l.op.ID || keyOf(h) != l.key {
		return
	}
	if l.took != nil && h.complete >= l.took.Complete {
		return
	}
	if op, err := whole(); err == nil && op.Produce != nil && slices.Contains(op.Produce.Offsets, l.offset) {
		l.took = op
	}
}

// until is the last instant that the story must reach.
func (l *lostStory) until() int64 {
	at := int64(0)
	if l.cut != nil {
		at = l.cut.Time
	}
	if l.took != nil {
		at = max(at, l.took.Complete)
	}
	return at
}

// record names the first lost record.
func (l *lostStory) record() string {
	return fmt.Sprintf("producer %d.%d sequence %d", l.op.Produce.Producer, l.op.Produce.Incarnation, l.seq)
}

// holds says what a replica holds in place of the first lost record; "" where its piece of the final read does not tell.
func (l *lostStory) holds(op *history.Operation) string {
	d := op.Drain
	if l.offset < 0 || op.Outcome != history.OK || fmt.Sprintf("%s-%d", d.Topic, d.Partition) != l.key {
		return ""
	}
	promised := fmt.Sprintf("where %s was acknowledged", l.record())
	for _, s := range d.Spans {
		if i := l.offset - s.Offset; i >= 0 && i < int64(s.Count) {
			return fmt.Sprintf("n%d holds producer %d.%d sequence %d at offset %d, %s", d.Replica, s.Producer, s.Incarnation, s.Seq+uint64(i), l.offset, promised)
		}
	}
	switch {
	case d.From > l.offset:
		return ""
	case d.To > l.offset:
		return fmt.Sprintf("n%d holds no record of this run at offset %d, %s", d.Replica, l.offset, promised)
	case d.End:
		return fmt.Sprintf("n%d holds %s up to %d only and nothing at offset %d, %s", d.Replica, l.key, d.To, l.offset, promised)
	}
	return ""
}

// above tells that a node acknowledged what it did not take for committed: the first state that it told afterwards, still as the leader of the same epoch, has a
// high watermark no higher than the last offset of the send, and a high watermark only grows meanwhile. "" where its states do not prove that.
func (l *lostStory) above(op *history.Operation) string {
	if op.Produce == nil || op.Outcome != history.OK || op.Node != l.op.Node || len(op.Produce.Offsets) == 0 {
		return ""
	}
	last := slices.Max(op.Produce.Offsets)
	var was, is *history.Event
	for _, e := range l.said {
		switch {
		case e.Time <= op.Complete && (was == nil || e.Time >= was.Time):
			was = e
		case e.Time > op.Complete && (is == nil || e.Time < is.Time):
			is = e
		}
	}
	if was == nil || is == nil || was.Boot != is.Boot {
		return ""
	}
	a, b := was.Body.(*history.Partition), is.Body.(*history.Partition)
	switch {
	case a.LeaderEpoch != b.LeaderEpoch || b.HighWatermark > last:
		return ""
	case a.HighWatermark == b.HighWatermark:
		return fmt.Sprintf("while its high watermark is %d", b.HighWatermark)
	}
	return fmt.Sprintf("while its high watermark is at most %d", b.HighWatermark)
}

// lostSpan is when lost records were acknowledged.
type lostSpan struct{ from, to int64 }

func (s *lostSpan) take(at int64) {
	if at == 0 {
		return
	}
	s.from, s.to = min(cmp.Or(s.from, at), at), max(s.to, at)
}

func (s lostSpan) words(c *collected) string {
	if s.from == s.to {
		return "at " + c.clock(s.from)
	}
	return fmt.Sprintf("from %s to %s", c.clock(s.from), c.clock(s.to))
}

// lostInAll tells how much was lost in the whole run; "" where nothing was.
func (c *collected) lostInAll() string {
	if c.Report == nil {
		return ""
	}
	var records int64
	partitions := map[string]bool{}
	atLeast := ""
	for i := range c.Report.Verdicts {
		v := &c.Report.Verdicts[i]
		if v.Checker != checkers.AckedRecords {
			continue
		}
		for j := range v.Violations {
			x := &v.Violations[j]
			if !strings.HasPrefix(x.Kind, lostKind) {
				continue
			}
			first, last, ok := lostSequences(x.Sentence)
			if !ok {
				first, last, atLeast = 1, 1, "at least "
			}
			records += int64(last - first + 1)
			partitions[violationKey(x)] = true
		}
		if measure(v, "violations") > int64(len(v.Violations)) {
			atLeast = "at least "
		}
	}
	if records == 0 {
		return ""
	}
	were := "were"
	if records == 1 {
		were = "was"
	}
	text := fmt.Sprintf("In all, %s%s of %s %s lost", atLeast, plural(records, "acknowledged record"), plural(int64(len(partitions)), "partition"), were)
	if c.lostSpan.from != 0 {
		text += ", acknowledged " + c.lostSpan.words(c)
	}
	return text + "."
}

// lostWords tell when the records of one story were acknowledged, and how their offsets lie.
func (s *story) lostWords(c *collected) string {
	if s.lost == nil {
		return ""
	}
	var span lostSpan
	sends := int64(0)
	low, high := int64(-1), int64(-1)
	for _, op := range s.operations {
		if op.Produce == nil || !slices.Contains(s.v.Operations, op.ID) {
			continue
		}
		sends++
		span.take(op.Complete)
		for i, at := range op.Produce.Offsets {
			first, last, ok := lostSequences(s.v.Sentence)
			if seq := op.Produce.FirstSeq + uint64(i); at < 0 || ok && (seq < first || seq > last) {
				continue
			}
			if low < 0 {
				low = at
			}
			low, high = min(low, at), max(high, at)
		}
	}
	first, last, ok := lostSequences(s.v.Sentence)
	if sends == 0 || !ok {
		return ""
	}
	n := int64(last - first + 1)
	text := fmt.Sprintf("The story is that of %s, acknowledged in %s %s", plural(n, "record"), plural(sends, "send"), span.words(c))
	if low >= 0 && high-low+1 > n {
		text += fmt.Sprintf(". They are at %s among the %s offsets %d to %d. Records of other sends lie between", count(n), count(high-low+1), low, high)
	}
	text += "."
	if isr := c.isrOf(s.lost.key, s.lost.op.Complete); len(isr) > 0 && s.lost.op.Produce.Acks == -1 {
		text += fmt.Sprintf(" When the first was acknowledged, the in-sync replicas of %s were %s. With acks=all each of them has to hold a record before it is acknowledged.", s.lost.key, names(isr))
	}
	return text
}

// isrOf is a partition's ISR by the cluster's metadata; nil where it is not known.
func (c *collected) isrOf(key string, at int64) []int32 {
	for p, list := range c.states.placings {
		if p.String() == key {
			return placingAt(list, at).isr
		}
	}
	return nil
}
