package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Tagged fields (KIP-482) that Soak's workloads and broker put at the top level of a flexible body. Kafka's own
// tags are small numbers, and whoever does not know these skips them.
const (
	// OpTag, in a request: the id of the client operation, at most MaxOp bytes.
	OpTag = 10001
	// IndexTag, in the answer to a request with an OpTag: the raft index that the answer rests on, 8 bytes, big endian.
	IndexTag = 10002
	// MaxOp is the longest operation id; a longer one is ignored.
	MaxOp = 128
)

func opOf(req kmsg.Request) string {
	tags := requestTags(req)
	if tags == nil || !req.IsFlexible() {
		return ""
	}
	var op string
	tags.Each(func(tag uint32, v []byte) {
		if tag == OpTag && len(v) <= MaxOp {
			op = string(v)
		}
	})
	return op
}

// setIndex adds the echo to a response. Responses that are not flexible, or of a kind that carries no operation, stay as they are.
func setIndex(resp kmsg.Response, index uint64) {
	if tags := responseTags(resp); tags != nil && resp.IsFlexible() {
		tags.Set(IndexTag, binary.BigEndian.AppendUint64(nil, index))
	}
}

func requestTags(req kmsg.Request) *kmsg.Tags {
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		return &r.UnknownTags
	case *kmsg.FetchRequest:
		return &r.UnknownTags
	case *kmsg.ListOffsetsRequest:
		return &r.UnknownTags
	case *kmsg.MetadataRequest:
		return &r.UnknownTags
	case *kmsg.CreateTopicsRequest:
		return &r.UnknownTags
	case *kmsg.DeleteTopicsRequest:
		return &r.UnknownTags
	case *kmsg.OffsetForLeaderEpochRequest:
		return &r.UnknownTags
	case *kmsg.DescribeConfigsRequest:
		return &r.UnknownTags
	case *kmsg.IncrementalAlterConfigsRequest:
		return &r.UnknownTags
	}
	return nil // ApiVersions: sent before anything is known of the broker, so by no operation
}

func responseTags(resp kmsg.Response) *kmsg.Tags {
	switch r := resp.(type) {
	case *kmsg.ProduceResponse:
		return &r.UnknownTags
	case *kmsg.FetchResponse:
		return &r.UnknownTags
	case *kmsg.ListOffsetsResponse:
		return &r.UnknownTags
	case *kmsg.MetadataResponse:
		return &r.UnknownTags
	case *kmsg.CreateTopicsResponse:
		return &r.UnknownTags
	case *kmsg.DeleteTopicsResponse:
		return &r.UnknownTags
	case *kmsg.OffsetForLeaderEpochResponse:
		return &r.UnknownTags
	case *kmsg.DescribeConfigsResponse:
		return &r.UnknownTags
	case *kmsg.IncrementalAlterConfigsResponse:
		return &r.UnknownTags
	}
	return nil
}
