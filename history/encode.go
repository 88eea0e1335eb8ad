package history

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendEvent appends e to buf as one flat JSON object, without a newline. It is written by hand because every
// broker does it for every event: encoding/json takes about seven times as long. Its output decodes with ParseEvent.
//
// An event without a body, or with a body type of another package, is a broken invariant and panics.
func AppendEvent(buf []byte, e *Event) []byte {
	buf = append(buf, '{')
	buf = appendHead(buf, e)
	buf = append(buf, `,"time":`...)
	buf = strconv.AppendInt(buf, e.Time, 10)
	buf = appendBody(buf, e.Body)
	return append(buf, '}')
}

// AppendLogLine appends e as the broker's one-line log: the fields of log/slog (time, level, msg) first, for people and
// log tools, then the event's own, with its time in nanoseconds as "t". No newline. ParseEvent reads it back.
func AppendLogLine(buf []byte, e *Event) []byte {
	buf = append(buf, `{"time":"`...)
	buf = time.Unix(0, e.Time).UTC().AppendFormat(buf, time.RFC3339Nano)
	level, msg := Message(e.Body)
	buf = append(buf, `","level":"`...)
	buf = append(buf, level...)
	buf = append(buf, `","msg":`...)
	buf = appendString(buf, msg)
	buf = append(buf, ',')
	buf = appendHead(buf, e)
	buf = append(buf, `,"t":`...)
	buf = strconv.AppendInt(buf, e.Time, 10)
	buf = appendBody(buf, e.Body)
	return append(buf, '}')
}

// Message is an event in words, with the level of its log line: "INFO" or "WARN". The texts of a leader check
// and of a refused proposal are the ones that people search their logs for (docs/story.md); they must not change.
func Message(b Body) (level, msg string) {
	level = "INFO"
	switch b := b.(type) {
	case *Started:
		msg = "started version " + b.Version
	case *RoleChange:
		msg = fmt.Sprintf("raft role is %s in term %d, leader %s", b.Role, b.Term, nodeName(b.Leader))
	case *LeaderCheck:
		msg = "partition leader check"
	case *Propose:
		return proposeMessage(b)
	case *Apply:
		msg = fmt.Sprintf("%s %s %s at index %d", b.Outcome, b.Command, b.Key, b.Index)
	case *StateHash:
		msg = fmt.Sprintf("state hash at index %d", b.Index)
	case *Snapshot:
		msg = fmt.Sprintf("snapshot %s at index %d", b.What, b.Index)
	case *Partition:
		msg = fmt.Sprintf("partition %s-%d: %s in epoch %d", b.Topic, b.Partition, b.Role, b.LeaderEpoch)
	case *Session:
		if b.State == "expired" {
			level = "WARN"
		}
		msg = fmt.Sprintf("session of broker %d is %s", b.Broker, b.State)
	case *Claim:
		msg = claimMessage(b)
	case *Read:
		msg = fmt.Sprintf("read at index %d", b.Index)
	case *Bug:
		return "WARN", fmt.Sprintf("planted bug %s has changed decisions: %d", b.Name, b.Decisions)
	case *Exit:
		if !b.Asked {
			level = "WARN"
		}
		msg = fmt.Sprintf("node %d exited with code %d", b.Of, b.Code)
		if b.Signal != "" {
			msg += ", signal " + b.Signal
		}
	case *LogLine:
		return "WARN", fmt.Sprintf("%s in the log of node %d", b.What, b.Of)
	case *Stall:
		if b.What != "" {
			return "WARN", fmt.Sprintf("the %s stalled for %s", b.What, time.Duration(b.Nanos))
		}
		return "WARN", fmt.Sprintf("stalled for %s", time.Duration(b.Nanos))
	default:
		panic(fmt.Sprintf("history: event body %T is of no known kind", b))
	}
	return level, msg
}

func proposeMessage(b *Propose) (level, msg string) {
	switch {
	case b.Outcome == ProposeAccepted:
		return "INFO", fmt.Sprintf("proposed %s %s", b.Command, b.Key)
	case b.Outcome == ProposeRefused && b.Error != "":
		return "WARN", b.Error
	case b.Error != "":
		return "WARN", fmt.Sprintf("proposal of %s %s %s: %s", b.Command, b.Key, b.Outcome, b.Error)
	}
	return "WARN", fmt.Sprintf("proposal of %s %s %s", b.Command, b.Key, b.Outcome)
}

