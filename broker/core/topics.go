package core

import (
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/bugs"
	"soak/broker/meta"
	"soak/history"
)

// Bounds of what one topic may ask for.
const (
	maxTopicName         = 249 // Kafka's bound
	maxPartitionsOfTopic = 1000
)

// newTopic is a topic to be created, its form checked.
type newTopic struct {
	name        string
	partitions  int32
	replication int
	assignment  [][]int32 // replicas by partition where the client chose them; nil otherwise
	configs     []meta.Config
}

// topicCreated is what became of it.
type topicCreated struct {
	code   int16
	status ctlStatus
	index  uint64
	id     meta.TopicID
	topic  newTopic
}

// createTopic places a topic and proposes it: the one path by which topics come into being, whoever asked (CreateTopics,
// auto-creation, the start-up initialiser). It runs on the controller.
func (n *Node) createTopic(t newTopic, info ctlInfo, done func(topicCreated)) {
	result := topicCreated{topic: t}
	cmd := &meta.Command{Via: info.via, Cause: info.cause, Op: info.op, Create: &meta.CreateTopic{Name: t.name, Configs: t.configs}}
	cmd.Create.Partitions, result.code = n.place(t)
	if result.code != errNone {
		result.index = n.applied
		done(result)
		return
	}
	cmd.Create.ID = n.newTopicID(t.name)
	result.id = cmd.Create.ID
	err := n.propose(cmd, func(a applied) {
		result.index = a.index
		switch {
		case a.lost:
			result.status = ctlRefused
		case a.unknown:
			result.status = ctlUnknown
		case a.res.Refused == meta.TopicExists:
			result.code = errTopicExists
		case a.res.Refused != "":
			result.code = errUnknownServer
		default:
			n.emit(&history.Claim{What: "created", Key: t.name, Index: a.index})
		}
		done(result)
	})
	if err != nil {
		result.status = ctlRefused
		done(result)
	}
}

// place chooses the replicas of new partitions, in rotation over all nodes, the ISR (those that live), and the first leaders.
func (n *Node) place(t newTopic) ([]meta.NewPartition, int16) {
	nodes := n.cfg.Peers
	if t.replication > len(nodes) {
		return nil, errInvalidReplication
	}
	var placed []meta.NewPartition
	start := int(n.ctl.topicSeq % uint64(len(nodes)))
	if t.assignment == nil {
		n.ctl.topicSeq++
	}
	for p := range int(t.partitions) {
		var replicas []int32
		if t.assignment != nil {
			replicas = t.assignment[p]
		} else {
			for r := range t.replication {
				replicas = append(replicas, nodes[(start+p+r)%len(nodes)])
			}
		}
		isr := n.liveReplicas(replicas)
		if len(isr) == 0 {
			return nil, errInvalidReplication
		}
		leader := isr[0]
		for _, r := range slices.Backward(replicas) {
			if slices.Contains(isr, r) {
				leader = r // the first of them in the order of preference
			}
		}
		if n.cfg.InitialLeader == InitialLeaderRaft && slices.Contains(isr, n.cfg.ID) {
			leader = n.cfg.ID
		}
		placed = append(placed, meta.NewPartition{Replicas: slices.Clone(replicas), ISR: isr, Leader: leader})
	}
	return placed, errNone
}

// newTopicID makes an id that is never used again: from the seed, this proposer, its boot and the attempt.
func (n *Node) newTopicID(name string) (id meta.TopicID) {
	h := fnv.New128a()
	var b [32]byte
	binary.BigEndian.PutUint64(b[0:], n.cfg.Seed)
	binary.BigEndian.PutUint64(b[8:], uint64(n.cfg.ID))
	binary.BigEndian.PutUint64(b[16:], n.cfg.Boot)
	binary.BigEndian.PutUint64(b[24:], n.attempt+1)
	h.Write(b[:])
	h.Write([]byte(name))
	h.Sum(id[:0])
	id[6] = id[6]&0x0f | 0x40 // the form of a random UUID, which clients print and some check
	id[8] = id[8]&0x3f | 0x80
	return id
}

