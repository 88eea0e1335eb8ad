package checkers

import (
	"cmp"
	"slices"
)

// inLog finds the records of unknown outcome that are in the log all the same, in the replica that was read furthest, below its high watermark. Of a record that
// stands there twice the first counts.
func (o *partitionOrder) inLog() []placed {
	replicas := o.drains.replicas(o.partition)
	if len(o.unknown) == 0 || len(replicas) == 0 {
		return nil
	}
	settled := func(r replica) int64 {
		next, _ := o.drains.read(r)
		return min(next, o.drains.high(r))
	}
	best := slices.MaxFunc(replicas, func(a, b replica) int { return cmp.Compare(settled(a), settled(b)) })
	limit := settled(best)
	for _, ops := range o.unknown {
		slices.SortStableFunc(ops, func(a, b unlocated) int { return cmp.Compare(a.seq, b.seq) })
	}
	at := map[int32]map[uint64]int64{} // operation → sequence → offset
	var buf spanBuffer
	for _, piece := range o.drains.pieces[best] {
		for _, s := range piece.read(&buf) {
			ops := o.unknown[producer{s.Producer, s.Incarnation}]
			end := s.Seq + uint64(s.Count)
			i, _ := slices.BinarySearchFunc(ops, s.Seq, func(op unlocated, seq uint64) int {
				return cmp.Compare(op.seq+uint64(op.count), seq+1) // the first that ends above it
			})
			for ; i < len(ops) && ops[i].seq < end; i++ {
				op := ops[i]
				for seq := max(s.Seq, op.seq); seq < min(end, op.seq+uint64(op.count)); seq++ {
					offset := s.Offset + int64(seq-s.Seq)
					if offset >= limit {
						break
					}
					if at[op.i] == nil {
						at[op.i] = map[uint64]int64{}
					}
					if old, known := at[op.i][seq]; !known || offset < old {
						at[op.i][seq] = offset
					}
				}
			}
		}
	}
	var out []placed
	for _, ops := range o.unknown {
		for _, op := range ops {
			if len(at[op.i]) == 0 {
				continue
			}
			o.located += int64(len(at[op.i]))
			x := op.placed
			x.first = -1
			for _, offset := range at[op.i] {
				if x.first < 0 || offset < x.first {
					x.first = offset
				}
				x.last = max(x.last, offset)
			}
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b placed) int {
		if c := cmp.Compare(a.invoke, b.invoke); c != 0 {
			return c
		}
		return cmp.Compare(o.sent.at(int(a.i)).ID, o.sent.at(int(b.i)).ID)
	})
	return out
}

// realTimeOfUnknown holds records of unknown outcome to real time: they stand behind what had been acknowledged before they were sent. Nothing must stand
// behind them, as nobody was told of them.
func (o *partitionOrder) realTimeOfUnknown(found []placed, told map[int32]bool) {
	if len(found) == 0 {
		return
	}
	ended := o.count(1)
	o.byInvoke(ended)
	o.byComplete(ended)
	var highest *placed
	for i := range found { // ascending by their beginnings
		x := &found[i]
		for len(ended) > 0 && o.acked[ended[0]].complete < x.invoke {
			if y := &o.acked[ended[0]]; highest == nil || y.last > highest.last {
				highest = y
			}
			ended = ended[1:]
		}
		if highest == nil || x.first > highest.last || told[x.i] {
			continue
		}
		o.behind(highest, x, "stands")
	}
}
