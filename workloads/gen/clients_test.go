package gen

import "testing"

func TestClientNames(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   string
		number int
		ok     bool
	}{
		{"clients", AllClients, 0, true}, {"autocreate", AutocreateClient, 0, true}, {"produce-2", ProducerClient, 2, true},
		{"metadata-11", MetadataClient, 11, true}, {"consume-1", ConsumerClient, 1, true},
		{"produce", "", 0, false}, {"produce-0", "", 0, false}, {"produce-02", "", 0, false}, {"ready-1", "ready", 1, false}, {"setup", "", 0, false}, {"", "", 0, false},
	} {
		kind, number, ok := ParseClient(c.name)
		if ok != c.ok || ok && (kind != c.kind || number != c.number) {
			t.Errorf("%q: %q, %d, %v", c.name, kind, number, ok)
		}
	}
	for _, c := range []struct {
		who, client string
		meant       bool
	}{
		{"clients", "produce-1", true}, {"clients", "autocreate", true}, {"clients", "ready-1", false}, {"clients", "setup", false},
		{"produce-1", "produce-1", true}, {"produce-1", "produce-11", false},
	} {
		if Meant(c.who, c.client) != c.meant {
			t.Errorf("%q means %q: %v", c.who, c.client, !c.meant)
		}
	}
}

// TestACrashedProducerIsAnother: nothing is asked of it while it is down, and it comes back with the next incarnation and sequences from 0.
func TestACrashedProducerIsAnother(t *testing.T) {
	p, err := NewProduce(ProduceConfig{Topics: []Topic{{"orders", 1}}, Rate: 20, Producers: 2, Batch: 2, Start: 1})
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1)
	next := func() map[string]string {
		got := map[string]string{}
		for range 2 {
			ops, wake := p.Next(now)
			for _, op := range ops {
				q := op.Produce
				if q.Incarnation == 1 && q.FirstSeq == 0 {
					got[op.Client] = "first"
				} else if q.Incarnation == 2 && q.FirstSeq == 0 {
					got[op.Client] = "new"
				} else {
					got[op.Client] = "goes on"
				}
				p.Done(now, op)
			}
			now = wake
		}
		return got
	}
	for i, want := range []map[string]string{
		{"produce-1": "first", "produce-2": "first"}, {"produce-2": "goes on"}, {"produce-1": "new", "produce-2": "goes on"}, {"produce-1": "goes on", "produce-2": "goes on"},
	} {
		switch i {
		case 1:
			p.Crash("produce-1")
		case 2:
			p.Restart("produce-1")
		}
		got := next()
		for _, client := range []string{"produce-1", "produce-2"} {
			if got[client] != want[client] {
				t.Errorf("round %d: %s %q, want %q", i, client, got[client], want[client])
			}
		}
	}
}
