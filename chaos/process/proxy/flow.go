package proxy

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// flow is one direction of a connection: a bounded queue between the goroutine that reads one socket and the one that
// writes the other.
type flow struct {
	proxy *Proxy
	count *wayCounters // the proxy's counters of this direction

	mu          sync.Mutex
	change      sync.Cond // anything below
	queue       []byte
	arrivals    []arrival // of what is queued, in order
	held        bool
	full        bool         // a hold has reached its limit
	to          *net.TCPConn // where bytes go, once it is known
	writing     *net.TCPConn // a write is under way on it
	interrupted bool         // and a hold has interrupted it
	err         error        // why no more comes: io.EOF in order
	abandoned   bool         // the connection has ended: nothing is delivered any more

	shape effect
}

// arrival is a piece of the queue, and when it came.
type arrival struct {
	bytes int
	at    time.Time
	due   time.Time // when it may go on
}

// newFlow is called with the proxy locked.
func newFlow(p *Proxy, way int) *flow {
	f := &flow{held: p.holds[way] > 0, proxy: p, count: &p.ways[way], shape: combine(p.shapes)}
	f.change.L = &f.mu
	return f
}

// put passes bytes on or queues them, waiting for room; false when the connection has ended.
func (f *flow) put(b []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b = f.pass(b); len(b) == 0 {
		return !f.abandoned
	}
	for !f.abandoned {
		limit := flowLimit
		if f.held {
			limit = HoldLimit
			f.full = f.full || len(f.queue)+len(b) > limit
		}
		if len(f.queue)+len(b) <= limit {
			break
		}
		f.change.Wait()
	}
	if f.abandoned {
		return false
	}
	if f.held {
		f.count.held.Add(int64(len(b)))
	}
	now := time.Now()
	due := now.Add(f.shape.lag())
	if n := len(f.arrivals); n > 0 && due.Before(f.arrivals[n-1].due) {
		due = f.arrivals[n-1].due // TCP keeps the order
	}
	f.queue = append(f.queue, b...)
	f.arrivals = append(f.arrivals, arrival{bytes: len(b), at: now, due: due})
	f.change.Broadcast()
	return true
}

// pass writes bytes straight on where nothing is queued before them and the link is left alone, which is nearly always, and answers what is left of
// them. It spares the queue's copy and the wake-up of another goroutine, which together cost as much as the write.
func (f *flow) pass(b []byte) (rest []byte) {
	if f.to == nil || f.held || f.abandoned || f.writing != nil || len(f.queue) > 0 || f.shape != (effect{}) {
		return b
	}
	begin := time.Now()
	f.going(len(b), 0)
	// An error is met again by whoever writes the rest, and by the next write.
	done, _ := f.write(f.to, b)
	f.stayed(len(b) - done)
	if done > 0 && !f.abandoned && f.shape == (effect{}) {
		f.count.dwell.Store(int64(time.Since(begin)))
	}
	return b[done:]
}

// going counts bytes before they are written: what a link did to them was settled then, and whoever has since changed that, and looks at the
// counters, must not take them for bytes that came after. The time first: whoever sees the number sees a time as new.
func (f *flow) going(n int, dwell time.Duration) {
	f.count.dwell.Store(int64(dwell))
	f.count.forwarded.Add(int64(n))
	f.proxy.last.Store(time.Now().UnixNano())
}

// stayed takes back what could not be written.
func (f *flow) stayed(n int) { f.count.forwarded.Add(-int64(n)) }

// write writes with the flow unlocked meanwhile. A hold that comes in between ends it early, which is no error.
func (f *flow) write(to *net.TCPConn, b []byte) (done int, err error) {
	f.writing = to
	f.mu.Unlock()
	done, err = to.Write(b)
	f.mu.Lock()
	if f.interrupted {
		f.interrupted = false
		to.SetWriteDeadline(time.Time{}) // if this fails, so does the next write
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
	}
	f.writing = nil
	f.change.Broadcast()
	return done, err
}

