package workloads

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

// doMeta carries out a metadata operation: one request to the operation's node on a connection of its own, never repeated.
func (c *Clients) doMeta(ctx context.Context, op *history.Operation) {
	m := op.Meta
	var err error
	switch m.Kind {
	case history.MetaCreate:
		err = c.createTopic(ctx, op)
	case history.MetaDelete:
		err = c.deleteTopic(ctx, op)
	case history.MetaDescribe:
		err = c.describeTopic(ctx, op)
	case history.MetaWrite:
		err = c.writeConfig(ctx, op)
	case history.MetaRead:
		err = c.readConfig(ctx, op)
	default:
		err = &notSent{fmt.Errorf("no metadata operation is called %q", m.Kind)}
	}
	if err != nil {
		settle(op, transportOutcome(err), err)
		return
	}
	outcome := adminOutcome(m.Code)
	if m.Kind == history.MetaDescribe || m.Kind == history.MetaRead {
		outcome = readOutcome(m.Code)
	}
	settle(op, outcome, nil)
	if outcome != history.OK {
		op.Error = codeName(m.Code)
	}
}

// requestMillis is the time-out written into requests that have one: shorter than the client's own, so that a broker
// which gives up says so before the client does.
func (c *Clients) requestMillis() int32 {
	return int32((c.cfg.Timeout - c.cfg.Timeout/6) / time.Millisecond)
}

// tagged puts the operation's id into a request's unknown tags.
func tagged(tags *kmsg.Tags, op *history.Operation) { tags.Set(opTag, []byte(op.ID)) }

var errNotAnswered = errors.New("the answer does not speak of what was asked")

func (c *Clients) createTopic(ctx context.Context, op *history.Operation) error {
	m := op.Meta
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	req.TimeoutMillis = c.requestMillis()
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

	answer, err := c.askOnce(ctx, op.Node, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.CreateTopicsResponse)
	m.Index = echoedIndex(&resp.UnknownTags)
	for i := range resp.Topics {
		if rt := &resp.Topics[i]; rt.Topic == m.Name {
			m.Code = rt.ErrorCode
			m.TopicID = topicID(rt.TopicID)
			return nil
		}
	}
	return errNotAnswered
}

func (c *Clients) deleteTopic(ctx context.Context, op *history.Operation) error {
	m := op.Meta
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.SetVersion(6)
	req.TimeoutMillis = c.requestMillis()
	tagged(&req.UnknownTags, op)
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = new(m.Name)
	req.Topics = append(req.Topics, t)

	answer, err := c.askOnce(ctx, op.Node, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.DeleteTopicsResponse)
	m.Index = echoedIndex(&resp.UnknownTags)
	for i := range resp.Topics {
		if rt := &resp.Topics[i]; rt.Topic != nil && *rt.Topic == m.Name {
			m.Code = rt.ErrorCode
			m.TopicID = topicID(rt.TopicID)
			return nil
		}
	}
	return errNotAnswered
}

func (c *Clients) describeTopic(ctx context.Context, op *history.Operation) error {
	m := op.Meta
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	req.AllowAutoTopicCreation = false
	tagged(&req.UnknownTags, op)
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = new(m.Name)
	req.Topics = append(req.Topics, t)

	answer, err := c.askOnce(ctx, op.Node, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.MetadataResponse)
	m.Index = echoedIndex(&resp.UnknownTags)
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		if rt.Topic == nil || *rt.Topic != m.Name {
			continue
		}
		m.Code = rt.ErrorCode
		// A topic without a leader for some partition is there all the same.
		if m.Code == codeLeaderNotAvailable {
			m.Code = codeNone
		}
		if m.Exists = m.Code == codeNone; m.Exists {
			m.TopicID = topicID(rt.TopicID)
		}
		return nil
	}
	return errNotAnswered
}

func (c *Clients) writeConfig(ctx context.Context, op *history.Operation) error {
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

	answer, err := c.askOnce(ctx, op.Node, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.IncrementalAlterConfigsResponse)
	m.Index = echoedIndex(&resp.UnknownTags)
	for i := range resp.Resources {
		if rr := &resp.Resources[i]; rr.ResourceName == m.Name {
			m.Code = rr.ErrorCode
			return nil
		}
	}
	return errNotAnswered
}

func (c *Clients) readConfig(ctx context.Context, op *history.Operation) error {
	m := op.Meta
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.SetVersion(4)
	tagged(&req.UnknownTags, op)
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType = kmsg.ConfigResourceTypeTopic
	r.ResourceName = m.Name
	r.ConfigNames = []string{m.Config}
	req.Resources = append(req.Resources, r)

	answer, err := c.askOnce(ctx, op.Node, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.DescribeConfigsResponse)
	m.Index = echoedIndex(&resp.UnknownTags)
	for i := range resp.Resources {
		rr := &resp.Resources[i]
		if rr.ResourceName != m.Name {
			continue
		}
		m.Code = rr.ErrorCode
		m.Exists = m.Code == codeNone
		for j := range rr.Configs {
			// A default is no value of this topic: the register is unset.
			rc := &rr.Configs[j]
			if rc.Name == m.Config && rc.Source == kmsg.ConfigSourceDynamicTopicConfig && rc.Value != nil {
				m.Value = *rc.Value
			}
		}
		return nil
	}
	return errNotAnswered
}

// topicID is an id in hex, "" for none.
func topicID(id [16]byte) string {
	if id == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(id[:])
}
