package scenario

import (
	"bytes"
	"fmt"
	"strconv"
)

// YAML writes the scenario with every field said. Parse of it gives the same scenario.
func (s *Scenario) YAML() []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("name: %s\n", strconv.Quote(s.Name)) // which may be "null" or "2024"
	p("description: %s\n", strconv.Quote(s.Description))
	p("nodes: %d\n", s.Nodes)
	p("election_interval: %s\n", s.ElectionInterval)
	p("session_timeout: %s\n", s.SessionTimeout)
	if s.Flush != "" {
		p("flush: %s\n", s.Flush)
	}
	if s.RetentionCheck > 0 {
		p("retention_check: %s\n", s.RetentionCheck)
	}
	p("intervals: %d\n", s.Intervals)
	if s.Duration > 0 {
		p("duration: %s\n", s.Duration)
	}
	p("steady: %d\n", s.Steady)
	p("topics:\n")
	for _, t := range s.Topics {
		t.yaml(p)
	}
	s.workloadsYAML(p)
	s.Sim.yaml(p)
	if len(s.Faults) > 0 {
		p("faults:\n")
	}
	for _, f := range s.Faults {
		f.yaml(p)
	}
	s.Mix.yaml(p)
	s.Liveness.yaml(p)
	m := s.Minimums
	p("minimums:\n")
	p("  intervals: %d\n  faults: %d\n  long_faults: %d\n  leader_faults: %d\n  leader_changes: %d\n", m.Intervals, m.Faults, m.LongFaults, m.LeaderFaults, m.LeaderChanges)
	p("  acked_records: %d\n  metadata_operations: %d\n  metadata_overlaps: %d\n  auto_created: %d\n", m.AckedRecords, m.MetaOps, m.MetaOverlaps, m.AutoCreated)
	return b.Bytes()
}

// workloadsYAML leaves out a workload that was never there: read again, it is as absent as before.
func (s *Scenario) workloadsYAML(p func(string, ...any)) {
	w := s.Workloads
	if w == (Workloads{}) {
		return
	}
	p("workloads:\n")
	if w.Produce != (Produce{}) {
		p("  produce: {rate: %d, producers: %d, batch: %d, value_bytes: %d", w.Produce.Rate, w.Produce.Producers, w.Produce.Batch, w.Produce.ValueBytes)
		if w.Produce.Idempotent {
			p(", idempotent: true")
		}
		if w.Produce.Lifetime > 0 {
			p(", lifetime: %s", w.Produce.Lifetime)
		}
		p("}\n")
	}
	if w.Metadata != (Metadata{}) {
		p("  metadata: {rate: %d, clients: %d, names: %d}\n", w.Metadata.Rate, w.Metadata.Clients, w.Metadata.Names)
	}
	if w.Autocreate != (Autocreate{}) {
		p("  autocreate: {per_minute: %d}\n", w.Autocreate.PerMinute)
	}
	if w.Consume != (Consume{}) {
		p("  consume: {readers: %d}\n", w.Consume.Readers)
	}
}

func (f Fault) yaml(p func(string, ...any)) {
	p("  - kind: %s\n    target: %s\n    at: %s\n", f.Kind, f.Target, f.At)
	if f.When != "" {
		p("    when: %s\n", f.When)
	}
	if f.For != (Span{}) {
		p("    for: %s\n", f.For)
	}
	if f.Brief {
		p("    brief: true\n")
	}
	if f.Clients {
		p("    clients: true\n")
	}
	f.parametersYAML(p)
	if f.Overlap {
		p("    overlap: true\n")
	}
	if len(f.Nodes) > 0 {
		p("    nodes: [")
		for i, id := range f.Nodes {
			if i > 0 {
				p(", ")
			}
			p("%d", id)
		}
		p("]\n")
	}
	if f.Role != "" {
		p("    role: %s\n", strconv.Quote(f.Role))
	}
}
