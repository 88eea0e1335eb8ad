package core

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/meta"
)

// Kafka's numbers for kinds of configuration resource and operation.
const (
	resourceTopic int8 = 2
	configSet     int8 = 0
	configDelete  int8 = 1
	sourceDynamic int8 = 1
	sourceDefault int8 = 5
)

// topicConfig is a configuration key that topics have, with its default and how its value is checked.
type topicConfig struct {
	key, def string
	valid    func(string) bool
}

// topicConfigs are in ascending order. Retention is off where a topic does not ask for it: Kafka's seven days would be a surprise to tests.
var topicConfigs = []topicConfig{
	{"cleanup.policy", "delete", func(v string) bool { return v == "delete" }},
	{"max.message.bytes", "1048576", integerFrom(1)},
	{"min.insync.replicas", "2", func(v string) bool { return integerFrom(1)(v) && len(v) <= 4 }},
	{"retention.bytes", "-1", integerFrom(-1)},
	{"retention.ms", "-1", integerFrom(-1)},
	{"segment.bytes", "67108864", integerFrom(1 << 10)},
	{"unclean.leader.election.enable", "false", func(v string) bool { return v == "false" }},
}

func integerFrom(low int64) func(string) bool {
	return func(v string) bool {
		i, err := strconv.ParseInt(v, 10, 64)
		return err == nil && i >= low && strconv.FormatInt(i, 10) == v
	}
}

func validConfig(key, value string) bool {
	for _, c := range topicConfigs {
		if c.key == key {
			return c.valid(value)
		}
	}
	return false
}

// onDescribeConfigs answers DescribeConfigs v0 to v4 for topics, from linearizable state.
func (n *Node) onDescribeConfigs(rq *request, req *kmsg.DescribeConfigsRequest) {
	answer := func(code int16, index uint64) {
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, q := range req.Resources {
			resp.Resources = append(resp.Resources, n.describeConfigs(q, code))
		}
		n.replyAt(rq, resp, index)
	}
	n.confirmedRead(rq, func(index uint64) { answer(errNone, index) }, func() { answer(errRequestTimedOut, 0) })
}

func (n *Node) describeConfigs(q kmsg.DescribeConfigsRequestResource, code int16) kmsg.DescribeConfigsResponseResource {
	rr := kmsg.NewDescribeConfigsResponseResource()
	rr.ResourceType, rr.ResourceName, rr.ErrorCode = q.ResourceType, q.ResourceName, code
	if code != errNone {
		return rr
	}
	if int8(q.ResourceType) != resourceTopic {
		return rr // brokers have no dynamic configuration: an empty list, as Kafka gives for a broker without any
	}
	t := n.state.Topic(q.ResourceName)
	if t == nil {
		rr.ErrorCode = errUnknownTopicOrPartition
		return rr
	}
	for _, c := range topicConfigs {
		if q.ConfigNames != nil && !slices.Contains(q.ConfigNames, c.key) {
			continue
		}
		rc := kmsg.NewDescribeConfigsResponseResourceConfig()
		rc.Name, rc.Value, rc.Source, rc.IsDefault = c.key, kmsg.StringPtr(c.def), kmsg.ConfigSource(sourceDefault), true
		if v, ok := t.Config(c.key); ok {
			rc.Value, rc.Source, rc.IsDefault = kmsg.StringPtr(v), kmsg.ConfigSource(sourceDynamic), false
		}
		rr.Configs = append(rr.Configs, rc)
	}
	return rr
}

// onClientAlterConfigs passes IncrementalAlterConfigs on to the controller.
func (n *Node) onClientAlterConfigs(rq *request, req *kmsg.IncrementalAlterConfigsRequest) {
	fail := func(code int16) {
		resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		for _, q := range req.Resources {
			resp.Resources = append(resp.Resources, alterAnswer(q, code))
		}
		n.reply(rq, resp)
	}
	n.passOn(rq, "alter_configs", fail)
}

func alterAnswer(q kmsg.IncrementalAlterConfigsRequestResource, code int16) kmsg.IncrementalAlterConfigsResponseResource {
	rr := kmsg.NewIncrementalAlterConfigsResponseResource()
	rr.ResourceType, rr.ResourceName, rr.ErrorCode = q.ResourceType, q.ResourceName, code
	return rr
}

// onAlterConfigs is the controller's part.
func (n *Node) onAlterConfigs(req *kmsg.IncrementalAlterConfigsRequest, info ctlInfo, done func(ctlResult)) {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	for _, q := range req.Resources {
		resp.Resources = append(resp.Resources, alterAnswer(q, errNone))
	}
	if len(req.Resources) == 0 {
		done(ctlResult{resp: resp, index: n.applied})
		return
	}
	g := &gather{left: len(req.Resources), parts: len(req.Resources), done: func(g *gather) {
		done(ctlResult{resp: resp, status: g.status(), index: g.index})
	}}
	for i, q := range req.Resources {
		rr := &resp.Resources[i]
		alter, code := parseAlter(q)
		if code != errNone {
			rr.ErrorCode = code
			g.add(ctlResult{index: n.applied})
			continue
		}
		if req.ValidateOnly {
			n.linearizable(func(uint64) {
				if n.state.Topic(q.ResourceName) == nil {
					rr.ErrorCode = errUnknownTopicOrPartition
				}
				g.add(ctlResult{index: n.applied})
			}, func() { g.add(ctlResult{status: ctlUnknown}) })
			continue
		}
		n.proposeFor(&meta.Command{Via: info.via, Cause: info.cause, Op: info.op, Alter: alter}, func(r ctlResult) {
			if r.status == ctlRefused {
				rr.ErrorCode = errNotController
			}
			g.add(r)
		}, func(a applied) ctlResult {
			if a.res.Refused != "" {
				rr.ErrorCode = errUnknownTopicOrPartition
			}
			return ctlResult{index: a.index}
		})
	}
}

func parseAlter(q kmsg.IncrementalAlterConfigsRequestResource) (*meta.AlterConfigs, int16) {
	if int8(q.ResourceType) != resourceTopic {
		return nil, errInvalidRequest
	}
	if internalTopic(q.ResourceName) || !validTopicName(q.ResourceName) {
		return nil, errInvalidTopic
	}
	a := &meta.AlterConfigs{Name: q.ResourceName}
	for _, c := range q.Configs {
		switch int8(c.Op) {
		case configSet:
			if c.Value == nil || !validConfig(c.Name, *c.Value) {
				return nil, errInvalidConfig
			}
			a.Set = append(a.Set, meta.Config{Key: c.Name, Value: *c.Value})
		case configDelete:
			a.Remove = append(a.Remove, c.Name)
		default:
			return nil, errInvalidRequest // append and subtract are for lists, and no topic configuration here is one
		}
	}
	return a, errNone
}
