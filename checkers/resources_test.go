package checkers

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"soak/history"
)

// measured is a run of three sound nodes that were measured each second for so many seconds. Tests bend what one of them takes.
func measured(n int64, bend func(at int64, m *history.NodeMetric)) (*story, []*history.Metric) {
	s := newStory()
	s.run.Contract.ValueBytes = 256
	s.run.SessionTimeout, s.run.ElectionInterval = 6*second, 12*second
	start := s.now
	s.run.Phases = []history.Phase{{Name: "start", Start: start - 5*second, End: start}, {Name: "steady", Start: start, End: start + n*second}, {Name: "drain", Start: start + n*second}}
	noise := rand.New(rand.NewPCG(1, 2))
	var out []*history.Metric
	for at := int64(1); at <= n; at++ {
		m := &history.Metric{Time: start + at*second, Interval: second, Acked: 500}
		for node := int32(1); node <= 3; node++ {
			waiting := noise.Int64N(5)
			x := history.NodeMetric{Node: node, Up: true, Boot: 1, Waiting: &waiting, Disk: at * 500 * 330, HeapLive: 20<<20 + noise.Int64N(4<<20), Goroutines: 40 + noise.Int64N(10), Descriptors: 60 + noise.Int64N(12)}
			if node == 2 && bend != nil {
				bend(at, &x)
			}
			m.Nodes = append(m.Nodes, x)
		}
		out = append(out, m)
	}
	return s, out
}

func resourcesOf(s *story, metrics []*history.Metric) Verdict {
	c := newResources(&s.run)
	for _, m := range metrics {
		c.Metric(m)
	}
	return feed(c, s)
}

func TestResourcesThatAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		seconds int64
		bend    func(at int64, m *history.NodeMetric)
	}{
		{"flat", 600, nil},
		{"ten minutes of warm-up, then flat", 1800, func(at int64, m *history.NodeMetric) {
			m.HeapLive += min(at, 600) * 100 << 10
			m.Goroutines += min(at, 600) / 10
		}},
		{"sawtooth", 1800, func(at int64, m *history.NodeMetric) {
			m.HeapLive += at % 90 * 512 << 10
			m.Descriptors += at % 90
			*m.Waiting += at % 90
		}},
		{"the rising edge of one slow tooth, of a log that waits for its snapshot", 600, func(at int64, m *history.NodeMetric) { m.HeapLive += at * 8 << 10 }},
		{"a step to another plateau", 1800, func(at int64, m *history.NodeMetric) {
			if at > 700 {
				m.HeapLive += 60 << 20
				m.Goroutines += 300
			}
		}},
		{"recent batches in memory, as many as were written", 600, func(at int64, m *history.NodeMetric) { m.HeapLive += min(m.Disk, 24<<20) }},
		{"a segment file in use more for so many bytes", 3600, func(at int64, m *history.NodeMetric) { m.Descriptors += m.Disk / (16 << 20) }},
		{"one step of waiting requests, and no more", 1800, func(at int64, m *history.NodeMetric) {
			if at > 300 {
				*m.Waiting += 30
			}
		}},
		{"each restart begins anew", 1800, func(at int64, m *history.NodeMetric) { m.Boot = 1 + uint64(at/300); m.HeapLive += at % 300 * 20 << 10 }},
		{"a measure that it does not tell", 600, func(at int64, m *history.NodeMetric) { m.Descriptors, m.Waiting, m.HeapLive = 0, nil, 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, m := measured(tt.seconds, tt.bend)
			a := topicCommand("create_topic", "orders")
			for p := range int32(24) {
				a.Changes = append(a.Changes, history.PartitionChange{Topic: a.Key, Partition: p, Replicas: []int32{1, 2, 3}})
			}
			s.enter(1, 1, a, 1, 2, 3)
			wants(t, resourcesOf(s, m), Holds, "nothing grew without bound")
		})
	}
}

func TestResourcesThatLeak(t *testing.T) {
	for _, tt := range []struct {
		name, what string
		bend       func(at int64, m *history.NodeMetric)
	}{
		{"memory", "heap in use", func(at int64, m *history.NodeMetric) { m.HeapLive += at * 50 << 10 }},
		{"memory, in a sawtooth whose floor rises", "heap in use", func(at int64, m *history.NodeMetric) { m.HeapLive += at*50<<10 + at%30*100<<10 }},
		{"goroutines", "goroutines", func(at int64, m *history.NodeMetric) { m.Goroutines += at / 5 }},
		{"descriptors", "descriptors", func(at int64, m *history.NodeMetric) { m.Descriptors += at / 10 }},
		{"waiters, some each half minute", "waiting requests", func(at int64, m *history.NodeMetric) { *m.Waiting += at / 30 * 4 }},
		{"waiters, in two steps", "waiting requests", func(at int64, m *history.NodeMetric) { *m.Waiting += at / 220 * 12 }},
		{"disk that no record explains", "disk", func(at int64, m *history.NodeMetric) { m.Disk *= 4 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, m := measured(600, tt.bend)
			v := resourcesOf(s, m)
			wants(t, v, Violated, tt.what, KindGrowth)
			if x := v.Violations[0]; len(x.Nodes) != 1 || x.Nodes[0] != 2 || !strings.HasPrefix(x.Sentence, "n2 in boot 1 ") || !strings.Contains(x.Evidence[0], `"node":2,"up":true,"boot":1`) {
				t.Errorf("violation %+v", x)
			}
		})
	}
}

