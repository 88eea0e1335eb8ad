package checkers

import (
	"cmp"
	"fmt"
	"slices"

	"soak/history"
)

// placed is an operation with the offsets between which its records stand: as they were acknowledged, or as they were read back.
type placed struct {
	op          *history.Operation
	first, last int64
}

func (x placed) verb() string {
	if x.op.Outcome == history.OK {
		return "was acknowledged"
	}
	return "stands"
}

// inLog finds the records of unknown outcome that are in the log all the same, in the replica that was read furthest, below its high watermark. Of a record that
// stands there twice the first counts.
func (c *recordOrder) inLog(p partition) []placed {
	unknown := c.unknown[p]
	replicas := c.drains.replicas(p)
	if len(unknown) == 0 || len(replicas) == 0 {
		return nil
	}
	settled := func(r replica) int64 {
		next, _ := c.drains.read(r)
		return min(next, c.drains.high(r))
	}
	best := slices.MaxFunc(replicas, func(a, b replica) int { return cmp.Compare(settled(a), settled(b)) })
	limit := settled(best)
	for _, ops := range unknown {
		slices.SortStableFunc(ops, func(a, b *history.Operation) int { return cmp.Compare(a.Produce.FirstSeq, b.Produce.FirstSeq) })
	}
	at := map[*history.Operation]map[uint64]int64{} // sequence → offset
	for _, piece := range c.drains.pieces[best] {
		for _, s := range piece.Drain.Spans {
			ops := unknown[producer{s.Producer, s.Incarnation}]
			end := s.Seq + uint64(s.Count)
			i, _ := slices.BinarySearchFunc(ops, s.Seq, func(op *history.Operation, seq uint64) int {
				return cmp.Compare(op.Produce.FirstSeq+uint64(op.Produce.Count), seq+1) // the first that ends above it
			})
			for ; i < len(ops) && ops[i].Produce.FirstSeq < end; i++ {
				op := ops[i]
				for seq := max(s.Seq, op.Produce.FirstSeq); seq < min(end, op.Produce.FirstSeq+uint64(op.Produce.Count)); seq++ {
					offset := s.Offset + int64(seq-s.Seq)
					if offset >= limit {
						break
					}
					if at[op] == nil {
						at[op] = map[uint64]int64{}
					}
					if old, known := at[op][seq]; !known || offset < old {
						at[op][seq] = offset
					}
				}
			}
		}
	}
	var out []placed
	for _, ops := range unknown {
		for _, op := range ops {
			if len(at[op]) == 0 {
				continue
			}
			c.located += int64(len(at[op]))
			x := placed{op: op, first: -1}
			for _, offset := range at[op] {
				if x.first < 0 || offset < x.first {
					x.first = offset
				}
				x.last = max(x.last, offset)
			}
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.op.Invoke, b.op.Invoke), cmp.Compare(a.op.ID, b.op.ID))
	})
	return out
}

// realTimeOfUnknown holds records of unknown outcome to real time: they stand behind what had been acknowledged before they were sent. Nothing must stand
// behind them, as nobody was told of them.
func (c *recordOrder) realTimeOfUnknown(p partition, found []placed, told map[*history.Operation]bool) {
	ended := slices.Clone(c.acked[p])
	slices.SortStableFunc(ended, func(a, b *history.Operation) int { return cmp.Compare(a.Complete, b.Complete) })
	var highest *history.Operation
	for _, x := range found { // ascending by their beginnings
		for len(ended) > 0 && ended[0].Complete < x.op.Invoke {
			if highest == nil || lastOffset(ended[0]) > lastOffset(highest) {
				highest = ended[0]
			}
			ended = ended[1:]
		}
		if highest == nil || x.first > lastOffset(highest) || told[x.op] {
			continue
		}
		c.violate(Violation{
			Kind: KindRealTime, Time: x.op.Complete, Operations: []string{highest.ID, x.op.ID}, Evidence: []string{opLine(highest), opLine(x.op)},
			Sentence: fmt.Sprintf("%s: %s stands at offset %d, though offset %d had been acknowledged before it was sent",
				p, named(producerOf(x.op.Produce), x.op.Produce.FirstSeq), x.first, lastOffset(highest)),
		})
	}
}
