package workloads

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
	"soak/workloads/protocol"
)

// answerMeta answers any metadata operation with one code about the topic "t", and raft index 77.
func answerMeta(req kmsg.Request, code int16) kmsg.Response {
	index := binary.BigEndian.AppendUint64(nil, 77)
	id := [16]byte{0xab, 15: 0x01}
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		resp := kmsg.NewPtrCreateTopicsResponse()
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic, t.ErrorCode = req.Topics[0].Topic, code
		if code == 0 {
			t.TopicID = id
		}
		resp.Topics = append(resp.Topics, t)
		resp.UnknownTags.Set(protocol.IndexTag, index)
		return resp
	case *kmsg.DeleteTopicsRequest:
		resp := kmsg.NewPtrDeleteTopicsResponse()
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.ErrorCode = req.Topics[0].Topic, code
		resp.Topics = append(resp.Topics, t)
		resp.UnknownTags.Set(protocol.IndexTag, index)
		return resp
	case *kmsg.MetadataRequest:
		resp := kmsg.NewPtrMetadataResponse()
		t := kmsg.NewMetadataResponseTopic()
		t.Topic, t.ErrorCode, t.TopicID = req.Topics[0].Topic, code, id
		resp.Topics = append(resp.Topics, t)
		resp.UnknownTags.Set(protocol.IndexTag, index)
		return resp
	case *kmsg.IncrementalAlterConfigsRequest:
		resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceName, r.ErrorCode = req.Resources[0].ResourceName, code
		resp.Resources = append(resp.Resources, r)
		resp.UnknownTags.Set(protocol.IndexTag, index)
		return resp
	case *kmsg.DescribeConfigsRequest:
		resp := kmsg.NewPtrDescribeConfigsResponse()
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceName, r.ErrorCode = req.Resources[0].ResourceName, code
		if code == 0 {
			c := kmsg.NewDescribeConfigsResponseResourceConfig()
			c.Name, c.Value, c.Source = "retention.ms", new("1234"), kmsg.ConfigSourceDynamicTopicConfig
			r.Configs = append(r.Configs, c)
		}
		resp.Resources = append(resp.Resources, r)
		resp.UnknownTags.Set(protocol.IndexTag, index)
		return resp
	}
	return nil
}

func metaOp(kind string) *history.Operation {
	return &history.Operation{ID: "m42", Node: 1, Meta: &history.MetaOp{
		Kind: kind, Name: "t", Config: "retention.ms", Value: "99", Partitions: 3, Replication: 2,
		Configs: map[string]string{"min.insync.replicas": "2", "a": "b"},
	}}
}

func opTags(req kmsg.Request) string {
	var got string
	read := func(tags *kmsg.Tags) {
		tags.Each(func(k uint32, v []byte) {
			if k == protocol.OpTag {
				got = string(v)
			}
		})
	}
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		read(&req.UnknownTags)
	case *kmsg.DeleteTopicsRequest:
		read(&req.UnknownTags)
	case *kmsg.MetadataRequest:
		read(&req.UnknownTags)
	case *kmsg.IncrementalAlterConfigsRequest:
		read(&req.UnknownTags)
	case *kmsg.DescribeConfigsRequest:
		read(&req.UnknownTags)
	case *kmsg.ProduceRequest:
		read(&req.UnknownTags)
	}
	return got
}

