package core

import (
	"fmt"
	"slices"
	"time"
)

// withDefaults fills in what BROKER's contract sets and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Tick, 100*time.Millisecond)
	def(&c.ElectionInterval, 12*time.Second)
	def(&c.SessionTimeout, max(c.ElectionInterval/2, 500*time.Millisecond))
	def(&c.ReplicaLag, max(c.SessionTimeout, time.Second))
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 10
	}
	if c.HeartbeatTicks == 0 {
		c.HeartbeatTicks = 1
	}
	if c.Flush == "" {
		c.Flush = FlushSync
	}
	if c.InitialLeader == "" {
		c.InitialLeader = InitialLeaderRaft
	}
	if c.DefaultPartitions == 0 {
		c.DefaultPartitions = 1
	}
	if c.DefaultReplication == 0 {
		c.DefaultReplication = 3
	}
	if c.MaxRecordBatch == 0 {
		c.MaxRecordBatch = 1 << 20
	}
	if c.MaxFetchBytes == 0 {
		c.MaxFetchBytes = 8 << 20
	}
	if c.MaxQueuedDiskBytes == 0 {
		c.MaxQueuedDiskBytes = 64 << 20
	}
	def(&c.RetentionCheck, 30*time.Second)
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = 10_000
	}
	_, _, addrOK := splitHostPort(c.Advertise)
	switch {
	case !addrOK:
		return c, fmt.Errorf("advertised address %q: must be HOST:PORT", c.Advertise)
	case c.ID <= 0:
		return c, fmt.Errorf("node id %d: must be 1 or more", c.ID)
	case !slices.Contains(c.Peers, c.ID):
		return c, fmt.Errorf("node id %d is not among the peers %v", c.ID, c.Peers)
	case !slices.IsSorted(c.Peers):
		return c, fmt.Errorf("peers %v are not ascending", c.Peers)
	case c.Flush != FlushSync && c.Flush != FlushNone:
		return c, fmt.Errorf("flush %q: must be %s or %s", c.Flush, FlushSync, FlushNone)
	case c.InitialLeader != InitialLeaderRaft && c.InitialLeader != InitialLeaderBalanced:
		return c, fmt.Errorf("initial leader %q: must be %s or %s", c.InitialLeader, InitialLeaderRaft, InitialLeaderBalanced)
	case c.SnapshotEntries < 1:
		return c, fmt.Errorf("a snapshot every %d entries: must be at least 1", c.SnapshotEntries)
	case c.ElectionInterval < 10*time.Millisecond || c.SessionTimeout < 10*time.Millisecond:
		return c, fmt.Errorf("election interval %v and session timeout %v: must be at least 10ms", c.ElectionInterval, c.SessionTimeout)
	}
	return c, nil
}

// Values of Config.Flush.
const (
	FlushSync = "sync"
	FlushNone = "none"
)

// Values of Config.InitialLeader.
const (
	InitialLeaderRaft     = "raft-leader" // the raft leader where it is a replica
	InitialLeaderBalanced = "balanced"    // replicas[0]
)

// heartbeatEvery is how often a broker gives its sign of life: a fifth of the session, 50 to 500 ms.
func (c Config) heartbeatEvery() time.Duration {
	return min(max(c.SessionTimeout/5, 50*time.Millisecond), 500*time.Millisecond)
}

const (
	// forwardTimeout bounds how long an admin request waits for the controller.
	forwardTimeout = 3 * time.Second
	// readRetry: an unanswered ReadIndex is asked again with a new context.
	readRetry = 500 * time.Millisecond
	// readTimeout: what is not confirmed by then is not answered.
	readTimeout = 3 * time.Second
)
