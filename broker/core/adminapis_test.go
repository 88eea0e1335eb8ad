package core

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/history"
)

func partitionsOf(c *testCluster, topic string) int {
	return len(c.nodes[c.leader()].core.state.Topic(topic).Partitions)
}

func createPartitions(c *testCluster, id int32, validate bool, topics ...kmsg.CreatePartitionsRequestTopic) []int16 {
	c.t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Version, req.Topics, req.ValidateOnly = 3, topics, validate
	var codes []int16
	for _, t := range call[*kmsg.CreatePartitionsResponse](c, id, req).Topics {
		codes = append(codes, t.ErrorCode)
	}
	return codes
}

func more(topic string, count int32, assignment ...[]int32) kmsg.CreatePartitionsRequestTopic {
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, count
	for _, replicas := range assignment {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = replicas
		t.Assignment = append(t.Assignment, a)
	}
	return t
}

func TestCreatePartitionsThroughAnyNode(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 2)
	want := int32(2)
	for id := int32(1); id <= 3; id++ {
		want += 2
		if codes := createPartitions(c, id, false, more("orders", want)); !slices.Equal(codes, []int16{errNone}) {
			t.Fatalf("through n%d: codes %v", id, codes)
		}
		for other := int32(1); other <= 3; other++ {
			if r := describe(c, other, "orders"); len(r.Topics[0].Partitions) != int(want) {
				t.Errorf("n%d sees %d partitions, want %d", other, len(r.Topics[0].Partitions), want)
			}
		}
	}
	// The new ones take records, on all replicas.
	p := c.nodes[1].core.state.Topic("orders").Partitions[7]
	req := produceRequest("orders", -1, 3*time.Second, "a")
	req.Topics[0].Partitions[0].Partition = 7
	if r := call[*kmsg.ProduceResponse](c, p.Leader, req); r.Topics[0].Partitions[0].ErrorCode != errNone {
		t.Errorf("produce to orders-7: code %d", r.Topics[0].Partitions[0].ErrorCode)
	}
	// And a node that is restarted knows them from its log.
	c.kill(2)
	c.start(2)
	c.waitReady()
	if n := partitionsOf(c, "orders"); n != 8 {
		t.Errorf("%d partitions", n)
	}
	noForeignProposals(t, c)
}

func TestCreatePartitionsErrors(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 2)
	for _, tc := range []struct {
		name string
		ask  []kmsg.CreatePartitionsRequestTopic
		want []int16
	}{
		{"as many", []kmsg.CreatePartitionsRequestTopic{more("orders", 2)}, []int16{errInvalidPartitions}},
		{"fewer", []kmsg.CreatePartitionsRequestTopic{more("orders", -1)}, []int16{errInvalidPartitions}},
		{"too many", []kmsg.CreatePartitionsRequestTopic{more("orders", 1001)}, []int16{errInvalidPartitions}},
		{"unknown topic beside a known one", []kmsg.CreatePartitionsRequestTopic{more("nothing", 3), more("orders", 3)}, []int16{errUnknownTopicOrPartition, errNone}},
		{"internal", []kmsg.CreatePartitionsRequestTopic{more(MetaTopic, 3)}, []int16{errInvalidTopic}},
		{"twice", []kmsg.CreatePartitionsRequestTopic{more("orders", 4), more("orders", 5)}, []int16{errInvalidRequest, errInvalidRequest}},
		{"too few assignments", []kmsg.CreatePartitionsRequestTopic{more("orders", 5, []int32{1, 2, 3})}, []int16{errInvalidAssignment}},
		{"another replication factor", []kmsg.CreatePartitionsRequestTopic{more("orders", 4, []int32{1, 2})}, []int16{errInvalidAssignment}},
		{"a broker twice", []kmsg.CreatePartitionsRequestTopic{more("orders", 4, []int32{1, 2, 2})}, []int16{errInvalidAssignment}},
		{"an unknown broker", []kmsg.CreatePartitionsRequestTopic{more("orders", 4, []int32{1, 2, 9})}, []int16{errInvalidAssignment}},
		{"an assignment", []kmsg.CreatePartitionsRequestTopic{more("orders", 4, []int32{3, 1, 2})}, []int16{errNone}},
		{"none", nil, nil},
	} {
		if got := createPartitions(c, 2, false, tc.ask...); !slices.Equal(got, tc.want) {
			t.Errorf("%s: codes %v, want %v", tc.name, got, tc.want)
		}
	}
	if p := c.nodes[c.leader()].core.state.Topic("orders").Partitions; len(p) != 4 || !slices.Equal(p[3].Replicas, []int32{3, 1, 2}) {
		t.Errorf("%d partitions, the last on %v", len(p), p[len(p)-1].Replicas)
	}
	if got := createPartitions(c, 1, true, more("orders", 9)); !slices.Equal(got, []int16{errNone}) || partitionsOf(c, "orders") != 4 {
		t.Errorf("to be validated alone: codes %v, %d partitions", got, partitionsOf(c, "orders"))
	}
}