func (n *Node) defaultReplication() int { return min(int(n.cfg.DefaultReplication), len(n.cfg.Peers)) }

// autoCreate creates topics that a client produced to or asked about; done is called when this node's applied state has the outcome, or none
// is to be had in time. Only the raft leader may propose: any other node passes the request on to it.
func (n *Node) autoCreate(names []string, cause, op string, done func()) {
	info := ctlInfo{cause: cause, op: op, via: n.cfg.ID}
	mayPropose := n.AmILeader()
	if n.cfg.Bugs.Has(bugs.AutocreateGateHasLeader) {
		_, known, _ := n.LeaderStatus()
		if known && !mayPropose {
			n.bugHit(bugs.AutocreateGateHasLeader)
		}
		mayPropose = known
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = req.MaxVersion()
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, n.cfg.DefaultPartitions, int16(n.defaultReplication())
		req.Topics = append(req.Topics, t)
	}
	finish := func(r ctlResult) { n.whenAppliedOr(r.index, forwardTimeout, done) }
	if mayPropose {
		if n.AmILeader() {
			n.handleOnce(req, info, n.cfg.ID, finish)
		} else {
			n.onCreateTopics(req, info, finish)
		}
		return
	}
	n.controllerRequest(req, info, finish)
}

// validTopicName is Kafka's rule.
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxTopicName {
		return false
	}
	for _, c := range []byte(name) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return false
		}
	}
	return true
}

// internalTopic reports whether a name is the broker's own: clients may read it and not create, delete or write it.
func internalTopic(name string) bool { return len(name) >= 2 && name[:2] == "__" }

