package core

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs (key 33), versions 0 to 2: a topic's configuration becomes what the request says, and all else its default. It is the older way;
// IncrementalAlterConfigs (KIP-339) changes what it names alone.

// onClientSetConfigs passes AlterConfigs on to the controller.
func (n *Node) onClientSetConfigs(rq *request, req *kmsg.AlterConfigsRequest) {
	n.passOn(rq, "alter_configs", func(code int16) {
		resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
		for _, q := range req.Resources {
			rr := kmsg.NewAlterConfigsResponseResource()
			rr.ResourceType, rr.ResourceName, rr.ErrorCode = q.ResourceType, q.ResourceName, code
			resp.Resources = append(resp.Resources, rr)
		}
		n.reply(rq, resp)
	})
}

// onSetConfigs is the controller's part: an incremental change that removes every key that is not set.
func (n *Node) onSetConfigs(req *kmsg.AlterConfigsRequest, info ctlInfo, done func(ctlResult)) {
	change := kmsg.NewPtrIncrementalAlterConfigsRequest()
	change.ValidateOnly = req.ValidateOnly
	for _, q := range req.Resources {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = q.ResourceType, q.ResourceName
		set := map[string]bool{} // looked up, never ranged over
		for _, c := range q.Configs {
			if c.Value == nil {
				continue // the default
			}
			set[c.Name] = true
			r.Configs = append(r.Configs, configChange(c.Name, c.Value, configSet))
		}
		for _, c := range topicConfigs {
			if !set[c.key] {
				r.Configs = append(r.Configs, configChange(c.key, nil, configDelete))
			}
		}
		change.Resources = append(change.Resources, r)
	}
	n.onAlterConfigs(change, info, func(r ctlResult) {
		changed, ok := r.resp.(*kmsg.IncrementalAlterConfigsResponse)
		if !ok {
			done(r)
			return
		}
		resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
		for _, c := range changed.Resources {
			rr := kmsg.NewAlterConfigsResponseResource()
			rr.ResourceType, rr.ResourceName, rr.ErrorCode, rr.ErrorMessage = c.ResourceType, c.ResourceName, c.ErrorCode, c.ErrorMessage
			resp.Resources = append(resp.Resources, rr)
		}
		r.resp = resp
		done(r)
	})
}

func configChange(key string, value *string, op int8) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value, c.Op = key, value, kmsg.IncrementalAlterConfigOp(op)
	return c
}
