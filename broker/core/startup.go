package core

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/bugs"
	"soak/broker/meta"
)

// MetaTopic is the internal topic that the start-up initialiser creates: one partition, "__meta-0".
const MetaTopic = "__meta"

// startup brings a node into the cluster: the first campaign, its registration, and the internal topic.
type startup struct {
	first       bool // the raft log was empty
	campaigned  bool
	leaderSeen  bool // a leader has been known in this boot
	registering bool
	registered  bool
	unclean     uint64 // as in Boot
	initialised bool   // the creation of the internal topic is under way or done
}

// registerRetry: a registration that was refused or not answered is asked anew.
const registerRetry = 500 * time.Millisecond

func (n *Node) initStartup(boot Boot) {
	n.startup.first, n.startup.unclean = boot.First, boot.Unclean
	if len(n.cfg.Peers) == 1 {
		n.startupHeard() // nobody else's heartbeat will come
	}
}

// startupHeard is called with each heartbeat. At the very first start the smallest id campaigns as soon as it reaches a
// majority, so that a cluster is up within a second.
func (n *Node) startupHeard() {
	if n.startup.first && !n.startup.campaigned && n.cfg.ID == n.cfg.Peers[0] && n.heardFromMajority() {
		n.startup.campaigned = true
		if _, known, _ := n.LeaderStatus(); !known {
			_ = n.rn.Campaign() // its only error is a raft that cannot campaign; the election timeout comes anyway
			n.noteRole()
		}
	}
	n.register()
}

// leaderKnown is called when raft has come to know a leader, this node or another.
func (n *Node) leaderKnown() {
	first := !n.startup.leaderSeen
	n.startup.leaderSeen = true
	n.startup.registering = false // what was asked of another leader, or in another term, may never be answered
	n.register()
	n.askToLeave()
	if first && n.cfg.Bugs.Has(bugs.StartupGateHasLeader) {
		if _, known, _ := n.LeaderStatus(); known && n.state.Topic(MetaTopic) == nil {
			if !n.AmILeader() {
				n.bugHit(bugs.StartupGateHasLeader)
			}
			n.createMetaTopic()
		}
	}
}

// startupReady is called on the controller when its own-term entry is applied.
func (n *Node) startupReady() {
	if n.AmILeader() && !n.startup.initialised && n.state.Topic(MetaTopic) == nil {
		n.startup.initialised = true
		n.createMetaTopic()
	}
}

// createMetaTopic creates the internal topic on this node, which must be the controller.
func (n *Node) createMetaTopic() {
	n.createTopic(newTopic{name: MetaTopic, partitions: 1, replication: n.defaultReplication()}, ctlInfo{cause: "startup"}, func(topicCreated) {
		n.startup.initialised = n.state.Topic(MetaTopic) != nil
	})
}

// register tells the controller of this broker in this boot, until that is applied here.
func (n *Node) register() {
	if n.startup.registered || n.startup.registering || n.leave.asked {
		return // one that leaves wants nothing to lead
	}
	if leader, known, _ := n.LeaderStatus(); !known || n.heardBoot(leader) == 0 {
		return // a heartbeat of the leader comes soon, and with it the next try
	}
	n.startup.registering = true
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID = n.cfg.ID
	binary.BigEndian.PutUint64(req.IncarnationID[:8], n.cfg.Boot)
	if n.startup.unclean > 0 {
		// KIP-966: what is registered with an earlier epoch than this may have lost records.
		req.PreviousBrokerEpoch = int64(n.startup.unclean + 1)
	}
	host, port, _ := splitHostPort(n.cfg.Advertise) // withDefaults has refused what it cannot split
	l := kmsg.NewBrokerRegistrationRequestListener()
	l.Name, l.Host, l.Port = "PLAINTEXT", host, port
	req.Listeners = append(req.Listeners, l)
	n.controllerRequest(req, ctlInfo{cause: "register"}, func(ctlResult) {
		n.after(registerRetry, func() {
			n.startup.registering = false
			n.register()
		})
	})
}

// registrationApplied is called when any broker's registration is applied.
func (n *Node) registrationApplied(b meta.Broker) {
	if b.ID == n.cfg.ID && b.Boot == n.cfg.Boot {
		n.startup.registered = true
	}
}

// onRegister is the controller's part.
func (n *Node) onRegister(req *kmsg.BrokerRegistrationRequest, info ctlInfo, done func(ctlResult)) {
	resp := req.ResponseKind().(*kmsg.BrokerRegistrationResponse)
	if len(req.Listeners) == 0 {
		resp.ErrorCode = errInvalidRequest
		done(ctlResult{resp: resp})
		return
	}
	b := meta.Broker{ID: req.BrokerID, Boot: binary.BigEndian.Uint64(req.IncarnationID[:8]), Host: req.Listeners[0].Host, Port: int32(req.Listeners[0].Port)}
	cmd := &meta.Command{Via: info.via, Cause: info.cause, Register: &meta.Register{Broker: b, Live: n.liveReplicas(n.cfg.Peers)}}
	if req.PreviousBrokerEpoch > 0 {
		cmd.Register.Unclean = uint64(req.PreviousBrokerEpoch) - 1
	}
	n.proposeFor(cmd, done, func(a applied) ctlResult {
		if a.res.Refused != "" {
			resp.ErrorCode = errStaleBrokerEpoch
		}
		resp.BrokerEpoch = int64(b.Boot)
		return ctlResult{resp: resp, index: a.index}
	})
}

// splitHostPort reads HOST:PORT; an IPv6 host stands in brackets.
func splitHostPort(addr string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i <= 0 {
		return "", 0, false
	}
	p, err := strconv.ParseUint(addr[i+1:], 10, 16)
	return strings.Trim(addr[:i], "[]"), uint16(p), err == nil && p > 0
}