func claimMessage(b *Claim) string {
	if b.What == "elected" {
		return fmt.Sprintf("elected broker %d as leader of %s in epoch %d", b.Leader, b.Key, b.LeaderEpoch)
	}
	return fmt.Sprintf("%s %s", b.What, b.Key)
}

func nodeName(id int32) string {
	if id == 0 {
		return "unknown"
	}
	return strconv.Itoa(int(id))
}

func appendHead(buf []byte, e *Event) []byte {
	buf = append(buf, `"event":"`...)
	buf = append(buf, e.Body.Kind()...)
	buf = append(buf, `","node":`...)
	buf = strconv.AppendInt(buf, int64(e.Node), 10)
	buf = append(buf, `,"boot":`...)
	buf = strconv.AppendUint(buf, e.Boot, 10)
	buf = append(buf, `,"seq":`...)
	return strconv.AppendUint(buf, e.Seq, 10)
}

// fields appends name-value pairs, each with its leading comma. Optional values are left out when empty, as the
// types' tags say.
type fields []byte

func (f *fields) name(n string) {
	*f = append(*f, ',', '"')
	*f = append(*f, n...)
	*f = append(*f, '"', ':')
}

func (f *fields) int(n string, v int64)   { f.name(n); *f = strconv.AppendInt(*f, v, 10) }
func (f *fields) uint(n string, v uint64) { f.name(n); *f = strconv.AppendUint(*f, v, 10) }
func (f *fields) str(n, v string)         { f.name(n); *f = appendString(*f, v) }
func (f *fields) bool(n string, v bool)   { f.name(n); *f = strconv.AppendBool(*f, v) }

// hash is quoted: a JSON reader that holds numbers as floating point would round it.
func (f *fields) hash(v uint64) {
	f.name("hash")
	*f = append(*f, '"')
	*f = strconv.AppendUint(*f, v, 10)
	*f = append(*f, '"')
}

func (f *fields) optInt(n string, v int64) {
	if v != 0 {
		f.int(n, v)
	}
}

func (f *fields) optStr(n, v string) {
	if v != "" {
		f.str(n, v)
	}
}

func (f *fields) optInts(n string, v []int32) {
	if len(v) == 0 {
		return
	}
	f.name(n)
	for i, x := range v {
		*f = append(*f, ",["[btoi(i == 0)])
		*f = strconv.AppendInt(*f, int64(x), 10)
	}
	*f = append(*f, ']')
}

