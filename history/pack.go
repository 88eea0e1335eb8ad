package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pack is one line of a history that stands for many operations, in their order: produce and consume operations that were answered with ok and
// are in no way peculiar, which are nearly all of a long run. Each field of them is a column, as differences from what is to be
// expected, which compresses to a third of what the operations' own lines do. Any other operation has its own line, which ends the pack before
// it. A pack can be read by itself.
type pack struct {
	Kinds      string          `json:"pack"` // a letter an operation: p produce, c consume
	Senders    []packSender    `json:"senders,omitempty"`
	Partitions []packPartition `json:"partitions"`

	Sender    []int64 `json:"sender"`    // index into Senders
	Number    []int64 `json:"number"`    // the id behind the sender's prefix, less the number of the sender's operation before (0 at first)
	Node      []int64 `json:"node"`      // as it is
	Invoke    []int64 `json:"invoke"`    // less that of the operation before (0 at first)
	Took      []int64 `json:"took"`      // complete less invoke
	Partition []int64 `json:"partition"` // index into Partitions
	Offset    []int64 `json:"offset"`    // produce: the first; consume: from. Less the next offset after the sender's kind of operation in this partition before (0 at first)
	Known     []int64 `json:"known"`     // produce: offset less acked; consume: high less to
	Count     []int64 `json:"count"`     // produce: records; consume: to less from
	Spans     []int64 `json:"spans"`     // consume: how many; produce: 0

	Seq   []int64 `json:"seq,omitempty"`   // produce: first_seq less the sequence after the producer's operation in this partition before (0 at first)
	Epoch []int64 `json:"epoch,omitempty"` // consume: leader_epoch

	// Of each span: offset less the end of the span before, at first less from; seq less the end of the span before of that producer in this partition (0 at first).
	SpanOffset      []int64 `json:"span_offset,omitempty"`
	SpanProducer    []int64 `json:"span_producer,omitempty"`
	SpanIncarnation []int64 `json:"span_incarnation,omitempty"`
	SpanSeq         []int64 `json:"span_seq,omitempty"`
	SpanCount       []int64 `json:"span_count,omitempty"`
}

// packSender is what operations of one client have in common.
type packSender struct {
	Prefix      string `json:"id"` // what stands before the number in an operation's id
	Client      string `json:"client,omitempty"`
	Producer    uint32 `json:"producer,omitempty"`
	Incarnation uint32 `json:"incarnation,omitempty"`
	Acks        int16  `json:"acks,omitempty"`
	Idempotent  bool   `json:"idempotent,omitempty"`
}

type packPartition struct {
	Topic  string `json:"topic"`
	Number int32  `json:"number"`
}

// maxPack bounds the operations in a pack. At 5,000 records a second in batches of five it is two seconds' worth.
const maxPack = 4096

// packState is what differences are taken from.
type packState struct {
	invoke  int64
	numbers map[int64]int64 // by sender
	next    map[packPlace]int64
	seqs    map[packSeries]int64
}

// packPlace is where one kind of operation stands in a partition: all producers share it, each consumer has its own.
type packPlace struct{ sender, partition int64 }

type packSeries struct {
	partition             int64
	producer, incarnation uint32
	span                  bool
}

func newPackState() packState {
	return packState{numbers: map[int64]int64{}, next: map[packPlace]int64{}, seqs: map[packSeries]int64{}}
}

// diff answers v less the map's value, and keeps next there.
func diff[K comparable](m map[K]int64, k K, v, next int64) int64 {
	d := v - m[k]
	m[k] = next
	return d
}

// undo is diff's opposite: it answers the value, and the caller keeps what is next.
func undo[K comparable](m map[K]int64, k K, d int64) int64 { return m[k] + d }

// packer collects operations for a pack.
type packer struct {
	pack
	state      packState
	senders    map[packSender]int64
	partitions map[packPartition]int64
	kinds      []byte // pack's Kinds so far
	records    int    // spans, which bound a line's length too
}

func newPacker() *packer {
	return &packer{state: newPackState(), senders: map[packSender]int64{}, partitions: map[packPartition]int64{}}
}

func index[K comparable](m map[K]int64, list *[]K, k K) int64 {
	i, known := m[k]
	if !known {
		i = int64(len(*list))
		m[k] = i
		*list = append(*list, k)
	}
	return i
}

// SplitID takes the number from an id's end. The bool is false where it cannot be put together again.
func SplitID(id string) (prefix string, number int64, ok bool) {
	at := len(id)
	for at > 0 && id[at-1] >= '0' && id[at-1] <= '9' {
		at--
	}
	number, err := strconv.ParseInt(id[at:], 10, 64)
	return id[:at], number, err == nil && (id[at] != '0' || at+1 == len(id))
}

