package core

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/api"
)

// onApiVersions answers ApiVersions v0 to v4 from the table of package api.
func (n *Node) onApiVersions(rq *request, req *kmsg.ApiVersionsRequest) {
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	for _, v := range api.Versions {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = v.Key, v.Min, v.Max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	n.reply(rq, resp)
}