// Of two requests at one instant for the same count one is carried out: the other finds the topic changed.
func TestCreatePartitionsIsCompareAndSet(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 1)
	c.run(time.Second)
	var codes []int16
	for id := int32(1); id <= 2; id++ {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Version, req.Topics = 3, []kmsg.CreatePartitionsRequestTopic{more("orders", 3)}
		c.ask(id, req, func(r kmsg.Response) {
			codes = append(codes, r.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode)
		})
	}
	c.until(5*time.Second, "both are answered", func() bool { return len(codes) == 2 })
	slices.Sort(codes)
	if !slices.Equal(codes, []int16{errNone, errInvalidPartitions}) || partitionsOf(c, "orders") != 3 {
		t.Errorf("codes %v, %d partitions", codes, partitionsOf(c, "orders"))
	}
}

func electLeaders(c *testCluster, id int32, kind int8, topic string, partitions ...int32) *kmsg.ElectLeadersResponse {
	c.t.Helper()
	req := kmsg.NewPtrElectLeadersRequest()
	req.Version, req.ElectionType = 2, kind
	if topic != "" {
		t := kmsg.NewElectLeadersRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
	}
	return call[*kmsg.ElectLeadersResponse](c, id, req)
}

func TestElectLeadersElectsThePreferred(t *testing.T) {
	c := newTestCluster(t, 0, func(x *Config) { x.ElectionInterval = time.Minute }) // no rebalance comes between
	c.waitReady()
	createTopic(c, 1, "orders", 6) // the controller leads all of them
	lead := c.leader()
	state := c.nodes[lead].core.state
	via := lead%3 + 1
	var away int32 = -1
	for i, p := range state.Topic("orders").Partitions {
		if p.Leader != lead {
			t.Fatalf("orders-%d is led by n%d, not by the controller", i, p.Leader)
		}
		if p.Replicas[0] != lead {
			away = int32(i)
		}
	}
	r := electLeaders(c, via, electPreferred, "orders", away, away, 17)
	var codes []int16
	for _, p := range r.Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	if !slices.Equal(codes, []int16{errNone, errPreferredUnavailable, errUnknownTopicOrPartition}) {
		t.Errorf("codes %v", codes)
	}
	if p := state.Topic("orders").Partitions[away]; p.Leader != p.Replicas[0] || p.LeaderEpoch != 1 {
		t.Errorf("orders-%d: leader n%d in epoch %d, replicas %v", away, p.Leader, p.LeaderEpoch, p.Replicas)
	}
	if r := electLeaders(c, via, electPreferred, "orders", away); r.Topics[0].Partitions[0].ErrorCode != errElectionNotNeeded {
		t.Errorf("again: code %d", r.Topics[0].Partitions[0].ErrorCode)
	}
	if r := electLeaders(c, via, 1, "orders", away); r.ErrorCode != errInvalidRequest {
		t.Errorf("unclean: code %d", r.ErrorCode)
	}
	// All partitions: those that need it are in the answer, and no others.
	need := 0
	for _, t := range state.Topics {
		for _, p := range t.Partitions {
			if p.Leader != p.Replicas[0] {
				need++
			}
		}
	}
	answered := 0
	for _, rt := range electLeaders(c, via, electPreferred, "").Topics {
		for _, p := range rt.Partitions {
			answered++
			if p.ErrorCode != errNone {
				t.Errorf("%s-%d: code %d", rt.Topic, p.Partition, p.ErrorCode)
			}
		}
	}
	if need == 0 || answered != need {
		t.Errorf("%d partitions were answered, %d needed an election", answered, need)
	}
	for _, topic := range state.Topics {
		for i, p := range topic.Partitions {
			if p.Leader != p.Replicas[0] {
				t.Errorf("%s-%d is led by n%d, replicas %v", topic.Name, i, p.Leader, p.Replicas)
			}
		}
	}
	for _, e := range c.events {
		if a, ok := e.Body.(*history.Apply); ok && a.Cause == "elect_leaders" && a.Via != via {
			t.Errorf("entry %d came through n%d, the client asked n%d", a.Index, a.Via, via)
		}
	}
	noForeignProposals(t, c)
}