// plain reports whether an operation may go into a pack.
func plain(op *Operation) bool {
	if op.Outcome != OK || op.Error != "" || op.Meta != nil || op.Create != nil || op.Drain != nil {
		return false
	}
	switch p, c := op.Produce, op.Consume; {
	case p != nil && c == nil:
		if p.Disordered || p.Count < 1 || len(p.Offsets) != int(p.Count) || p.FirstSeq > 1<<62 {
			return false
		}
		for i, o := range p.Offsets {
			if o != p.Offsets[0]+int64(i) {
				return false
			}
		}
		return true
	case c != nil && p == nil:
		return len(c.Bad) == 0 && !slices.ContainsFunc(c.Spans, func(s Span) bool { return s.Seq > 1<<62 })
	}
	return false
}

// add takes an operation, or answers false: it must have a line of its own, behind the pack.
func (k *packer) add(op *Operation) bool {
	prefix, number, ok := SplitID(op.ID)
	if !ok || !plain(op) {
		return false
	}
	s := packSender{Prefix: prefix, Client: op.Client}
	if p := op.Produce; p != nil {
		s.Producer, s.Incarnation, s.Acks, s.Idempotent = p.Producer, p.Incarnation, p.Acks, p.Idempotent
	}
	sender := index(k.senders, &k.Senders, s)
	k.Sender = append(k.Sender, sender)
	k.Number = append(k.Number, diff(k.state.numbers, sender, number, number))
	k.Node = append(k.Node, int64(op.Node))
	k.Invoke = append(k.Invoke, op.Invoke-k.state.invoke)
	k.state.invoke = op.Invoke
	k.Took = append(k.Took, op.Complete-op.Invoke)
	if op.Produce != nil {
		k.produce(op.Produce)
	} else {
		k.consume(op.Consume, sender)
	}
	return true
}

// noSender is the sender in the place that producers share.
const noSender = -1

func (k *packer) produce(p *ProduceOp) {
	k.kinds = append(k.kinds, 'p')
	at := index(k.partitions, &k.Partitions, packPartition{p.Topic, p.Partition})
	k.Partition = append(k.Partition, at)
	first, count := p.Offsets[0], int64(p.Count)
	k.Offset = append(k.Offset, diff(k.state.next, packPlace{noSender, at}, first, first+count))
	k.Known = append(k.Known, first-p.Acked)
	k.Count = append(k.Count, count)
	k.Spans = append(k.Spans, 0)
	k.Seq = append(k.Seq, diff(k.state.seqs, packSeries{at, p.Producer, p.Incarnation, false}, int64(p.FirstSeq), int64(p.FirstSeq)+count))
}

func (k *packer) consume(c *ConsumeOp, sender int64) {
	k.kinds = append(k.kinds, 'c')
	at := index(k.partitions, &k.Partitions, packPartition{c.Topic, c.Partition})
	k.Partition = append(k.Partition, at)
	k.Offset = append(k.Offset, diff(k.state.next, packPlace{sender, at}, c.From, c.To))
	k.Known = append(k.Known, c.High-c.To)
	k.Count = append(k.Count, c.To-c.From)
	k.Spans = append(k.Spans, int64(len(c.Spans)))
	k.Epoch = append(k.Epoch, int64(c.LeaderEpoch))
	k.records += len(c.Spans)
	end := c.From
	for _, s := range c.Spans {
		count := int64(s.Count)
		k.SpanOffset = append(k.SpanOffset, s.Offset-end)
		end = s.Offset + count
		k.SpanProducer = append(k.SpanProducer, int64(s.Producer))
		k.SpanIncarnation = append(k.SpanIncarnation, int64(s.Incarnation))
		k.SpanSeq = append(k.SpanSeq, diff(k.state.seqs, packSeries{at, s.Producer, s.Incarnation, true}, int64(s.Seq), int64(s.Seq)+count))
		k.SpanCount = append(k.SpanCount, count)
	}
}

// full reports whether the pack should be written.
func (k *packer) full() bool { return len(k.kinds)+k.records >= maxPack }

func (k *packer) empty() bool { return len(k.kinds) == 0 }

// line is the pack as its line.
func (k *packer) line() ([]byte, error) {
	k.Kinds = string(k.kinds)
	return json.Marshal(&k.pack)
}

// packed begins each pack's line: Kinds is its first field.
const packed = `{"pack":"`

func isPack(line []byte) bool { return bytes.HasPrefix(line, []byte(packed)) }

// errPack says that a pack's columns do not fit together.
var errPack = errors.New("its columns do not fit together")

