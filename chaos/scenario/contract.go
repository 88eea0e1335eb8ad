package scenario

import "soak/history"

// Contract is what the reference broker and these clients promise in this version.
func (s *Scenario) Contract() history.Contract {
	c := history.Contract{Acks: -1, Flush: "sync", Idempotent: s.Workloads.Produce.Idempotent, ValueBytes: s.Workloads.Produce.ValueBytes}
	if s.Flush != "" {
		c.Flush = s.Flush
	}
	for i, topic := range s.Topics {
		if n := int(topic.MinInsyncReplicas); i == 0 || n < c.MinISR {
			c.MinISR = n
		}
	}
	return c
}
