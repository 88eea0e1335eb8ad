package history

import "testing"

func TestFaultWords(t *testing.T) {
	for want, f := range map[string]Fault{
		"kill of n3 (partition-leader)":              {Kind: "kill", Target: "partition-leader", Nodes: []int32{3}},
		"kill of partition-leader":                   {Kind: "kill", Target: "partition-leader"},
		"pause of n2":                                {Kind: "pause", Target: "n2", Nodes: []int32{2}},
		"restart-all of n1, n2, n3 (all)":            {Kind: "restart-all", Target: "all", Nodes: []int32{1, 2, 3}},
		"partition of n1 (raft-leader), clients too": {Kind: "partition", Target: "raft-leader", Nodes: []int32{1}, Clients: true},
		"partition of n1":                            {Kind: "partition", Nodes: []int32{1}},
		"pause":                                      {Kind: "pause"},
	} {
		if got := f.Words(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A sentence names the roles of targets in plain words, and no node twice.
func TestFaultPlain(t *testing.T) {
	for want, f := range map[string]Fault{
		"kill of n3 (the leader of a partition)":         {Kind: "kill", Target: "partition-leader", Nodes: []int32{3}},
		"kill of n3 (the leader of orders-0)":            {Kind: "kill", Target: "leader(orders-0)", Nodes: []int32{3}},
		"kill of the raft leader":                        {Kind: "kill", Target: "raft-leader"},
		"pause of n2":                                    {Kind: "pause", Target: "n2", Nodes: []int32{2}},
		"pause of n1, n2":                                {Kind: "pause", Target: "n1+n2", Nodes: []int32{1, 2}},
		"partition of n1 (a raft follower), clients too": {Kind: "partition", Target: "follower", Nodes: []int32{1}, Clients: true},
		"crash of produce-1":                             {Kind: "crash", Target: "produce-1"},
	} {
		if got := f.Plain(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
