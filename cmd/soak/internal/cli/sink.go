package cli

import "soak/history"

// deafSink is for a cluster that is asked, not started.
type deafSink struct{}

func (deafSink) Event(history.Event)      {}
func (deafSink) Stats(history.NodeMetric) {}
