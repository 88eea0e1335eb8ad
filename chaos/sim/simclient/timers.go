package simclient

// timers is a heap of when tasks want to be looked at. A task has one timer at most: arming it anew, or disarming it, makes the older
// entry void, which stays in the heap until it is the next.
type timers struct {
	heap []timer
	seq  uint64
}

type timer struct {
	at   int64
	seq  uint64 // of equal times, the one armed first comes first
	task *task
	gen  uint32
}

func (a *timer) before(b *timer) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (ts *timers) arm(t *task, at int64) {
	t.disarm()
	ts.seq++
	h := append(ts.heap, timer{at: at, seq: ts.seq, task: t, gen: t.gen})
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	ts.heap = h
}

func (ts *timers) pop() {
	h := ts.heap
	last := len(h) - 1
	h[0] = h[last]
	h[last] = timer{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].before(&h[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	ts.heap = h
}

// next is when the first timer goes off, 0 if there is none.
func (ts *timers) next() int64 {
	for len(ts.heap) > 0 {
		if first := &ts.heap[0]; first.gen == first.task.gen {
			return first.at
		}
		ts.pop()
	}
	return 0
}

// due is the task whose timer goes off next, with its timer gone; nil if none is due.
func (ts *timers) due(now int64) *task {
	if at := ts.next(); at == 0 || at > now {
		return nil
	}
	t := ts.heap[0].task
	ts.pop()
	t.disarm()
	return t
}
