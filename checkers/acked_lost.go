package checkers

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"soak/history"
)

// reading is how well a partition was read back.
type reading struct {
	whole  bool  // every replica was read to its end
	proven int64 // below it an absent record is lost, whatever the unread replicas hold
	first  int64 // the lowest offset read
	end    int64 // one above the highest offset read
	common int64 // the lowest end of a replica
	begun  int64 // when the last pieces of the replicas were asked for, the earliest of them
}

func (a *audit) reading() reading {
	d := a.checker.drains
	r := reading{whole: len(a.replicas) > 0, first: -1, common: math.MaxInt64}
	for _, rep := range a.replicas {
		next, end := d.read(rep)
		r.end = max(r.end, next)
		if r.common = min(r.common, next); !end {
			r.whole = false
			continue
		}
		r.proven = max(r.proven, min(next, d.high(rep)))
		pieces := d.pieces[rep]
		if last := pieces[len(pieces)-1]; r.begun == 0 || last.invoke < r.begun {
			r.begun = last.invoke
		}
		for _, op := range pieces {
			if op.first >= 0 {
				if r.first < 0 || op.first < r.first {
					r.first = op.first
				}
				break
			}
		}
	}
	return r
}

// loss is one acknowledged record that is not there.
type loss struct {
	class  string
	op     *history.Operation
	seq    uint64
	offset int64
	by     string // who acknowledged it
}

// reportLost finds acknowledged records that no replica holds where a consumer can read it.
func (a *audit) reportLost() {
	r := a.reading()
	retired := a.retirement()
	highest := sync.OnceValue(a.highestRead)
	conflicting := map[int64]bool{}
	for _, c := range a.conflicts {
		conflicting[c.offset] = true
	}
	var losses []loss
	a.sent.each(func(n int, op *history.Operation) {
		if op.Outcome != history.OK || op.Produce.Acks != allReplicas || !a.checker.claimed(a.partition, op) {
			return
		}
		p := producerOf(op.Produce)
		sent := a.sends.producers[p]
		var whole *history.Operation
		var by acknowledgement
		for i := range int(op.Produce.Count) {
			seq, at := op.Produce.FirstSeq+uint64(i), offsetOf(op.Produce, i)
			flags := sent.flags(seq)
			if flags&flagRead != 0 {
				continue
			}
			if retired.at(at) {
				a.checker.retired++
				continue
			}
			// On every replica, and no high watermark above it yet: there, though no consumer may read it.
			if flags&flagAbove != 0 && at < r.common {
				a.checker.undecided++
				continue
			}
			inside := at >= 0 && at < r.proven
			if !inside && !r.whole {
				a.checker.undecided++
				continue
			}
			if !inside && r.begun != 0 && op.Complete > r.begun {
				a.checker.undecided++ // acknowledged after the replicas' ends were read
				continue
			}
			if whole == nil {
				whole, by = a.sent.at(n), a.acknowledgement(op)
			}
			losses = append(losses, loss{a.class(r, p, seq, at, by, highest, conflicting), whole, seq, at, by.who})
		}
	})
	a.groupLosses(losses)
}

// retirement is how far the log of each replica may begin late, and how far it was read below its own high watermark.
type retirement []struct{ gone, settled int64 }

func (a *audit) retirement() (out retirement) {
	for _, rep := range a.replicas {
		next, _ := a.checker.drains.read(rep)
		out = append(out, struct{ gone, settled int64 }{a.checker.kept.gone(rep), min(next, a.checker.drains.high(rep))})
	}
	return out
}

// at reports whether a record that was read nowhere may have gone by retention: some replica may lack it for that, and none was read that should have it. Of a
// record whose offset is not known that is so wherever anything may have gone.
func (t retirement) at(offset int64) bool {
	may := false
	for _, r := range t {
		may = may || r.gone > max(offset, 0)
		if offset >= 0 && r.gone <= offset && offset < r.settled {
			return false
		}
	}
	return may
}

// highestRead is each producer's highest sequence that was read back.
func (a *audit) highestRead() map[producer]uint64 {
	out := map[producer]uint64{}
	for p, rec := range a.sends.producers {
		for n, page := range rec.pages {
			for i, flags := range page.flags {
				if seq := n*recordPage + uint64(i); flags&flagRead != 0 && seq >= out[p] {
					out[p] = seq
				}
			}
		}
	}
	return out
}

// class says in which way a record was lost, as far as that can be told.
func (a *audit) class(r reading, p producer, seq uint64, at int64, by acknowledgement, highest func() map[producer]uint64, conflicting map[int64]bool) string {
	if at < 0 {
		if h, ok := highest()[p]; ok && seq < h {
			return "middle"
		}
		return "tail"
	}
	if at >= r.end {
		for _, t := range a.sends.truncated {
			if t.logEnd <= at && by.before(t.epoch, t.at) {
				return "truncated"
			}
		}
		return "tail"
	}
	if at < r.first {
		return "prefix"
	}
	if conflicting[at] { // any other value there is in conflict with this acknowledgement
		return "overwritten"
	}
	return "middle"
}

// groupLosses reports each run of one producer's consecutive sequences that one node acknowledged as one violation.
func (a *audit) groupLosses(losses []loss) {
	slices.SortStableFunc(losses, func(x, y loss) int {
		px, py := x.op.Produce, y.op.Produce
		return cmp.Or(cmp.Compare(px.Producer, py.Producer), cmp.Compare(px.Incarnation, py.Incarnation), cmp.Compare(x.seq, y.seq))
	})
	for i := 0; i < len(losses); {
		first, n := losses[i], 1
		for i+n < len(losses) && losses[i+n].class == first.class && losses[i+n].by == first.by && losses[i+n].seq == first.seq+uint64(n) &&
			producerOf(losses[i+n].op.Produce) == producerOf(first.op.Produce) {
			n++
		}
		a.lost(losses[i : i+n])
		i += n
	}
}

func (a *audit) lost(run []loss) {
	if a.checker.counted() {
		return
	}
	first := run[0]
	var held []int32
	for _, r := range a.replicas {
		held = append(held, r.node)
	}
	v := Violation{Kind: lostPrefix + first.class, Time: first.op.Complete, Nodes: held, Sentence: a.lostSentence(run, held)}
	if first.op.Node != 0 {
		v.Nodes = []int32{first.op.Node}
	}
	for _, l := range run {
		if n := len(v.Operations); n == 0 || v.Operations[n-1] != l.op.ID { // those of one operation stand together
			v.Operations = append(v.Operations, l.op.ID)
		}
	}
	v.Evidence = append(v.Evidence, opLine(first.op))
	for _, r := range a.replicas {
		if pieces := a.checker.drains.pieces[r]; len(pieces) > 0 {
			var shown Violation
			cite(&shown, source{piece: holding(pieces, first.offset), node: r.node}, first.offset)
			v.Evidence = append(v.Evidence, shown.Evidence...)
		}
	}
	a.checker.violate(v)
}

// holding is the piece that covers an offset, the last one if none does.
func holding(pieces []*piece, offset int64) *piece {
	for _, op := range pieces {
		if op.From <= offset && offset < op.To {
			return op
		}
	}
	return pieces[len(pieces)-1]
}
