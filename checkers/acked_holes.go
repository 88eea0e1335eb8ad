package checkers

import (
	"cmp"
	"fmt"
	"slices"
)

// stretch is offsets that a drain piece holds records for, good or bad.
type stretch struct {
	from, to int64
	op       *piece
}

// holes finds offsets that a replica passes over below its own high watermark. Without transactions and compaction a log is
// dense, from 0 or from where retention has let it begin, so such an offset is a record that this replica does not have, whatever the others hold.
func (a *audit) holes(r replica) {
	d := a.checker.drains
	next, _ := d.read(r)
	limit := min(next, d.high(r))
	pieces := d.pieces[r]
	if len(pieces) == 0 {
		return
	}
	var held []stretch
	for _, op := range pieces {
		for _, s := range op.read(&a.buf) {
			// What begins where the one before ends opens no hole.
			if n := len(held); n > 0 && held[n-1].to == s.Offset {
				held[n-1].to += int64(s.Count)
				continue
			}
			held = append(held, stretch{s.Offset, s.Offset + int64(s.Count), op})
		}
		for _, b := range op.Bad {
			held = append(held, stretch{b.Offset, b.Offset + 1, op})
		}
	}
	slices.SortStableFunc(held, func(x, y stretch) int { return cmp.Compare(x.from, y.from) })
	held = append(held, stretch{limit, limit, pieces[len(pieces)-1]})
	at := a.checker.kept.gone(r)
	for _, s := range held {
		if to := min(s.from, limit); at < to {
			a.hole(r, at, to, s.op)
		}
		at = max(at, s.to)
	}
}

// hole reports the offsets from up to, but not with, to.
func (a *audit) hole(r replica, from, to int64, x *piece) {
	if a.checker.counted() {
		return
	}
	where := fmt.Sprintf("offset %d", from)
	if to-from > 1 {
		where = fmt.Sprintf("the offsets %d to %d", from, to-1)
	}
	v := Violation{
		Kind: KindHole, Time: x.operation().Complete, Nodes: []int32{r.node},
		Sentence: fmt.Sprintf("%s on n%d holds no record at %s, below its own high watermark", a.partition, r.node, where),
	}
	cite(&v, source{piece: x, node: r.node}, from)
	a.checker.violate(v)
}