func TestElectLeadersNeedsTheReplica(t *testing.T) {
	c := newTestCluster(t, 0, func(x *Config) { x.ElectionInterval, x.SessionTimeout = time.Minute, time.Second })
	c.waitReady()
	createTopic(c, 1, "orders", 3)
	lead := c.leader()
	gone := lead%3 + 1
	c.kill(gone)
	c.run(2 * time.Second)
	for i, p := range c.nodes[lead].core.state.Topic("orders").Partitions {
		if p.Replicas[0] != gone {
			continue
		}
		if r := electLeaders(c, lead, electPreferred, "orders", int32(i)); r.Topics[0].Partitions[0].ErrorCode != errPreferredUnavailable {
			t.Errorf("n%d is dead: code %d", gone, r.Topics[0].Partitions[0].ErrorCode)
		}
		return
	}
	t.Errorf("n%d is preferred nowhere", gone)
}

func TestDescribeCluster(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	for id := int32(1); id <= 3; id++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version, req.EndpointType = 1, endpointBrokers
		r := call[*kmsg.DescribeClusterResponse](c, id, req)
		if r.ErrorCode != errNone || r.ControllerID != c.leader() || len(r.Brokers) != 3 || r.ClusterID != *describe(c, id, "x").ClusterID {
			t.Errorf("n%d: %+v", id, r)
		}
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 1, 2
	if r := call[*kmsg.DescribeClusterResponse](c, 1, req); r.ErrorCode != errUnsupportedEndpoint || len(r.Brokers) != 0 {
		t.Errorf("controllers: %+v", r)
	}
	// What cannot be confirmed is not answered with brokers.
	c.cut[[2]int32{1, 2}], c.cut[[2]int32{2, 1}], c.cut[[2]int32{1, 3}], c.cut[[2]int32{3, 1}] = true, true, true, true
	req = kmsg.NewPtrDescribeClusterRequest()
	if r := call[*kmsg.DescribeClusterResponse](c, 1, req); r.ErrorCode != errRequestTimedOut || len(r.Brokers) != 0 {
		t.Errorf("cut off: %+v", r)
	}
}

// AlterConfigs sets what it names, and takes everything else back to its default.
func TestAlterConfigsReplaces(t *testing.T) {
	c := newTestCluster(t, 0, nil)
	c.waitReady()
	createTopic(c, 1, "orders", 1)
	alter := func(topic string, pairs ...string) int16 {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Version = 2
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
		for i := 0; i < len(pairs); i += 2 {
			kv := kmsg.NewAlterConfigsRequestResourceConfig()
			kv.Name, kv.Value = pairs[i], &pairs[i+1]
			r.Configs = append(r.Configs, kv)
		}
		req.Resources = append(req.Resources, r)
		return call[*kmsg.AlterConfigsResponse](c, c.leader()%3+1, req).Resources[0].ErrorCode
	}
	set := func() (out []string) {
		for _, kv := range c.nodes[c.leader()].core.state.Topic("orders").Configs {
			out = append(out, kv.Key+"="+kv.Value)
		}
		return out
	}
	for _, step := range []struct {
		topic string
		pairs []string
		code  int16
		want  []string
	}{
		{"orders", []string{"retention.ms", "5000", "min.insync.replicas", "3"}, errNone, []string{"min.insync.replicas=3", "retention.ms=5000"}},
		{"orders", []string{"retention.ms", "6000"}, errNone, []string{"retention.ms=6000"}},
		{"orders", []string{"no.such.key", "1"}, errInvalidConfig, []string{"retention.ms=6000"}},
		{"nothing", nil, errUnknownTopicOrPartition, []string{"retention.ms=6000"}},
		{"orders", nil, errNone, nil},
	} {
		if code := alter(step.topic, step.pairs...); code != step.code || !slices.Equal(set(), step.want) {
			t.Errorf("%s %v: code %d, want %d; now %v, want %v", step.topic, step.pairs, code, step.code, set(), step.want)
		}
	}
}
