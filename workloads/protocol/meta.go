package protocol

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

// MetaRequest is a metadata operation as its one request; timeout is how long the client waits. The request carries the
// operation's id in a tag. The error tells of a kind that is none.
func MetaRequest(op *history.Operation, timeout time.Duration) (kmsg.Request, error) {
	switch op.Meta.Kind {
	case history.MetaCreate:
		return createTopic(op, timeout), nil
	case history.MetaDelete:
		return deleteTopic(op, timeout), nil
	case history.MetaDescribe:
		return describeTopic(op), nil
	case history.MetaWrite:
		return writeConfig(op), nil
	case history.MetaRead:
		return readConfig(op), nil
	}
	return nil, fmt.Errorf("no metadata operation is called %q", op.Meta.Kind)
}

// MetaAnswer takes the answer to MetaRequest: it fills in the operation's results and settles it.
func MetaAnswer(op *history.Operation, resp kmsg.Response) {
	m := op.Meta
	found := false
	switch resp := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		m.Index = echoedIndex(&resp.UnknownTags)
		for i := range resp.Topics {
			if rt := &resp.Topics[i]; !found && rt.Topic == m.Name {
				found, m.Code, m.TopicID = true, rt.ErrorCode, topicID(rt.TopicID)
			}
		}
	case *kmsg.DeleteTopicsResponse:
		m.Index = echoedIndex(&resp.UnknownTags)
		for i := range resp.Topics {
			if rt := &resp.Topics[i]; !found && rt.Topic != nil && *rt.Topic == m.Name {
				found, m.Code, m.TopicID = true, rt.ErrorCode, topicID(rt.TopicID)
			}
		}
	case *kmsg.MetadataResponse:
		found = described(m, resp)
	case *kmsg.IncrementalAlterConfigsResponse:
		m.Index = echoedIndex(&resp.UnknownTags)
		for i := range resp.Resources {
			if rr := &resp.Resources[i]; !found && rr.ResourceName == m.Name {
				found, m.Code = true, rr.ErrorCode
			}
		}
	case *kmsg.DescribeConfigsResponse:
		found = configRead(m, resp)
	}
	if !found {
		Settle(op, history.Unknown, ErrNotAnswered)
		return
	}
	outcome := AdminOutcome(m.Code)
	if m.Kind == history.MetaDescribe || m.Kind == history.MetaRead {
		outcome = ReadOutcome(m.Code)
	}
	Settle(op, outcome, nil)
	if outcome != history.OK {
		op.Error = CodeName(m.Code)
	}
}

func createTopic(op *history.Operation, timeout time.Duration) kmsg.Request {
	m := op.Meta
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	req.TimeoutMillis = requestMillis(timeout)
	tagged(&req.UnknownTags, op)
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic = m.Name
	t.NumPartitions = m.Partitions
	t.ReplicationFactor = m.Replication
	for _, k := range slices.Sorted(maps.Keys(m.Configs)) {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = k, new(m.Configs[k])
		t.Configs = append(t.Configs, cfg)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func deleteTopic(op *history.Operation, timeout time.Duration) kmsg.Request {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.SetVersion(6)
	req.TimeoutMillis = requestMillis(timeout)
	tagged(&req.UnknownTags, op)
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = new(op.Meta.Name)
	req.Topics = append(req.Topics, t)
	return req
}

func describeTopic(op *history.Operation) kmsg.Request {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	req.AllowAutoTopicCreation = false
	tagged(&req.UnknownTags, op)
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = new(op.Meta.Name)
	req.Topics = append(req.Topics, t)
	return req
}

func described(m *history.MetaOp, resp *kmsg.MetadataResponse) bool {
	m.Index = echoedIndex(&resp.UnknownTags)
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		if rt.Topic == nil || *rt.Topic != m.Name {
			continue
		}
		m.Code = rt.ErrorCode
		// A topic without a leader for some partition is there all the same.
		if m.Code == CodeLeaderNotAvailable {
			m.Code = CodeNone
		}
		if m.Exists = m.Code == CodeNone; m.Exists {
			m.TopicID = topicID(rt.TopicID)
		}
		return true
	}
	return false
}

func writeConfig(op *history.Operation) kmsg.Request {
	m := op.Meta
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.SetVersion(1)
	tagged(&req.UnknownTags, op)
	cfg := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	cfg.Name = m.Config
	// The empty value stands for "unset" in a read; writing it takes the setting away.
	if cfg.Op = kmsg.IncrementalAlterConfigOpDelete; m.Value != "" {
		cfg.Op, cfg.Value = kmsg.IncrementalAlterConfigOpSet, new(m.Value)
	}
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType = kmsg.ConfigResourceTypeTopic
	r.ResourceName = m.Name
	r.Configs = append(r.Configs, cfg)
	req.Resources = append(req.Resources, r)
	return req
}

func readConfig(op *history.Operation) kmsg.Request {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.SetVersion(4)
	tagged(&req.UnknownTags, op)
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType = kmsg.ConfigResourceTypeTopic
	r.ResourceName = op.Meta.Name
	r.ConfigNames = []string{op.Meta.Config}
	req.Resources = append(req.Resources, r)
	return req
}

func configRead(m *history.MetaOp, resp *kmsg.DescribeConfigsResponse) bool {
	m.Index = echoedIndex(&resp.UnknownTags)
	for i := range resp.Resources {
		rr := &resp.Resources[i]
		if rr.ResourceName != m.Name {
			continue
		}
		m.Code = rr.ErrorCode
		m.Exists = m.Code == CodeNone
		for j := range rr.Configs {
			// A default is no value of this topic: the register is unset.
			rc := &rr.Configs[j]
			if rc.Name == m.Config && rc.Source == kmsg.ConfigSourceDynamicTopicConfig && rc.Value != nil {
				m.Value = *rc.Value
			}
		}
		return true
	}
	return false
}

// topicID is an id in hex, "" for none.
func topicID(id [16]byte) string {
	if id == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(id[:])
}
