package core

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// forwarder holds the requests that this node has sent to the controller and that are not answered yet.
type forwarder struct {
	next    uint64
	pending []*forwarded // ascending num
}

type forwarded struct {
	num   uint64
	to    int32
	done  func(ctlResult)
	timer *timer
}

// initForwarder begins the numbers of this boot above those of all earlier ones, so that a late answer to an earlier boot's request
// matches none of this boot's.
func (n *Node) initForwarder() { n.fwd.next = n.cfg.Boot << 32 }

// controllerRequest hands a request to the raft leader, wherever it is, and calls done once. It is sent at most once: when
// it may have reached the log and no answer comes, the result is ctlUnknown.
func (n *Node) controllerRequest(req kmsg.Request, info ctlInfo, done func(ctlResult)) {
	if n.AmILeader() {
		n.handleOnce(req, info, n.cfg.ID, done)
		return
	}
	leader, known, _ := n.LeaderStatus()
	boot := uint64(0)
	if known {
		boot = n.heardBoot(leader)
	}
	if boot == 0 {
		done(ctlResult{status: ctlRefused})
		return
	}
	n.fwd.next++
	f := &forwarded{num: n.fwd.next, to: leader, done: done}
	f.timer = n.after(forwardTimeout, func() { n.forwardDone(f.num, ctlResult{status: ctlUnknown}) })
	n.fwd.pending = append(n.fwd.pending, f)
	n.send(leader, &PeerMessage{Forward: &Forward{
		Num: f.num, Term: n.rn.BasicStatus().GetTerm(), CtrlBoot: boot, Req: req, Cause: info.cause, Via: info.via, Op: info.op,
	}})
}

// handleOnce carries out a request here and bounds how long its asker waits.
func (n *Node) handleOnce(req kmsg.Request, info ctlInfo, from int32, done func(ctlResult)) {
	var t *timer
	over := false
	finish := func(r ctlResult) {
		if !over {
			over = true
			t.cancel()
			done(r)
		}
	}
	t = n.after(forwardTimeout, func() { finish(ctlResult{status: ctlUnknown}) })
	n.handle(req, info, from, finish)
}

func (n *Node) forwardDone(num uint64, r ctlResult) {
	i := slices.IndexFunc(n.fwd.pending, func(f *forwarded) bool { return f.num == num })
	if i < 0 {
		return
	}
	f := n.fwd.pending[i]
	n.fwd.pending = slices.Delete(n.fwd.pending, i, i+1)
	f.timer.cancel()
	f.done(r)
}

func (n *Node) onForwardAnswer(from int32, a *ForwardAnswer) {
	i := slices.IndexFunc(n.fwd.pending, func(f *forwarded) bool { return f.num == a.Num && f.to == from })
	if i < 0 {
		return
	}
	r := ctlResult{resp: a.Resp, index: a.Index}
	if a.Refused {
		r.status = ctlRefused
	}
	n.forwardDone(a.Num, r)
}

// seenForwards are the numbers of one sender that this node has handled in its present boot, in whatever term.
type seenForwards struct {
	from  int32
	boot  uint64
	nums  []uint64 // ascending; everything up to floor counts as handled
	floor uint64
}

// maxSeen bounds the numbers kept of one sender; more than that are never under way at once.
const maxSeen = 4096

// handled reports whether a forwarded request was handled by this node in this boot, or may have been.
func (n *Node) handled(from int32, boot, num uint64) bool {
	for _, s := range n.ctl.seen {
		if s.from == from {
			_, found := slices.BinarySearch(s.nums, num)
			return boot < s.boot || boot == s.boot && (found || num <= s.floor)
		}
	}
	return false
}

// firstTime reports whether a forwarded request is new to this node in this boot, and remembers it.
func (n *Node) firstTime(from int32, boot, num uint64) bool {
	if n.handled(from, boot, num) {
		return false
	}
	i := slices.IndexFunc(n.ctl.seen, func(s seenForwards) bool { return s.from == from })
	if i < 0 {
		n.ctl.seen = append(n.ctl.seen, seenForwards{from: from, boot: boot})
		i = len(n.ctl.seen) - 1
	}
	s := &n.ctl.seen[i]
	if boot > s.boot {
		*s = seenForwards{from: from, boot: boot}
	}
	at, _ := slices.BinarySearch(s.nums, num)
	s.nums = slices.Insert(s.nums, at, num)
	if len(s.nums) > maxSeen {
		s.floor = s.nums[len(s.nums)/2]
		s.nums = slices.Delete(s.nums, 0, len(s.nums)/2+1)
	}
	return true
}

// onForward takes a request that another node passes on. One that is meant for another term is refused: it surely has no effect. One
// that was handled already, perhaps by an earlier boot of this node, is dropped: its answer has been sent or will be, or only the sender's time-out
// may speak.
func (n *Node) onForward(from int32, boot uint64, f *Forward) {
	n.noteRole()
	if f.CtrlBoot != n.cfg.Boot || n.handled(from, boot, f.Num) {
		return
	}
	if !n.AmILeader() || f.Term != n.role.Term {
		n.send(from, &PeerMessage{Answer: &ForwardAnswer{Num: f.Num, Refused: true}})
		return
	}
	n.firstTime(from, boot, f.Num)
	n.handle(f.Req, ctlInfo{cause: f.Cause, op: f.Op, via: f.Via}, from, func(r ctlResult) {
		if r.status == ctlUnknown {
			return // the sender's own time-out says so
		}
		n.send(from, &PeerMessage{Answer: &ForwardAnswer{Num: f.Num, Refused: r.status == ctlRefused, Resp: r.resp, Index: r.index}})
	})
}
