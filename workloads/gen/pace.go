package gen

// pace is an open loop's rhythm: a slot is due every period, whatever came of the ones before.
type pace struct {
	period int64 // ns
	next   int64 // when the next slot is due
}

// catchUp bounds how much of a late wake-up is made good at once; what is older than that is missed, not queued.
const catchUp = 250_000_000

// due is how many slots are to be served now, and how many passed unserved because the caller came too late.
func (p *pace) due(now int64) (serve, missed int64) {
	if now < p.next {
		return 0, 0
	}
	n := (now-p.next)/p.period + 1
	p.next += n * p.period
	serve = min(n, max(1, catchUp/p.period))
	return serve, n - serve
}

// Missed is load that an open loop was due to send and did not, because it had too much under way, was woken too late, or its client was
// down.
type Missed struct {
	Ops   int64
	Nanos int64 // that many slots' time
}

func (m *Missed) add(slots, period int64) {
	m.Ops += slots
	m.Nanos += slots * period
}