func TestMetaOutcomeOfEachCode(t *testing.T) {
	const ok, failed, unknown = history.OK, history.Failed, history.Unknown
	for _, tc := range []struct {
		kind string
		code int16
		want history.Outcome
	}{
		{history.MetaCreate, 0, ok}, {history.MetaCreate, 36, ok}, {history.MetaCreate, 41, failed},
		{history.MetaCreate, 7, unknown}, {history.MetaCreate, -1, unknown}, {history.MetaCreate, 17, failed},
		{history.MetaCreate, 38, failed}, {history.MetaCreate, 6, unknown}, {history.MetaCreate, 40, failed},
		{history.MetaDelete, 0, ok}, {history.MetaDelete, 3, ok}, {history.MetaDelete, 41, failed},
		{history.MetaDelete, 7, unknown},
		{history.MetaWrite, 0, ok}, {history.MetaWrite, 3, ok}, {history.MetaWrite, 41, failed},
		{history.MetaWrite, 7, unknown}, {history.MetaWrite, 40, failed},
		{history.MetaRead, 0, ok}, {history.MetaRead, 3, ok}, {history.MetaRead, 7, failed}, {history.MetaRead, 41, failed},
		{history.MetaDescribe, 0, ok}, {history.MetaDescribe, 3, ok}, {history.MetaDescribe, 5, ok},
		{history.MetaDescribe, 7, failed},
	} {
		t.Run(fmt.Sprintf("%s %d", tc.kind, tc.code), func(t *testing.T) {
			b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response { return answerMeta(r, tc.code) })
			c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
			op := metaOp(tc.kind)
			c.Do(t.Context(), op)
			if op.Outcome != tc.want {
				t.Errorf("outcome %q (%s), want %q", op.Outcome, op.Error, tc.want)
			}
			if op.Meta.Index != 77 {
				t.Errorf("index %d, want the echoed 77", op.Meta.Index)
			}
			if tc.code != 5 && op.Meta.Code != tc.code {
				t.Errorf("code %d, want %d", op.Meta.Code, tc.code)
			}
			if (tc.want == ok) != (op.Error == "") {
				t.Errorf("%q with the error text %q", op.Outcome, op.Error)
			}
			if asked := askedFor[kmsg.Request](b); len(asked) != 1 {
				t.Errorf("%d requests, want exactly one", len(asked))
			} else if got := opTags(asked[0]); got != "m42" {
				t.Errorf("the request carries the operation id %q, want m42", got)
			}
		})
	}
}

func TestMetaAsksAndReads(t *testing.T) {
	b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response { return answerMeta(r, 0) })
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})

	op := metaOp(history.MetaCreate)
	c.Do(t.Context(), op)
	cr := askedFor[*kmsg.CreateTopicsRequest](b)[0]
	if cr.Version != 7 || cr.Topics[0].NumPartitions != 3 || cr.Topics[0].ReplicationFactor != 2 || len(cr.Topics[0].Configs) != 2 ||
		cr.Topics[0].Configs[1].Name != "min.insync.replicas" || *cr.Topics[0].Configs[1].Value != "2" {
		t.Errorf("create asked %+v", cr)
	}
	if want := "ab000000000000000000000000000001"; op.Meta.TopicID != want {
		t.Errorf("create: topic id %q, want %q", op.Meta.TopicID, want)
	}

	op = metaOp(history.MetaDescribe)
	c.Do(t.Context(), op)
	if md := askedFor[*kmsg.MetadataRequest](b)[0]; md.Version != 12 || md.AllowAutoTopicCreation || len(md.Topics) != 1 {
		t.Errorf("describe asked %+v", md)
	}
	if !op.Meta.Exists || op.Meta.TopicID == "" {
		t.Errorf("describe saw %+v, want an existing topic with its id", op.Meta)
	}

	op = metaOp(history.MetaWrite)
	c.Do(t.Context(), op)
	if w := askedFor[*kmsg.IncrementalAlterConfigsRequest](b)[0].Resources[0]; w.Configs[0].Op != kmsg.IncrementalAlterConfigOpSet ||
		*w.Configs[0].Value != "99" || w.Configs[0].Name != "retention.ms" || w.ResourceType != kmsg.ConfigResourceTypeTopic {
		t.Errorf("config write asked %+v", w)
	}

	op = metaOp(history.MetaRead)
	op.Meta.Value = ""
	c.Do(t.Context(), op)
	if op.Meta.Value != "1234" {
		t.Errorf("config read %q, want 1234", op.Meta.Value)
	}
}

func TestDescribeOfAnAbsentTopicSeesNone(t *testing.T) {
	b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response { return answerMeta(r, 3) })
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
	op := metaOp(history.MetaDescribe)
	c.Do(t.Context(), op)
	if op.Outcome != history.OK || op.Meta.Exists || op.Meta.TopicID != "" {
		t.Errorf("%q, %+v; want ok and no topic", op.Outcome, op.Meta)
	}
}