// end says that no more comes, and why. It stands behind what is queued, and waits with it while the link is held: a
// reset does not cross a partition either.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.change.Broadcast()
}

// abandon ends the flow now, held or not.
func (f *flow) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abandoned = true
	f.queue, f.arrivals = nil, nil
	f.change.Broadcast()
}

// hold stops the flow and returns when no write is under way.
func (f *flow) hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = true
	if f.writing != nil {
		f.interrupted = true
		f.writing.SetWriteDeadline(time.Unix(1, 0)) // in the past: a write that waits for room returns
	}
	for f.writing != nil {
		f.change.Wait()
	}
}

func (f *flow) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = false
	f.change.Broadcast()
}

func (f *flow) overfull() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.full
}

// reshape changes what is done to bytes from now on. What waits for a delay that is no more goes at once.
func (f *flow) reshape(e effect) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shape = e
	for i := range f.arrivals {
		a := &f.arrivals[i]
		switch {
		case e.delay == 0:
			a.due = a.at
		case a.at.Add(e.delay).After(a.due): // it waits as what comes after it does
			a.due = a.at.Add(e.delay)
		}
	}
	f.change.Broadcast()
}

// ready is how many bytes may go now; where none may, how long it takes until some may, 0 for until something changes.
func (f *flow) ready() (n int, wait time.Duration) {
	if f.held || len(f.arrivals) == 0 {
		return 0, 0
	}
	now := time.Now()
	for _, a := range f.arrivals {
		if a.due.After(now) {
			break
		}
		n += a.bytes
	}
	if n == 0 {
		return 0, f.arrivals[0].due.Sub(now)
	}
	if f.shape.rate > 0 {
		n = min(n, f.shape.burst())
		if wait := f.count.reserve(now, time.Duration(int64(n)*int64(time.Second)/f.shape.rate)); wait > 0 {
			return 0, wait
		}
	}
	return n, 0
}

// sent takes bytes that were written off the queue's account.
func (f *flow) sent(n int) {
	for n > 0 {
		a := &f.arrivals[0]
		part := min(n, a.bytes)
		a.bytes -= part
		n -= part
		if a.bytes == 0 {
			f.arrivals = f.arrivals[1:]
		}
	}
}

// reserve takes a time of the way for bytes that go now, or answers how long it takes until the way is free.
func (c *wayCounters) reserve(now time.Time, takes time.Duration) (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.freeAt.Sub(now); wait > 0 {
		return wait
	}
	c.freeAt = now.Add(takes)
	return 0
}

// await waits until bytes may go, and answers how many: 0 at the end of the flow.
func (f *flow) await() (n int) {
	waited := false
	for !f.abandoned && (f.held || len(f.queue) > 0 || f.err == nil) {
		n, wait := f.ready()
		if n > 0 {
			if waited {
				f.proxy.waited.Add(int64(n))
			}
			return n
		}
		if wait > 0 {
			waited = waited || f.shape.rate > 0 && !f.arrivals[0].due.After(time.Now())
			t := time.AfterFunc(wait, func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.change.Broadcast()
			})
			f.change.Wait()
			t.Stop()
			continue
		}
		f.change.Wait()
	}
	return 0
}

// drain writes what is queued, in order, while the flow is not held. It returns io.EOF after an orderly end.
func (f *flow) drain(to *net.TCPConn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = to
	for {
		n := f.await()
		if f.abandoned {
			return net.ErrClosed
		}
		if n == 0 {
			return f.err
		}
		b := f.queue[:n:n]
		f.queue = f.queue[n:]
		f.going(n, time.Since(f.arrivals[0].at))
		done, err := f.write(to, b)
		f.stayed(n - done)
		if !f.abandoned {
			f.sent(done)
			if done < n {
				f.queue = append(b[done:n:n], f.queue...)
			}
		}
		f.change.Broadcast()
		if err != nil {
			return err
		}
	}
}
