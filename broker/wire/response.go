package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/api"
	"soak/broker/core"
)

// AppendResponse appends the whole frame of an answer, length prefix included, and returns the extended slice; nothing for
// an answer without a body (acks=0). The answer's version must be that of its request.
//
// ApiVersions is answered under header version 0 whatever its own version, because the client cannot know yet what
// the broker speaks (KIP-511); other flexible answers have header version 1, with tagged fields.
func AppendResponse(buf []byte, r *core.Response) []byte {
	resp := r.Kmsg
	if resp == nil {
		return buf
	}
	versions := resp.Key() == int16(kmsg.ApiVersions)
	if versions && !api.Supported(resp.Key(), resp.GetVersion()) {
		resp = api.Response(resp.GetVersion())
	}
	if r.Op != "" && r.Index != 0 {
		setIndex(resp, r.Index)
	}
	start := len(buf)
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(r.Corr))
	if resp.IsFlexible() && !versions {
		buf = append(buf, 0) // no tagged fields in the header
	}
	buf = resp.AppendTo(buf)
	binary.BigEndian.PutUint32(buf[start:], uint32(len(buf)-start-4))
	return buf
}