// unpack gives each operation of a pack's line to take, whose error it returns at once.
func unpack(line []byte, take func(*Operation) error) error {
	var k pack
	if err := json.Unmarshal(line, &k); err != nil {
		return fmt.Errorf("reading a pack of operations: %w", err)
	}
	if !k.fits() {
		return fmt.Errorf("reading a pack of operations: %w", errPack)
	}
	state := newPackState()
	for i := range k.Kinds {
		op, err := k.next(i, &state)
		if err == nil {
			err = op.check()
		}
		if err != nil {
			return fmt.Errorf("reading operation %d of a pack: %w", i+1, err)
		}
		if err := take(op); err != nil {
			return err
		}
	}
	return nil
}

// fits reports whether the columns are as long as they must be.
func (k *pack) fits() bool {
	n := len(k.Kinds)
	for _, c := range [][]int64{k.Sender, k.Number, k.Node, k.Invoke, k.Took, k.Partition, k.Offset, k.Known, k.Count, k.Spans} {
		if len(c) != n {
			return false
		}
	}
	produced := strings.Count(k.Kinds, "p")
	consumed := strings.Count(k.Kinds, "c")
	spans := int64(0)
	for i, c := range k.Spans {
		if c < 0 || c > maxBatch || k.Kinds[i] == 'p' && c != 0 {
			return false
		}
		spans += c
	}
	for _, c := range [][]int64{k.SpanOffset, k.SpanProducer, k.SpanIncarnation, k.SpanSeq, k.SpanCount} {
		if int64(len(c)) != spans {
			return false
		}
	}
	return produced+consumed == n && len(k.Seq) == produced && len(k.Epoch) == consumed
}

// next puts the i-th operation together, taking from the front of the columns that only some operations have.
func (k *pack) next(i int, state *packState) (*Operation, error) {
	sender, at, count := k.Sender[i], k.Partition[i], k.Count[i]
	if sender < 0 || sender >= int64(len(k.Senders)) || at < 0 || at >= int64(len(k.Partitions)) || count < 0 {
		return nil, errPack
	}
	s, of := k.Senders[sender], k.Partitions[at]
	number := undo(state.numbers, sender, k.Number[i])
	state.numbers[sender] = number
	state.invoke += k.Invoke[i]
	op := &Operation{
		ID: s.Prefix + strconv.FormatInt(number, 10), Client: s.Client, Node: int32(k.Node[i]),
		Invoke: state.invoke, Complete: state.invoke + k.Took[i], Outcome: OK,
	}
	if k.Kinds[i] == 'p' {
		if count > maxBatch { // before memory is taken for it
			return nil, fmt.Errorf("%d records", count)
		}
		place, series := packPlace{noSender, at}, packSeries{at, s.Producer, s.Incarnation, false}
		first, seq := undo(state.next, place, k.Offset[i]), undo(state.seqs, series, k.Seq[0])
		k.Seq = k.Seq[1:]
		state.next[place], state.seqs[series] = first+count, seq+count
		op.Produce = &ProduceOp{
			Topic: of.Topic, Partition: of.Number, Producer: s.Producer, Incarnation: s.Incarnation, FirstSeq: uint64(seq), Count: int32(count),
			Offsets: make([]int64, count), Acked: first - k.Known[i], Acks: s.Acks, Idempotent: s.Idempotent,
		}
		for j := range op.Produce.Offsets {
			op.Produce.Offsets[j] = first + int64(j)
		}
		return op, nil
	}
	place := packPlace{sender, at}
	from := undo(state.next, place, k.Offset[i])
	state.next[place] = from + count
	op.Consume = &ConsumeOp{
		Topic: of.Topic, Partition: of.Number, LeaderEpoch: int32(k.Epoch[0]), From: from, To: from + count, High: from + count + k.Known[i],
		Spans: k.spans(int(k.Spans[i]), at, from, state),
	}
	k.Epoch = k.Epoch[1:]
	return op, nil
}

// spans takes the next n of the columns of spans.
func (k *pack) spans(n int, partition, end int64, state *packState) []Span {
	if n == 0 {
		return nil
	}
	out := make([]Span, n)
	for i := range out {
		producer, incarnation := uint32(k.SpanProducer[i]), uint32(k.SpanIncarnation[i])
		series := packSeries{partition, producer, incarnation, true}
		seq := undo(state.seqs, series, k.SpanSeq[i])
		state.seqs[series] = seq + k.SpanCount[i]
		out[i] = Span{Offset: end + k.SpanOffset[i], Producer: producer, Incarnation: incarnation, Seq: uint64(seq), Count: int32(k.SpanCount[i])}
		end = out[i].Offset + k.SpanCount[i]
	}
	for _, c := range []*[]int64{&k.SpanOffset, &k.SpanProducer, &k.SpanIncarnation, &k.SpanSeq, &k.SpanCount} {
		*c = (*c)[n:]
	}
	return out
}
