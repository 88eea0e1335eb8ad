package runloop

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"soak/chaos/scenario"
	"soak/history"
)

// Owners of the loop's own metadata operations.
const (
	ownerReady = "ready" // does a node answer?
	ownerSetup = "setup" // creation of the record topics
)

// metaTopic is asked about to see whether a node answers: it exists from the first start on.
const metaTopic = "__meta"

// polls asks each node in turn whether it answers.
type polls struct {
	ops      int
	underWay []string // operation id, by node id
	next     []int64  // when to ask again
	answered []int64  // invoke time of the newest poll that was answered, 0 if none
}

func newPolls(nodes int) polls {
	return polls{underWay: make([]string, nodes+1), next: make([]int64, nodes+1), answered: make([]int64, nodes+1)}
}

// ask is the polls that are due, to those of the nodes that have not answered one made since; and when to look again.
func (p *polls) ask(now, since int64, nodes []int32) (ops []*history.Operation, wake int64) {
	wake = math.MaxInt64
	for _, id := range nodes {
		switch {
		case p.underWay[id] != "" || p.answered[id] > since:
		case p.next[id] > now:
			wake = min(wake, p.next[id])
		default:
			op := &history.Operation{
				ID: fmt.Sprintf("r%d", p.ops), Client: "ready-" + strconv.Itoa(int(id)), Node: id, Invoke: now,
				Meta: &history.MetaOp{Kind: history.MetaDescribe, Name: metaTopic, Owner: ownerReady},
			}
			p.ops++
			p.underWay[id] = op.ID
			ops = append(ops, op)
		}
	}
	return ops, wake
}

func (p *polls) done(now int64, op *history.Operation) {
	id := slices.Index(p.underWay, op.ID)
	if id < 1 {
		return
	}
	p.underWay[id] = ""
	p.next[id] = now + pollEvery
	if op.Outcome == history.OK {
		p.answered[id] = op.Invoke
	}
}

// silent is the nodes that have not answered a poll made since.
func (p *polls) silent(since int64) (ids []string) {
	for id := 1; id < len(p.answered); id++ {
		if p.answered[id] <= since {
			ids = append(ids, "n"+strconv.Itoa(id))
		}
	}
	return ids
}

// setup creates the record topics, one after the other, and waits until every node knows them.
type setup struct {
	s        *scenario.Scenario
	ops      int
	node     int    // node's turn for the next creation
	created  int    // topics so far
	underWay string // operation id
	next     int64
	lastErr  string
	seenBy   int // (topic, node) pairs seen so far, topic by topic
}

func newSetup(s *scenario.Scenario) setup { return setup{s: s} }

func (u *setup) finished() bool { return u.seenBy == len(u.s.Topics)*u.s.Nodes }

// ask is the next operation, nil if one is under way or it is too early.
func (u *setup) ask(now int64) *history.Operation {
	if u.underWay != "" || now < u.next || u.finished() {
		return nil
	}
	op := &history.Operation{ID: fmt.Sprintf("s%d", u.ops), Client: "setup", Invoke: now}
	if u.created < len(u.s.Topics) {
		t := u.s.Topics[u.created]
		op.Node = int32(u.node%u.s.Nodes + 1)
		op.Meta = &history.MetaOp{
			Kind: history.MetaCreate, Name: t.Name, Owner: ownerSetup, Partitions: t.Partitions, Replication: t.Replication,
			Configs: t.Configs(),
		}
	} else {
		op.Node = int32(u.seenBy%u.s.Nodes + 1)
		op.Meta = &history.MetaOp{Kind: history.MetaDescribe, Name: u.s.Topics[u.seenBy/u.s.Nodes].Name, Owner: ownerSetup}
	}
	u.ops++
	u.underWay = op.ID
	return op
}

// codeTopicExists is what a repeated creation answers when the first one did its work after all.
const codeTopicExists = 36

func (u *setup) done(now int64, op *history.Operation) {
	if op.ID != u.underWay {
		return
	}
	u.underWay = ""
	m := op.Meta
	switch {
	case op.Outcome == history.OK && m.Kind == history.MetaCreate && (m.Code == 0 || m.Code == codeTopicExists):
		u.created++
	case op.Outcome == history.OK && m.Kind == history.MetaDescribe && m.Exists:
		u.seenBy++
	default:
		u.lastErr = fmt.Sprintf("%s of %s at n%d: %s %s (code %d)", m.Kind, m.Name, op.Node, op.Outcome, op.Error, m.Code)
		u.next = now + pollEvery
		u.node++ // another node may know better
	}
}

func (l *Loop) clusterStarted(in ClusterStarted) {
	if l.phase != PhaseStart || l.launched != 0 {
		return
	}
	if in.Err != nil {
		l.problem = "starting the cluster: " + in.Err.Error()
		l.finish()
		return
	}
	l.launched = l.now
}

func (l *Loop) advanceStart() {
	if l.launched == 0 {
		if l.now >= l.entered+launchLimit {
			l.problem = fmt.Sprintf("the cluster had not been started after %s", time.Duration(launchLimit))
			l.finish()
		}
		l.wakeAt(l.entered + launchLimit)
		return
	}
	ops, wake := l.polls.ask(l.now, 0, l.nodes())
	l.wakeAt(wake)
	silent := l.polls.silent(0)
	if len(silent) == 0 {
		if op := l.setup.ask(l.now); op != nil {
			ops = append(ops, op)
		}
		if l.setup.underWay == "" && !l.setup.finished() {
			l.wakeAt(l.setup.next)
		}
	}
	for _, op := range ops {
		l.emit(Invoke{Op: op})
	}
	switch {
	case len(silent) == 0 && l.setup.finished() && l.view.led():
		l.beginLoad()
	case l.now >= l.launched+startLimit:
		l.problem = fmt.Sprintf("the cluster was not ready within %s: %s", time.Duration(startLimit), l.notReady(silent))
		l.finish()
	default:
		l.wakeAt(l.launched + startLimit)
	}
}

func (l *Loop) notReady(silent []string) string {
	switch {
	case len(silent) > 0:
		return "no answer from " + strings.Join(silent, ", ")
	case !l.setup.finished():
		return "the record topics are not there: " + l.setup.lastErr
	}
	return "not every record partition has a leader in the nodes' audit events"
}