// A node whose every boot leaks is found in those that live long enough.
func TestALeakBetweenRestarts(t *testing.T) {
	s, m := measured(900, func(at int64, m *history.NodeMetric) {
		m.Boot = 1 + uint64(at/300)
		m.Goroutines += at % 300
	})
	wants(t, resourcesOf(s, m), Violated, "n2 in boot 1 takes ever more goroutines", KindGrowth, KindGrowth, KindGrowth)
}

// What goes up in faults and comes down after them is none of a leak, whatever the measure of a fault is.
func TestWhatFaultsTakeIsNotHeldAgainstANode(t *testing.T) {
	s, m := measured(900, func(at int64, m *history.NodeMetric) {
		if at%90 >= 45 {
			m.Goroutines += at
			m.HeapLive += at << 20
		}
	})
	for at := int64(45); at < 900; at += 90 {
		s.faults = append(s.faults, &history.Fault{ID: int(at), Kind: "pause", Nodes: []int32{1}, Asked: s.run.Phases[1].Start + at*second, Healed: s.run.Phases[1].Start + (at+31)*second})
	}
	wants(t, resourcesOf(s, m), Holds, "nothing grew")
	s.faults = nil
	wants(t, resourcesOf(s, m), Holds, "nothing grew") // lowest values of quiet are the same: it comes down each time
}

// Topics that are created and kept have their descriptors and their memory; topics that are deleted have not.
func TestTopicsThatAreKeptExplainWhatTheyTake(t *testing.T) {
	leak := func(at int64, m *history.NodeMetric) { m.Descriptors += at; m.HeapLive += at * 30 << 10 }
	s, m := measured(600, leak)
	var topics []history.Apply
	for at := int64(0); at < 600; at++ {
		a := topicCommand("create_topic", "auto-"+time.Duration(at).String())
		a.Changes = []history.PartitionChange{{Topic: a.Key, Replicas: []int32{1, 2, 3}}}
		topics = append(topics, a)
	}
	start := s.now
	create := func(s *story) {
		for i, a := range topics {
			s.now = start + int64(i)*second
			s.enter(1, 1, a, 1, 2)
		}
	}
	create(s)
	wants(t, resourcesOf(s, m), Holds, "nothing grew")

	s, m = measured(600, leak)
	for i, a := range topics {
		s.now = start + int64(i)*second
		s.enter(1, 1, a, 1, 2)
		a.Command, a.Changes = "delete_topic", []history.PartitionChange{{Topic: a.Key, Gone: true}}
		s.enter(1, 1, a, 1, 2)
	}
	wants(t, resourcesOf(s, m), Violated, "", KindGrowth, KindGrowth)
}

func TestTooLittleToSeeAnythingGrow(t *testing.T) {
	s, m := measured(150, func(at int64, m *history.NodeMetric) { m.Goroutines += at })
	wants(t, resourcesOf(s, m), NotApplicable, "not enough data")
	s, m = measured(900, func(at int64, m *history.NodeMetric) { m.Boot = uint64(at / 100); m.Goroutines += at % 100 })
	for _, x := range m {
		x.Nodes = x.Nodes[1:2]
	}
	wants(t, resourcesOf(s, m), NotApplicable, "not enough data")
	s, m = measured(900, nil)
	s.faults = []*history.Fault{{ID: 1, Kind: "slow-disk", Asked: s.run.Phases[1].Start + second}}
	wants(t, resourcesOf(s, m), NotApplicable, "not enough data")
	s, _ = measured(900, nil)
	wants(t, resourcesOf(s, nil), NotApplicable, "do not tell")
	s, m = measured(900, nil)
	for _, x := range m {
		for i := range x.Nodes {
			x.Nodes[i] = history.NodeMetric{Node: x.Nodes[i].Node} // a foreign broker
		}
	}
	wants(t, resourcesOf(s, m), NotApplicable, "do not tell")
}

// A runner that leaks makes the run inconclusive and accuses no node.
func TestARunnerThatLeaks(t *testing.T) {
	s, m := measured(900, nil)
	for i, x := range m {
		x.Runner = &history.Usage{HeapLive: int64(i) * 100 << 10}
	}
	wants(t, resourcesOf(s, m), Inconclusive, "the runner itself takes ever more heap")
	for i, x := range m {
		x.Runner = &history.Usage{HeapLive: int64(i) * 10 << 10}
	}
	wants(t, resourcesOf(s, m), Holds, "nothing grew")
}

// Where the folder does not say how large a record is, nobody knows what explains its disk.
func TestDiskWithoutTheSizeOfARecord(t *testing.T) {
	s, m := measured(600, func(at int64, m *history.NodeMetric) { m.Disk *= 4 })
	s.run.Contract.ValueBytes = 0
	wants(t, resourcesOf(s, m), Holds, "nothing grew")
}
