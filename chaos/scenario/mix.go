package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"soak/chaos"
	"soak/internal/nearest"
	"soak/workloads/gen"
)

// Mix is a schedule that the run's seed draws: the load's time is cut into periods, and each gets faults of its own that are healed at its
// end. Drawn turns it into an explicit schedule, so that what was run can be read, edited and run again.
type Mix struct {
	Period Span     // length of a period; 15 to 30 s is long enough for a cluster to be disturbed and to become whole again
	Quiet  int      // one period in so many has no fault; 0: none is quiet
	Most   int      // faults of one period, at most
	Kinds  []string // what is drawn from
}

// Bounds of a mix.
const (
	maxMixFaults = 8
	maxMixSteps  = 100_000 // of a drawn schedule
)

// mixSalt keeps the draw apart from the run's other random choices.
const mixSalt = 0x6d69785f76310000 // "mix_v1"

func (r *reader) mix(n ast.Node) Mix {
	o := r.object(n, "mix", "period", "quiet", "most", "kinds")
	m := Mix{Period: o.span("period"), Quiet: o.number("quiet", 4, 0, 1000), Most: o.number("most", 2, 1, maxMixFaults)}
	for _, item := range o.list("kinds") {
		t := item.GetToken()
		kind := ""
		if t != nil {
			kind = t.Value
		}
		if !slices.Contains(kinds, kind) || !mixable(kind) {
			hint := "kinds: " + strings.Join(mixables(), ", ")
			if near := nearest.Word(kind, mixables()); near != "" {
				hint = "did you mean \"" + near + "\"?"
			}
			r.fail(item, hint, "mix: kinds: %q cannot be drawn", kind)
		}
		m.Kinds = append(m.Kinds, kind)
	}
	switch {
	case m.Period == Span{}:
		r.fail(o.at("period"), "period: 10 intervals", "mix: period is missing")
	case len(m.Kinds) == 0:
		r.fail(o.at("kinds"), "kinds: [kill, pause, partition]", "mix: kinds is missing: there would be nothing to draw")
	case m.Quiet == 1:
		r.fail(o.at("quiet"), "quiet: 4 leaves one period in four quiet; without faults at all, leave mix out", "mix: quiet: 1 would leave every period quiet")
	}
	return m
}

// mixable reports whether a kind can be drawn without more being said.
func mixable(kind string) bool {
	switch kind {
	case chaos.ClientCrash, chaos.BitRot, chaos.ClockJump, chaos.ClockRate: // clients, files and clocks are for a person to choose
		return false
	}
	return true
}

func mixables() []string {
	return slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool { return !mixable(kind) })
}

func nodesTarget(a, b int) string { return fmt.Sprintf("n%d+n%d", a, b) }

func (m Mix) yaml(p func(string, ...any)) {
	if len(m.Kinds) == 0 {
		return
	}
	p("mix: {period: %s, quiet: %d, most: %d, kinds: [%s]}\n", m.Period, m.Quiet, m.Most, strings.Join(m.Kinds, ", "))
}

// Load is how long faults can be drawn for: the run's duration, or its intervals.
func (s *Scenario) load() time.Duration {
	if s.Duration > 0 {
		return s.Duration
	}
	return time.Duration(s.Intervals) * s.ElectionInterval
}

// Drawn is the scenario with its mix drawn from the seed into explicit faults; the same where it has no mix. The written faults stay.
//
// Each period is whole at its begin and left alone for its last part, for the cluster to recover in. Half of the faults last longer than a
// session and an interval, so that the election service meets them; the others are brief. In a third of the periods that have several
// they overlap on purpose. The periods take the kinds in turn before any comes again, so that a short run still meets each, and every
// second period begins with the raft leader, where the kind has a choice.
func (s *Scenario) Drawn(seed uint64) *Scenario {
	c := s.clone()
	m := c.Mix
	c.Mix = Mix{}
	if len(m.Kinds) == 0 {
		return c
	}
	d := &mixer{Rand: gen.NewRand(seed ^ mixSalt), s: c, m: m, period: max(m.Period.In(s.ElectionInterval), s.longFault()*3/2)}
	quiet := 0 // which of the next periods, for each round of m.Quiet
	first := time.Duration(s.Steady) * s.ElectionInterval
	for i, at := 0, first+s.ElectionInterval/4; at+d.period <= s.load() && len(c.Faults) < maxMixSteps; i, at = i+1, at+d.period {
		if m.Quiet > 1 && i%m.Quiet == 0 {
			quiet = i + d.Intn(m.Quiet)
		}
		if m.Quiet > 1 && i == quiet {
			continue
		}
		d.fill(at)
	}
	slices.SortStableFunc(c.Faults, func(a, b Fault) int {
		return int(a.At.In(s.ElectionInterval)/time.Millisecond - b.At.In(s.ElectionInterval)/time.Millisecond)
	})
	return c
}

