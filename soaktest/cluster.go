package soaktest

import (
	"slices"
	"strings"
	"testing"

	"soak/chaos/runloop"
)

// Cluster is one that runs, under load and under watch, until it is judged or the test ends. Its methods are for the test's goroutine,
// since they end the test where something goes wrong; those of a Producer are for any.
type Cluster struct {
	r         *run
	producers producers
}

// Start starts a cluster and returns once every node answers and the load has begun. It is ended with the test, and removed with all that
// it created.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if err := o.check(); err != nil {
		t.Fatalf("soaktest: %v", err)
	}
	plan, err := o.plan(plainName(t.Name()))
	if err != nil {
		t.Fatalf("soaktest: the options: %s", words(err))
	}
	c := &Cluster{r: begin(t, o, plan, true)}
	if !c.r.wait(func() bool { return c.r.status.Phase == runloop.PhaseFaults }) {
		t.Fatalf("soaktest: the cluster did not come up: %s", c.r.why())
	}
	return c
}

// plainName makes a test's name one that a scenario can have.
func plainName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			return c
		}
		return '-'
	}, name)
	if name == "" {
		return "test"
	}
	return name[:min(len(name), 100)]
}

// Bootstrap is where clients find the cluster: HOST:PORT of n1, n2, …, which stay the same when nodes start again.
func (c *Cluster) Bootstrap() []string {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return slices.Clone(c.r.addrs)
}

// Leader is the raft leader, the controller; 0 while none is known. What it says is up to a quarter of a second old.
func (c *Cluster) Leader() int {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return int(c.r.status.RaftLeader)
}

// WaitIntervals waits until n election intervals have been counted since Start returned: checks by the raft leader's election service. Many
// bugs show at the second or third of them, and none at once.
func (c *Cluster) WaitIntervals(n int) {
	c.r.t.Helper()
	if !c.r.wait(func() bool { return c.r.status.Intervals >= n }) {
		c.r.t.Fatalf("soaktest: the run ended before %d intervals had been counted: %s", n, c.r.why())
	}
}

// Judge mends what is broken, waits for the intervals that the run lacks and for the cluster to be whole, reads every replica to its end, ends
// the cluster, and has all checkers judge what was recorded. It is for those who want to look at the verdict themselves; Check is for all
// others. The cluster is gone afterwards.
func (c *Cluster) Judge() *Result {
	c.r.t.Helper()
	if c.r.result == nil {
		c.producers.settle()
		c.r.tell(runloop.Conclude{})
		<-c.r.ended
		res, err := c.r.judge()
		if err != nil {
			c.r.t.Fatalf("soaktest: %v", err)
		}
		return res
	}
	return c.r.result
}

// Check is Judge, and fails the test unless the verdict is the one that Result.Check wants. The cluster is gone afterwards.
func (c *Cluster) Check(checkers ...string) {
	c.r.t.Helper()
	c.Judge().Check(checkers...)
}

// Run carries out a whole scenario: one that soak scenarios lists ("quick"), the path of a YAML file, or the YAML itself. It starts a cluster of its own,
// and returns when that is gone and the run is judged. What of o is for Start alone is not looked at. Check the result: Run itself fails the test only where there is none.
func Run(t testing.TB, scenario string, o Options) *Result {
	t.Helper()
	if err := o.check(); err != nil {
		t.Fatalf("soaktest: %v", err)
	}
	plan, err := o.resolved(scenario)
	if err != nil {
		t.Fatalf("soaktest: %s", words(err))
	}
	for _, kind := range plan.FaultKinds() {
		if why := o.cannot(kind); why != "" {
			t.Fatalf("soaktest: the driver %s cannot do the fault %s: %s", o.driver(), kind, why)
		}
	}
	if plan.Liveness.On() {
		t.Fatalf("soaktest: the driver %s cannot run the scenario's liveness phase, and only the simulator can: soak run --driver sim", o.driver())
	}
	r := begin(t, o, plan, false)
	<-r.ended
	res, err := r.judge()
	if err != nil {
		t.Fatalf("soaktest: %v", err)
	}
	return res
}
