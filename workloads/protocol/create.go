package protocol

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

// CreateRequest is one Produce with one record to a topic that does not exist yet, which creates it; timeout is how long the client
// waits. Version 9: 12 is the last that names topics.
func CreateRequest(op *history.Operation, timeout time.Duration) kmsg.Request {
	req := produceTo(op.Create.Topic, 0, -1, timeout, AppendBatch(nil, op.Invoke/int64(time.Millisecond), []byte(op.ID)))
	tagged(&req.UnknownTags, op)
	return req
}

// CreateAnswer takes the answer to CreateRequest. Any is ok: a node that does not lead the new partition says so, and has created
// the topic all the same.
func CreateAnswer(op *history.Operation, resp kmsg.Response) {
	code, ok := produced(resp)
	if !ok {
		Settle(op, history.Unknown, ErrNotAnswered)
		return
	}
	Settle(op, history.OK, nil)
	op.Error = CodeName(code)
}

// CreateByMetadataRequest is what kafka-go's Writer asks first of a topic that it does not know: Metadata that creates it, in the
// version that kafka-go speaks, which has no tags.
func CreateByMetadataRequest(op *history.Operation) kmsg.Request {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(8)
	req.AllowAutoTopicCreation = true
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = new(op.Create.Topic)
	req.Topics = append(req.Topics, t)
	return req
}

// CreatedLeader is the leader of the new topic's first partition, as the answer to CreateByMetadataRequest has it: a *BrokerError if
// there is none yet.
func CreatedLeader(op *history.Operation, resp kmsg.Response) (int32, error) {
	m, ok := resp.(*kmsg.MetadataResponse)
	if !ok {
		return 0, ErrNotAnswered
	}
	for i := range m.Topics {
		rt := &m.Topics[i]
		if rt.Topic == nil || *rt.Topic != op.Create.Topic {
			continue
		}
		if rt.ErrorCode != CodeNone {
			return 0, &BrokerError{rt.ErrorCode}
		}
		for j := range rt.Partitions {
			if rp := &rt.Partitions[j]; rp.Partition == 0 {
				if rp.Leader < 0 {
					return 0, &BrokerError{CodeLeaderNotAvailable}
				}
				return rp.Leader, nil
			}
		}
	}
	return 0, ErrNotAnswered
}

// CreateByWriterRequest is the Produce with which a Writer goes on at the new topic's leader.
func CreateByWriterRequest(op *history.Operation, now int64, timeout time.Duration) kmsg.Request {
	return produceTo(op.Create.Topic, 0, -1, timeout, AppendBatch(nil, now/int64(time.Millisecond), []byte(op.ID)))
}

// CreateByWriterAnswer takes the answer to CreateByWriterRequest: nil if the record was written, and then the operation is settled.
func CreateByWriterAnswer(op *history.Operation, resp kmsg.Response) error {
	code, ok := produced(resp)
	switch {
	case !ok:
		return ErrNotAnswered
	case code != CodeNone:
		return &BrokerError{code}
	}
	Settle(op, history.OK, nil)
	return nil
}