// parseNewTopic checks a topic's form; what exists is no matter of form.
func (n *Node) parseNewTopic(q *kmsg.CreateTopicsRequestTopic) (newTopic, int16, string) {
	t := newTopic{name: q.Topic, partitions: q.NumPartitions, replication: int(q.ReplicationFactor)}
	if !validTopicName(q.Topic) || internalTopic(q.Topic) {
		return t, errInvalidTopic, "topic names are 1 to 249 of a-z A-Z 0-9 . _ - and do not begin with two underscores"
	}
	if t.partitions == -1 {
		t.partitions = n.cfg.DefaultPartitions
	}
	if t.replication == -1 {
		t.replication = n.defaultReplication()
	}
	if len(q.ReplicaAssignment) > 0 {
		t.partitions = int32(len(q.ReplicaAssignment))
		t.assignment = make([][]int32, len(q.ReplicaAssignment))
		for _, a := range q.ReplicaAssignment {
			if a.Partition < 0 || int(a.Partition) >= len(t.assignment) || t.assignment[a.Partition] != nil || len(a.Replicas) == 0 {
				return t, errInvalidAssignment, "replica assignments must name each partition from 0 on once"
			}
			if why := n.badReplicas(a.Replicas); why != "" {
				return t, errInvalidAssignment, why
			}
			t.assignment[a.Partition] = a.Replicas
			t.replication = len(a.Replicas)
		}
	}
	if t.partitions < 1 || t.partitions > maxPartitionsOfTopic {
		return t, errInvalidPartitions, "partitions must be 1 to 1000"
	}
	if t.replication < 1 || t.replication > len(n.cfg.Peers) {
		return t, errInvalidReplication, "replication factor must be 1 to the number of nodes"
	}
	for _, c := range q.Configs {
		if c.Value == nil {
			continue
		}
		if !validConfig(c.Name, *c.Value) {
			return t, errInvalidConfig, "unknown or invalid configuration " + c.Name
		}
		t.configs = append(t.configs, meta.Config{Key: c.Name, Value: *c.Value})
	}
	slices.SortFunc(t.configs, func(a, b meta.Config) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return t, errNone, ""
}

// badReplicas says what is wrong with replicas that a client has chosen for a partition, "" if nothing is.
func (n *Node) badReplicas(replicas []int32) string {
	sorted := slices.Clone(replicas)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(replicas) {
		return "a partition names a broker twice"
	}
	for _, r := range replicas {
		if !slices.Contains(n.cfg.Peers, r) {
			return "a replica is on a broker that does not exist"
		}
	}
	return ""
}

// onCreateTopics is the controller's part. Its answers are given after each command was applied or refused at its index.
func (n *Node) onCreateTopics(req *kmsg.CreateTopicsRequest, info ctlInfo, done func(ctlResult)) {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	for i := range req.Topics {
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic = req.Topics[i].Topic
		resp.Topics = append(resp.Topics, rt)
	}
	if len(req.Topics) == 0 {
		done(ctlResult{resp: resp, index: n.applied})
		return
	}
	g := &gather{left: len(req.Topics), parts: len(req.Topics), done: func(g *gather) {
		done(ctlResult{resp: resp, status: g.status(), index: g.index})
	}}
	for i := range req.Topics {
		rt := &resp.Topics[i]
		t, code, why := n.parseNewTopic(&req.Topics[i])
		if code != errNone {
			rt.ErrorCode, rt.ErrorMessage = code, &why
			g.add(ctlResult{index: n.applied})
			continue
		}
		n.createTopic(t, info, func(c topicCreated) {
			rt.ErrorCode = c.code
			if c.status == ctlRefused {
				rt.ErrorCode = errNotController
			}
			if c.code == errNone && c.status == ctlAnswered {
				rt.TopicID, rt.NumPartitions, rt.ReplicationFactor = c.id, c.topic.partitions, int16(c.topic.replication)
			}
			g.add(ctlResult{status: c.status, index: c.index})
		})
	}
}

// onDeleteTopics is the controller's part.
func (n *Node) onDeleteTopics(req *kmsg.DeleteTopicsRequest, info ctlInfo, done func(ctlResult)) {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	var doomed []meta.DeleteTopic
	for _, name := range req.TopicNames {
		doomed = append(doomed, meta.DeleteTopic{Name: name})
	}
	for _, t := range req.Topics {
		d := meta.DeleteTopic{ID: t.TopicID}
		if t.Topic != nil {
			d = meta.DeleteTopic{Name: *t.Topic}
		} else if known := n.state.TopicByID(t.TopicID); known != nil {
			d.Name = known.Name
		}
		doomed = append(doomed, d)
	}
	g := &gather{left: len(doomed), parts: len(doomed), done: func(g *gather) {
		done(ctlResult{resp: resp, status: g.status(), index: g.index})
	}}
	for range doomed {
		resp.Topics = append(resp.Topics, kmsg.NewDeleteTopicsResponseTopic())
	}
	if len(doomed) == 0 {
		done(ctlResult{resp: resp, index: n.applied})
		return
	}
	for i, d := range doomed {
		rt := &resp.Topics[i]
		rt.Topic, rt.TopicID = kmsg.StringPtr(d.Name), d.ID
		byID := d.ID != (meta.TopicID{})
		if byID && d.Name == "" {
			rt.Topic = nil // unknown here: proposed all the same, so that its absence is said at an index
		} else if !validTopicName(d.Name) || internalTopic(d.Name) {
			rt.ErrorCode = errInvalidTopic
			g.add(ctlResult{index: n.applied})
			continue
		}
		cmd := &meta.Command{Via: info.via, Cause: info.cause, Op: info.op, Delete: &d}
		n.proposeFor(cmd, func(r ctlResult) {
			if r.status == ctlRefused {
				rt.ErrorCode = errNotController
			}
			g.add(r)
		}, func(a applied) ctlResult {
			if a.res.Refused != "" {
				rt.ErrorCode = errUnknownTopicOrPartition
				if byID {
					rt.ErrorCode = errUnknownTopicID
				}
			} else if a.res.Deleted != nil {
				rt.TopicID = a.res.Deleted.ID
			}
			return ctlResult{index: a.index}
		})
	}
}