// longFault is how long a fault lasts at least that the election service meets.
func (s *Scenario) longFault() time.Duration {
	return max(s.SessionTimeout+s.ElectionInterval+windowSlack, leaderWindow)
}

// mixer draws the periods of a mix one after the other.
type mixer struct {
	*gen.Rand
	s      *Scenario
	m      Mix
	period time.Duration
	bag    []string // kinds whose turn is still to come
	busy   int      // periods that have faults, so far
}

func (d *mixer) kind() string {
	if len(d.bag) == 0 {
		d.bag = slices.Clone(d.m.Kinds)
	}
	i := d.Intn(len(d.bag))
	kind := d.bag[i]
	d.bag = slices.Delete(d.bag, i, i+1)
	return kind
}

// millis draws a time between low and high in whole milliseconds.
func (d *mixer) millis(low, high time.Duration) time.Duration {
	return (low + time.Duration(d.Intn(int(max((high-low)/time.Millisecond, 1))))*time.Millisecond).Truncate(time.Millisecond)
}

// fill draws the faults of the period that begins at an instant. They are over by two thirds of it.
func (d *mixer) fill(at time.Duration) {
	leader := d.busy%2 == 0
	d.busy++
	long := d.s.longFault()
	room := d.period * 2 / 3
	count := min(1+d.Intn(d.m.Most), max(1, int(room/long))) // each may last long
	overlap := count > 1 && d.Intn(3) == 0
	share := room / time.Duration(count)
	for i := range count {
		f := Fault{Kind: d.kind(), At: Fixed(at + share*time.Duration(i) + d.millis(0, share/4)), Overlap: overlap && i > 0}
		f.For = Fixed(d.millis(share/4, share*2/3))
		if d.Intn(2) == 0 || i == 0 && leader {
			f.For = Fixed(max(f.For.Fixed, long))
		}
		if f.For.Fixed < long {
			f.Brief = true
		}
		if f.Overlap {
			// It begins in the middle of the one before it, and both are healed by the end of the period.
			f.At = Fixed(d.s.Faults[len(d.s.Faults)-1].At.Fixed + d.millis(200*time.Millisecond, time.Second))
			f.Brief, f.For = true, Fixed(d.millis(share/4, share*2/3))
		}
		d.aim(&f, leader && i == 0)
		d.s.Faults = append(d.s.Faults, f)
	}
}

// aim gives a fault its target and what else its kind needs.
func (d *mixer) aim(f *Fault, leader bool) {
	roles := []string{TargetRaftLeader, TargetPartitionLeader, TargetFollower, TargetFollower}
	f.Target = roles[d.Intn(len(roles))]
	if leader {
		f.Target = TargetRaftLeader
	}
	switch f.Kind {
	case chaos.RestartAll, chaos.AllApart, chaos.Rolling:
		f.Target = TargetAll
	case chaos.Bridge:
		a, b := 1+d.Intn(d.s.Nodes), 1+d.Intn(d.s.Nodes-1)
		if b >= a {
			b++
		}
		f.Target = nodesTarget(min(a, b), max(a, b))
	case chaos.Partition, chaos.OneWay, chaos.Flapping:
		f.Clients = d.Intn(3) == 0
	}
	for _, name := range parameters(f.Kind) {
		switch name {
		case "way":
			f.Way = ways[d.Intn(len(ways))]
		case "every":
			f.Every = d.millis(200*time.Millisecond, max(300*time.Millisecond, min(2*time.Second, f.For.Fixed/3))) // it comes more than once
		case "factor":
			f.Factor = int64(5 * (1 + d.Intn(10)))
		case "by":
			f.By = d.millis(20*time.Millisecond, 400*time.Millisecond)
		case "ppm":
			f.PPM = int64(20_000 * (1 + d.Intn(10)))
		case "bytes_per_second":
			f.BytesPerSecond = int64(20_000 * (1 + d.Intn(10)))
		}
	}
}
