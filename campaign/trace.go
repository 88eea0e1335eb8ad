package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/chaos/sim"
	"soak/history"
)

// What a trace can show.
const (
	TraceRaft      = "raft"      // starts, roles, leader checks
	TraceISR       = "isr"       // leaders, ISRs and truncations of partitions
	TraceMeta      = "meta"      // proposals, committed entries, claims, reads
	TraceSession   = "session"   // sessions of brokers
	TraceClient    = "client"    // operations of clients
	TraceFault     = "fault"     // faults, exits, planted bugs at work
	TraceViolation = "violation" // what the checkers found
)

// Traces lists them.
func Traces() []string {
	return []string{TraceRaft, TraceISR, TraceMeta, TraceSession, TraceClient, TraceFault, TraceViolation}
}

// DefaultTraces are those that make a page, not a book.
func DefaultTraces() []string {
	return []string{TraceRaft, TraceISR, TraceSession, TraceFault, TraceViolation}
}

// Line is one utterance in a trace.
type Line struct {
	At   time.Duration // from the beginning of the run, on the speaker's clock
	Node int32         // 0: the runner
	Kind string
	Text string
}

// TraceOptions say what to show of a run.
type TraceOptions struct {
	Kinds []string
	Node  int32         // 0: all; the runner's own lines are shown where they concern it
	Until time.Duration // 0: to the end
}

// Trace simulates a job in this process and gives what was said, in order. Nothing is judged of a run that is not simulated to its end,
// but for what is found on the way.
func Trace(j Job, o TraceOptions) (*Answer, []Line, error) {
	t := &trace{o: o}
	var stop func() string
	if o.Until > 0 {
		stop = func() string {
			if t.now > o.Until {
				return "replayed as far as was asked"
			}
			return ""
		}
	}
	a, err := simulate(j, t.see, stop)
	if err != nil {
		return nil, nil, err
	}
	if o.Until > 0 {
		// What came of ending it there is no part of the run.
		a.Failures = slices.DeleteFunc(a.Failures, func(f Failure) bool { return f.At == 0 || time.Duration(f.At) > o.Until })
	}
	for _, f := range a.Failures {
		t.insert(Line{At: time.Duration(f.At), Kind: TraceViolation, Text: f.Class.String() + ": " + f.Sentence})
	}
	t.lines = slices.DeleteFunc(t.lines, func(l Line) bool { return o.Until > 0 && l.At > o.Until })
	return a, t.lines, nil
}

type trace struct {
	o     TraceOptions
	now   time.Duration
	lines []Line
}

func (t *trace) wants(kind string, nodes ...int32) bool {
	return slices.Contains(t.o.Kinds, kind) && (t.o.Node == 0 || slices.Contains(nodes, t.o.Node))
}

func (t *trace) see(record any) {
	switch r := record.(type) {
	case *history.Event:
		t.event(r)
	case *history.Operation:
		t.now = time.Duration(r.Complete - sim.Epoch)
		if t.wants(TraceClient, r.Node) {
			t.insert(Line{At: time.Duration(r.Invoke - sim.Epoch), Kind: TraceClient, Text: operation(r)})
		}
	case *history.Fault:
		t.fault(r)
	}
}

// insert puts a line where its time belongs: operations and faults are seen when they are over.
func (t *trace) insert(l Line) {
	i := len(t.lines)
	if l.At > 0 {
		for i > 0 && t.lines[i-1].At > l.At {
			i--
		}
	}
	t.lines = slices.Insert(t.lines, i, l)
}

func (t *trace) fault(f *history.Fault) {
	if !t.wants(TraceFault, f.Nodes...) {
		return
	}
	say := func(at int64, format string, args ...any) {
		if at != 0 {
			t.insert(Line{At: time.Duration(at - sim.Epoch), Kind: TraceFault, Text: fmt.Sprintf("fault %d, ", f.ID) + f.Words() + fmt.Sprintf(format, args...)})
		}
	}
	if f.Effective == 0 {
		say(f.Asked, ": no effect was seen: %s", cmp.Or(f.Error, "it met nothing"))
		return
	}
	say(f.Effective, ": in effect")
	say(f.Healed, ": over")
}

func (t *trace) event(e *history.Event) {
	kind, text := describe(e)
	if e.Node == 0 {
		t.now = time.Duration(e.Time - sim.Epoch)
	}
	who := e.Node
	switch b := e.Body.(type) {
	case *history.Exit:
		who = b.Of
	case *history.LogLine:
		who = b.Of
	}
	if text != "" && t.wants(kind, who) {
		t.lines = append(t.lines, Line{At: time.Duration(e.Time - sim.Epoch), Node: e.Node, Kind: kind, Text: text})
	}
}

