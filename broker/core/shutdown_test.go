package core

import (
	"testing"
	"time"

	"soak/history"
)

// stop asks a node to end, waits until it says that it may, and ends it. It returns why leaderships were kept, and how long that took.
func (c *testCluster) stop(id int32) (kept string, took time.Duration) {
	c.t.Helper()
	n, began := c.nodes[id], c.now
	c.step(n, Shutdown{})
	c.until(10*time.Second, "the node has handed over", func() bool { return n.core.leave.over })
	kept, took = n.core.leave.kept, time.Duration(c.now-began)
	c.kill(id)
	return kept, took
}

func TestANodeThatEndsHandsOverWhatItLeads(t *testing.T) {
	for _, role := range []string{"controller", "follower"} {
		t.Run(role, func(t *testing.T) {
			c := newTestCluster(t, 0, func(x *Config) { x.ElectionInterval = 12 * time.Second }) // sessions of 6 s: nothing here waits for one
			c.waitReady()
			createTopic(c, 1, "orders", 6)
			c.run(40 * time.Second) // three quiet checks: everybody leads two
			id := c.leader()
			if role == "follower" {
				id = id%3 + 1
			}
			kept, took := c.stop(id)
			if kept != "" || took > time.Second {
				t.Fatalf("after %v: %q", took, kept)
			}
			l := c.leader()
			if l == 0 || l == id {
				c.until(200*time.Millisecond, "another controller", func() bool { l = c.leader(); return l != 0 && l != id })
			}
			for _, topic := range c.nodes[l].core.state.Topics {
				for i, p := range topic.Partitions {
					if p.Leader == id || p.Leader < 1 || len(p.ISR) != 2 {
						t.Errorf("%s-%d: leader %d, ISR %v right after n%d ended", topic.Name, i, p.Leader, p.ISR, id)
					}
				}
			}
			// Records are acknowledged at once: nobody waits for the node that is gone.
			p := c.nodes[l].core.state.Topic("orders").Partitions[0]
			at := c.now
			if r := produce(c, p.Leader, "orders", -1, "a"); r.ErrorCode != errNone || c.now-at > int64(100*time.Millisecond) {
				t.Errorf("produce after %v: code %d", time.Duration(c.now-at), r.ErrorCode)
			}
			c.start(id)
			c.waitReady()
			c.until(time.Minute, "the node is in every ISR again and leads what it prefers", func() bool {
				for _, p := range c.nodes[c.nodes[id].core.role.Leader].core.state.Topic("orders").Partitions {
					if len(p.ISR) != 3 || p.Leader != p.Replicas[0] {
						return false
					}
				}
				return true
			})
			noForeignProposals(t, c)
		})
	}
}

// Nobody votes for a node that leaves, and it is let into no ISR: not even by a controller that was elected after it had asked the last one.
func TestANodeThatLeavesIsNotTakenBack(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 3)
	id := c.leader()
	c.step(c.nodes[id], Shutdown{})
	c.until(3*time.Second, "the node has handed over", func() bool { return c.nodes[id].core.leave.over })
	c.run(1500 * time.Millisecond) // it lives on, follows, and is never a member
	l := c.leader()
	for i, p := range c.nodes[l].core.state.Topic("orders").Partitions {
		if l == id || p.Leader == id || len(p.ISR) != 2 {
			t.Errorf("controller n%d; orders-%d: leader %d, ISR %v: n%d is leaving", l, i, p.Leader, p.ISR, id)
		}
	}
}

// All that is promised to a node that is cut off is that it ends.
func TestTheHandOverIsBounded(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	for id := int32(2); id <= 3; id++ {
		c.cut[[2]int32{1, id}], c.cut[[2]int32{id, 1}] = true, true
	}
	if kept, took := c.stop(1); kept == "" || took < handOverLimit || took > handOverLimit+time.Second {
		t.Errorf("after %v: %q", took, kept)
	}
}

// A cluster that is stopped as a whole does not wait for anybody to take over.
func TestAllNodesEndAtOnce(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 3)
	for id := int32(1); id <= 3; id++ {
		c.step(c.nodes[id], Shutdown{})
	}
	c.until(500*time.Millisecond, "all may end", func() bool {
		for id := int32(1); id <= 3; id++ {
			if !c.nodes[id].core.leave.over {
				return false
			}
		}
		return true
	})
}

func TestALoneNodeHandsNothingOver(t *testing.T) {
	n, err := New(Config{ID: 1, Peers: []int32{1}, Boot: 1, Advertise: "h:1"}, Boot{First: true}, testStart)
	if err != nil {
		t.Fatal(err)
	}
	n.Step(testStart, Tick{})
	if out := n.Ready(); out.Stopped {
		t.Error("stopped before it was asked")
	}
	n.Step(testStart, Shutdown{})
	if out := n.Ready(); !out.Stopped || out.Kept != "" {
		t.Errorf("stopped %v, kept %q", out.Stopped, out.Kept)
	}
}

// The proposals of a hand-over say what they are for.
func TestAHandOverNamesItsCause(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 3)
	c.stop(c.leader())
	causes := map[string]int{}
	for _, e := range c.events {
		if a, ok := e.Body.(*history.Apply); ok {
			causes[a.Command+" "+a.Cause]++
		}
	}
	if causes["set_partition_leader shutdown"] == 0 {
		t.Errorf("applied: %v", causes)
	}
}

// A controller that does not know a broker's boot has given it nothing; a registration that is still under way is waited for.
func TestAHandOverThatTheControllerRefuses(t *testing.T) {
	for _, registering := range []bool{false, true} {
		c := newTestCluster(t, 0, nil)
		c.waitReady()
		c.run(10 * time.Second) // the registrations of the start are over
		id := c.leader()%3 + 1
		n := c.nodes[id].core
		ctl := c.nodes[c.leader()].core
		ctl.state.Broker(id).Boot += 100 // as if it had never registered in this boot
		n.state.Broker(id).Boot += 100
		n.startup.registered, n.startup.registering = false, registering
		c.step(c.nodes[id], Shutdown{})
		c.run(time.Second)
		if n.leave.over == registering {
			t.Errorf("registering %v: over %v after a second", registering, n.leave.over)
		}
		if registering { // it comes to its end
			ctl.state.Broker(id).Boot -= 100
			n.state.Broker(id).Boot -= 100
			c.until(time.Second, "the node has handed over", func() bool { return n.leave.over })
			if n.leave.kept != "" {
				t.Error(n.leave.kept)
			}
		}
	}
}

// Of each broker that leaves, a controller keeps one life.
func TestBrokersThatLeaveAgainAndAgainAreKeptOnce(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 3)
	lead := c.leader()
	for range 4 {
		id := lead%3 + 1
		c.stop(id)
		c.start(id)
		c.waitReady()
	}
	if c.leader() != lead {
		t.Fatal("another controller was elected meanwhile")
	}
	if n := len(c.nodes[lead].core.ctl.leaving); n != 1 {
		t.Errorf("%d lives of one broker that left", n)
	}
}