func (f *fields) optStrs(n string, v []string) {
	if len(v) == 0 {
		return
	}
	f.name(n)
	for i, x := range v {
		*f = append(*f, ",["[btoi(i == 0)])
		*f = appendString(*f, x)
	}
	*f = append(*f, ']')
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func appendBody(buf []byte, b Body) []byte {
	f := fields(buf)
	switch b := b.(type) {
	case *Started:
		f.optStr("version", b.Version)
		f.optInts("nodes", b.Nodes)
		f.optStrs("bugs", b.Bugs)
	case *RoleChange:
		f.uint("term", b.Term)
		f.str("role", string(b.Role))
		f.int("leader", int64(b.Leader))
	case *LeaderCheck:
		f.uint("term", b.Term)
		f.str("role", string(b.Role))
		f.optStr("cause", b.Cause)
	case *Propose:
		f.propose(b)
	case *Apply:
		f.apply(b)
	case *StateHash:
		f.uint("index", b.Index)
		f.hash(b.Hash)
	case *Snapshot:
		f.str("what", b.What)
		f.uint("index", b.Index)
		f.uint("term", b.Term)
		f.int("bytes", b.Bytes)
	case *Partition:
		f.partition(b)
	case *Session:
		f.int("broker", int64(b.Broker))
		f.str("state", b.State)
	case *Claim:
		f.str("what", b.What)
		f.str("key", b.Key)
		f.uint("index", b.Index)
		f.int("leader", int64(b.Leader))
		f.int("leader_epoch", int64(b.LeaderEpoch))
	case *Read:
		f.optStr("op", b.Op)
		f.uint("index", b.Index)
	case *Bug:
		f.str("name", b.Name)
		f.uint("decisions", b.Decisions)
	case *Exit:
		f.int("of", int64(b.Of))
		f.int("code", int64(b.Code))
		f.optStr("signal", b.Signal)
		f.bool("asked", b.Asked)
	case *LogLine:
		f.int("of", int64(b.Of))
		f.str("what", b.What)
		f.optStr("line", b.Line)
	case *Stall:
		f.optStr("what", b.What)
		f.int("nanos", b.Nanos)
	default:
		panic(fmt.Sprintf("history: event body %T is of no known kind", b))
	}
	return f
}

func (f *fields) propose(b *Propose) {
	f.str("command", b.Command)
	f.str("key", b.Key)
	f.uint("term", b.Term)
	f.str("role", string(b.Role))
	f.int("leader", int64(b.Leader))
	f.uint("attempt", b.Attempt)
	f.str("outcome", b.Outcome)
	f.optStr("error", b.Error)
	f.optStr("op", b.Op)
	f.optInt("via", int64(b.Via))
	f.optStr("cause", b.Cause)
}

func (f *fields) apply(b *Apply) {
	f.uint("index", b.Index)
	f.uint("term", b.Term)
	f.str("command", b.Command)
	f.str("key", b.Key)
	f.int("proposer", int64(b.Proposer))
	f.uint("proposer_term", b.ProposerTerm)
	f.uint("proposer_boot", b.ProposerBoot)
	f.uint("attempt", b.Attempt)
	f.int("expected_epoch", int64(b.ExpectedEpoch))
	f.str("outcome", b.Outcome)
	f.optStr("error", b.Error)
	f.changes(b.Changes)
	f.hash(b.Hash)
	f.optInt("via", int64(b.Via))
	f.optStr("cause", b.Cause)
	f.optStr("op", b.Op)
}

func (f *fields) changes(changes []PartitionChange) {
	if len(changes) == 0 {
		return
	}
	f.name("changes")
	for i := range changes {
		c := &changes[i]
		*f = append(*f, ",["[btoi(i == 0)])
		at := len(*f)
		f.str("topic", c.Topic)
		(*f)[at] = '{' // in place of the comma that str wrote
		f.int("partition", int64(c.Partition))
		f.int("leader", int64(c.Leader))
		f.int("leader_epoch", int64(c.LeaderEpoch))
		f.int("partition_epoch", int64(c.PartitionEpoch))
		f.optInts("isr", c.ISR)
		f.optInts("replicas", c.Replicas)
		if c.Gone {
			f.bool("gone", true)
		}
		*f = append(*f, '}')
	}
	*f = append(*f, ']')
}

func (f *fields) partition(b *Partition) {
	f.str("topic", b.Topic)
	f.int("partition", int64(b.Partition))
	f.str("role", b.Role)
	f.int("leader", int64(b.Leader))
	f.int("leader_epoch", int64(b.LeaderEpoch))
	f.int("partition_epoch", int64(b.PartitionEpoch))
	f.optInts("isr", b.ISR)
	f.int("high_watermark", b.HighWatermark)
	f.int("log_end", b.LogEnd)
	f.optInt("log_start", b.LogStart)
	f.optStr("cause", b.Cause)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 become the replacement character.
func appendString(buf []byte, s string) []byte {
	buf = append(buf, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n != 1 {
				i += n
				continue
			}
			buf = append(buf, s[from:i]...)
			buf = append(buf, "\uFFFD"...)
		} else {
			buf = append(buf, s[from:i]...)
			switch c {
			case '"', '\\':
				buf = append(buf, '\\', c)
			case '\n':
				buf = append(buf, '\\', 'n')
			case '\t':
				buf = append(buf, '\\', 't')
			case '\r':
				buf = append(buf, '\\', 'r')
			default:
				buf = append(buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i++
		from = i
	}
	buf = append(buf, s[from:]...)
	return append(buf, '"')
}