// describe puts an event into words; none for what says nothing new.
func describe(e *history.Event) (kind, text string) {
	switch b := e.Body.(type) {
	case *history.Started:
		return TraceRaft, fmt.Sprintf("I am up, boot %d", e.Boot)
	case *history.RoleChange:
		text = fmt.Sprintf("I am %s in term %d", b.Role, b.Term)
		if b.Role == history.RoleFollower {
			text += ", and know no leader"
			if b.Leader != 0 {
				text = fmt.Sprintf("I follow n%d in term %d", b.Leader, b.Term)
			}
		}
		return TraceRaft, text
	case *history.LeaderCheck:
		return TraceRaft, fmt.Sprintf("I check the partitions' leaders (%s), as %s in term %d", b.Cause, b.Role, b.Term)
	case *history.Propose:
		text = fmt.Sprintf("I propose %s %s in term %d", b.Command, b.Key, b.Term)
		if b.Outcome != history.ProposeAccepted {
			text += ": " + b.Outcome
		}
		if b.Error != "" {
			text += ": " + b.Error
		}
		return TraceMeta, text
	case *history.Apply:
		text = fmt.Sprintf("entry %d: %s %s of n%d", b.Index, b.Command, b.Key, b.Proposer)
		if b.Outcome != history.Applied {
			text += ": refused, " + b.Error
		}
		return TraceMeta, text
	case *history.Snapshot:
		return TraceMeta, fmt.Sprintf("snapshot up to entry %d %s, %d bytes", b.Index, b.What, b.Bytes)
	case *history.Claim:
		return TraceMeta, fmt.Sprintf("I say: %s %s, by entry %d", b.What, b.Key, b.Index)
	case *history.Read:
		return TraceMeta, fmt.Sprintf("I read at entry %d for %s", b.Index, b.Op)
	case *history.Session:
		return TraceSession, fmt.Sprintf("n%d is %s", b.Broker, b.State)
	case *history.Partition:
		return TraceISR, replica(b)
	case *history.Bug:
		return TraceFault, fmt.Sprintf("the planted %s has changed %d decisions", b.Name, b.Decisions)
	case *history.Exit:
		return TraceFault, fmt.Sprintf("n%d ended (%s)", b.Of, cmp.Or(b.Signal, fmt.Sprintf("exit %d", b.Code)))
	case *history.LogLine:
		return TraceFault, fmt.Sprintf("n%d says: %s", b.Of, b.Line)
	case *history.Stall:
		return TraceFault, fmt.Sprintf("I stood still for %s", time.Duration(b.Nanos))
	}
	return "", ""
}

func replica(b *history.Partition) string {
	where := fmt.Sprintf("%s-%d", b.Topic, b.Partition)
	state := fmt.Sprintf("log to %d, high watermark %d", b.LogEnd, b.HighWatermark)
	switch {
	case b.Cause == "periodic":
		return ""
	case b.Cause == "truncation":
		return fmt.Sprintf("I cut my log of %s: %s", where, state)
	case b.Cause == history.CauseRetention:
		return fmt.Sprintf("I look for what retention lets go of %s: log from %d, %s", where, b.LogStart, state)
	case b.Cause == history.CauseRetained:
		return fmt.Sprintf("I removed what retention let go of %s: log from %d, %s", where, b.LogStart, state)
	case b.Cause == history.CauseFollowed:
		return fmt.Sprintf("I removed what my leader has removed of %s: log from %d, %s", where, b.LogStart, state)
	case b.Cause == history.CauseRestart:
		return fmt.Sprintf("I gave up my log of %s, to begin where my leader's begins: log from %d, %s", where, b.LogStart, state)
	case b.Role == "leader":
		return fmt.Sprintf("I lead %s in epoch %d, ISR %s: %s", where, b.LeaderEpoch, names(b.ISR, " "), state)
	case b.Leader > 0:
		return fmt.Sprintf("I follow n%d on %s in epoch %d: %s", b.Leader, where, b.LeaderEpoch, state)
	}
	return fmt.Sprintf("I know no leader of %s in epoch %d: %s", where, b.LeaderEpoch, state)
}

func operation(op *history.Operation) string {
	var what string
	switch {
	case op.Produce != nil:
		p := op.Produce
		what = fmt.Sprintf("%d records to %s-%d from %d:%d", p.Count, p.Topic, p.Partition, p.Producer, p.FirstSeq)
		if len(p.Offsets) > 0 {
			what += fmt.Sprintf(" at %d", p.Offsets[0])
		}
	case op.Meta != nil:
		what = strings.TrimSpace(fmt.Sprintf("%s %s %s", op.Meta.Kind, op.Meta.Name, op.Meta.Value))
	case op.Create != nil:
		what = fmt.Sprintf("create %s by a %s", op.Create.Topic, op.Create.How)
	case op.Drain != nil:
		d := op.Drain
		what = fmt.Sprintf("read %s-%d of n%d, %d to %d", d.Topic, d.Partition, d.Replica, d.From, d.To)
	case op.Consume != nil:
		c := op.Consume
		what = fmt.Sprintf("consume %s-%d, %d to %d, high watermark %d", c.Topic, c.Partition, c.From, c.To, c.High)
	}
	who := cmp.Or(op.Client, "a client")
	if op.Node != 0 {
		who += fmt.Sprintf(" to n%d", op.Node)
	}
	text := fmt.Sprintf("%s: %s: %s after %s", who, what, op.Outcome, (time.Duration(op.Complete - op.Invoke)).Round(10*time.Microsecond))
	if op.Error != "" {
		text += ", " + op.Error
	}
	return text
}

// String is a line as it is printed.
func (l Line) String() string {
	who := "  "
	if l.Node != 0 {
		who = fmt.Sprintf("n%d", l.Node)
	}
	return fmt.Sprintf("%10.6f s  %s  %-9s  %s", l.At.Seconds(), who, l.Kind, l.Text)
}
