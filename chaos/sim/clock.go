package sim

// clock is one node's clock: the world's, displaced by jumps and running at a rate of its own.
type clock struct {
	world0 int64 // instant of the last change of rate
	local0 int64 // what the clock showed then
	ppm    int64 // rate in millionths above the world's
}

func newClock(now, displaced, ppm int64) clock {
	return clock{world0: now, local0: now + displaced, ppm: ppm}
}

// at is what the clock shows at an instant of the world.
func (c *clock) at(world int64) int64 {
	d := world - c.world0
	return c.local0 + d + d/1000*c.ppm/1000
}

// world turns a duration on this clock into one of the world.
func (c *clock) span(local int64) int64 {
	return local - local/1000*c.ppm/1000
}

// jump displaces the clock.
func (c *clock) jump(now, by int64) { *c = clock{world0: now, local0: c.at(now) + by, ppm: c.ppm} }

// rate sets the clock's rate in millionths above the world's.
func (c *clock) rate(now, ppm int64) { *c = clock{world0: now, local0: c.at(now), ppm: ppm} }