func TestConfigReadOfADefaultIsUnset(t *testing.T) {
	b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
		resp := answerMeta(r, 0).(*kmsg.DescribeConfigsResponse)
		resp.Resources[0].Configs[0].Source = kmsg.ConfigSourceDefaultConfig
		return resp
	})
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
	op := metaOp(history.MetaRead)
	op.Meta.Value = ""
	c.Do(t.Context(), op)
	if op.Outcome != history.OK || op.Meta.Value != "" {
		t.Errorf("%q, value %q; want ok and unset", op.Outcome, op.Meta.Value)
	}
}

func TestMetaWhenTheNodeFails(t *testing.T) {
	t.Run("refused connection is surely without effect", func(t *testing.T) {
		c := newClients(t, Config{Addrs: map[int32]string{1: closedPort(t)}})
		op := metaOp(history.MetaCreate)
		c.Do(t.Context(), op)
		if op.Outcome != history.Failed {
			t.Errorf("%q (%s), want failed", op.Outcome, op.Error)
		}
	})
	t.Run("unknown node is surely without effect", func(t *testing.T) {
		c := newClients(t, Config{Addrs: map[int32]string{2: closedPort(t)}})
		op := metaOp(history.MetaCreate)
		c.Do(t.Context(), op)
		if op.Outcome != history.Failed || !strings.Contains(op.Error, "node 1") {
			t.Errorf("%q (%s), want failed, naming node 1", op.Outcome, op.Error)
		}
	})
	t.Run("connection dropped with the request in hand is unknown, and not asked again", func(t *testing.T) {
		b := newFakeBroker(t, func(kmsg.Request) kmsg.Response { return nil })
		c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
		op := metaOp(history.MetaDelete)
		c.Do(t.Context(), op)
		if op.Outcome != history.Unknown {
			t.Errorf("%q (%s), want unknown", op.Outcome, op.Error)
		}
		if n := len(askedFor[kmsg.Request](b)); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
	t.Run("no answer in time is unknown", func(t *testing.T) {
		var b *fakeBroker
		b = newFakeBroker(t, func(kmsg.Request) kmsg.Response { <-b.hang; return nil })
		c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}, Timeout: 50 * time.Millisecond})
		op := metaOp(history.MetaDelete)
		c.Do(t.Context(), op)
		if op.Outcome != history.Unknown {
			t.Errorf("%q (%s), want unknown", op.Outcome, op.Error)
		}
		if want := "awaiting the answer to DeleteTopics: read tcp " + b.addr() + ": i/o timeout"; op.Error != want {
			t.Errorf("error %q, want %q", op.Error, want)
		}
	})
	t.Run("an answer about something else is unknown", func(t *testing.T) {
		b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response {
			resp := answerMeta(r, 0).(*kmsg.DeleteTopicsResponse)
			resp.Topics[0].Topic = new("other")
			return resp
		})
		c := newClients(t, Config{Addrs: map[int32]string{1: b.addr()}})
		op := metaOp(history.MetaDelete)
		c.Do(t.Context(), op)
		if op.Outcome != history.Unknown {
			t.Errorf("%q (%s), want unknown", op.Outcome, op.Error)
		}
	})
}

func TestOpenNodeIsChosenByTheOperation(t *testing.T) {
	b := newFakeBroker(t, func(r kmsg.Request) kmsg.Response { return answerMeta(r, 0) })
	c := newClients(t, Config{Addrs: map[int32]string{1: b.addr(), 2: b.addr(), 3: b.addr()}})
	seen := map[int32]bool{}
	for i := range 20 {
		one, two := metaOp(history.MetaDescribe), metaOp(history.MetaDescribe)
		one.ID, one.Node = fmt.Sprint("m", i), 0
		two.ID, two.Node = one.ID, 0
		c.Do(t.Context(), one)
		c.Do(t.Context(), two)
		if one.Node != two.Node || one.Node < 1 || one.Node > 3 {
			t.Fatalf("operation %s went to n%d and n%d", one.ID, one.Node, two.Node)
		}
		seen[one.Node] = true
	}
	if len(seen) != 3 {
		t.Errorf("only nodes %v were chosen", seen)
	}
}
