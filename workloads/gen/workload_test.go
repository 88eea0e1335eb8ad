package gen

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"soak/history"
)

const (
	second = int64(1_000_000_000)
	begin  = 1000 * second
)

// generator is what the workloads have in common.
type generator interface {
	Next(now int64) ([]*history.Operation, int64)
	Done(now int64, op *history.Operation)
}

// drive runs a generator for a length of virtual time. answer sets an operation's outcome and says how long it takes.
func drive(g generator, length int64, answer func(op *history.Operation) int64) []*history.Operation {
	type flight struct {
		at int64
		op *history.Operation
	}
	var all []*history.Operation
	var flying []flight
	for now := begin; now < begin+length; {
		ops, wake := g.Next(now)
		for _, op := range ops {
			all = append(all, op)
			flying = append(flying, flight{now + answer(op), op})
		}
		slices.SortStableFunc(flying, func(a, b flight) int { return int(a.at - b.at) })
		now = max(now+1, wake)
		if len(flying) > 0 && flying[0].at < now {
			now = flying[0].at
			flying[0].op.Complete = now
			g.Done(now, flying[0].op)
			flying = flying[1:]
		}
	}
	return all
}

func ok(op *history.Operation) int64 {
	op.Outcome = history.OK
	return 5_000_000
}

func mustProduce(t testing.TB, c ProduceConfig) *Produce {
	t.Helper()
	p, err := NewProduce(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProduceIsDenseAtItsRate(t *testing.T) {
	p := mustProduce(t, ProduceConfig{Topics: []Topic{{"orders", 3}, {"payments", 2}}, Rate: 500, Producers: 3, Batch: 5, Start: begin})
	ends := map[string]int64{}
	acked := map[string]int64{}
	ops := drive(p, 10*second, func(op *history.Operation) int64 {
		key := fmt.Sprint(op.Produce.Topic, op.Produce.Partition)
		if want, seen := acked[key]; seen && op.Produce.Acked != want || !seen && op.Produce.Acked != -1 {
			t.Fatalf("%s says that %d is acknowledged, want %d (seen %t)", op.ID, op.Produce.Acked, want, seen)
		}
		// Answered before anything else is asked of that partition.
		for range op.Produce.Count {
			op.Produce.Offsets = append(op.Produce.Offsets, ends[key])
			acked[key] = ends[key]
			ends[key]++
		}
		return ok(op)
	})
	if records := len(ops) * 5; records != 5000 || p.Missed() != (Missed{}) {
		t.Errorf("%d records in 10 s at 500 a second, missed %+v", records, p.Missed())
	}
	next := map[string]uint64{}
	ids := map[string]bool{}
	for _, op := range ops {
		o := op.Produce
		key := fmt.Sprint(o.Producer, o.Topic, o.Partition)
		if o.FirstSeq != next[key] {
			t.Fatalf("%s begins at sequence %d, want %d", op.ID, o.FirstSeq, next[key])
		}
		next[key] += uint64(o.Count)
		if ids[op.ID] || op.Invoke == 0 || o.Acks != -1 || o.Incarnation == 0 {
			t.Fatalf("bad operation %+v %+v", op, o)
		}
		ids[op.ID] = true
	}
	if len(next) != 3*5 {
		t.Errorf("%d pairs of producer and partition were used, want every one of 15", len(next))
	}
}

// Of four producers three are idempotent, and come back as new incarnations, at different times, with sequences from 0; the fourth stays as it is.
func TestIdempotentProducersComeAndGo(t *testing.T) {
	p := mustProduce(t, ProduceConfig{
		Topics: []Topic{{"orders", 2}}, Rate: 100, Producers: 4, Batch: 1, Start: begin, Idempotent: true, Lifetime: 3 * second,
	})
	type life struct{ producer, incarnation uint32 }
	next := map[string]uint64{}
	first := map[life]int64{}
	for _, op := range drive(p, 10*second, ok) {
		o := op.Produce
		if o.Idempotent != (o.Producer != 4) || o.Producer == 4 && o.Incarnation != 1 {
			t.Fatalf("%s of producer %d: idempotent %v, incarnation %d", op.ID, o.Producer, o.Idempotent, o.Incarnation)
		}
		key := fmt.Sprint(o.Producer, o.Incarnation, o.Partition)
		if o.FirstSeq != next[key] {
			t.Fatalf("%s (producer, incarnation, partition %s) has sequence %d, want %d", op.ID, key, o.FirstSeq, next[key])
		}
		next[key]++
		if l := (life{o.Producer, o.Incarnation}); first[l] == 0 {
			first[l] = op.Invoke
		}
	}
	begun := map[int64]uint32{}
	for l, at := range first {
		if l.producer != 4 && l.incarnation == 2 {
			if other, taken := begun[at/second]; taken {
				t.Errorf("producers %d and %d came back in the same second", other, l.producer)
			}
			begun[at/second] = l.producer
		}
	}
	if len(first) < 10 || len(begun) != 3 {
		t.Errorf("%d lives of producers in 10 s, %d second ones", len(first), len(begun))
	}
	if plain := mustProduce(t, ProduceConfig{Topics: []Topic{{"orders", 2}}, Rate: 100, Producers: 4, Batch: 1, Start: begin, Lifetime: 3 * second}); plain != nil {
		for _, op := range drive(plain, 5*second, ok) {
			if op.Produce.Idempotent || op.Produce.Incarnation != 1 {
				t.Fatalf("a plain producer: %+v", op.Produce)
			}
		}
	}
}

func TestProduceNeverStopsAndStaysBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := NewProduce(ProduceConfig{Topics: []Topic{{"orders", 4}}, Rate: 1000, Producers: 2, Batch: 2, Start: begin})
		if err != nil {
			t.Fatal(err)
		}
		now := begin
		var flying []*history.Operation
		slots := int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.Int64Range(0, 50_000_000).Draw(t, "pass")
			ops, wake := p.Next(now)
			slots += int64(len(ops))
			if wake <= now {
				t.Fatalf("asked to be woken %d ns ago", now-wake)
			}
			flying = append(flying, ops...)
			for n := rapid.IntRange(0, len(flying)).Draw(t, "answers"); n > 0; n-- {
				op := flying[0]
				flying = flying[1:]
				op.Outcome = rapid.SampledFrom([]history.Outcome{history.OK, history.Failed, history.Unknown}).Draw(t, "outcome")
				p.Done(now, op)
				p.Done(now, op) // a second answer changes nothing
			}
			perPart := map[string]int{}
			perProducer := map[uint32]int{}
			for _, op := range flying {
				perPart[fmt.Sprint(op.Produce.Producer, op.Produce.Partition)]++
				perProducer[op.Produce.Producer]++
				if perPart[fmt.Sprint(op.Produce.Producer, op.Produce.Partition)] > inFlightPerPartition || perProducer[op.Produce.Producer] > inFlightPerProducer {
					t.Fatal("too many under way")
				}
			}
			if p.InFlight() != len(flying) {
				t.Fatalf("%d under way, says %d", len(flying), p.InFlight())
			}
		}
		// Every slot since the start was either sent or counted as missed.
		if want := (now-begin)/2_000_000 + 1; slots+p.Missed().Ops != want {
			t.Fatalf("%d sent and %d missed of %d slots", slots, p.Missed().Ops, want)
		}
	})
}

// TestDeadPartitionDoesNotStopTheOthers: one partition never answers within the time-out.
func TestDeadPartitionDoesNotStopTheOthers(t *testing.T) {
	p := mustProduce(t, ProduceConfig{Topics: []Topic{{"orders", 6}}, Rate: 500, Producers: 4, Batch: 5, Start: begin})
	live := 0
	drive(p, 20*second, func(op *history.Operation) int64 {
		if op.Produce.Partition == 0 {
			op.Outcome = history.Unknown
			return 3 * second
		}
		live++
		return ok(op)
	})
	if want := 20 * 100 * 5 / 6; live < want-6 {
		t.Errorf("%d operations to the living partitions, want %d", live, want)
	}
	if p.Missed().Ops == 0 {
		t.Error("the dead partition's missed slots were not counted")
	}
}

func mustMetadata(t testing.TB) *Metadata {
	t.Helper()
	m, err := NewMetadata(MetadataConfig{Seed: 3, Nodes: 3, Rate: 20, Clients: 6, Names: 2, Replication: 3, Start: begin})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMetadataOverlapsAndSpreads(t *testing.T) {
	m := mustMetadata(t)
	ops := drive(m, 60*second, ok)
	if len(ops) < 1190 || m.Missed().Ops != 0 {
		t.Fatalf("%d operations in a minute at 20 a second, missed %+v", len(ops), m.Missed())
	}
	byName, byNode, byKind := map[string]int{}, map[int32]int{}, map[string]int{}
	values := map[string]bool{}
	for i, op := range ops {
		byName[op.Meta.Name]++
		byNode[op.Node]++
		byKind[op.Meta.Kind]++
		if op.Meta.Kind == history.MetaWrite {
			if values[op.Meta.Value] {
				t.Errorf("%s writes %s again", op.ID, op.Meta.Value)
			}
			values[op.Meta.Value] = true
		}
		if i%2 == 1 {
			a := ops[i-1]
			if a.Meta.Name != op.Meta.Name || a.Invoke != op.Invoke || a.Node == op.Node || a.Client == op.Client {
				t.Fatalf("%s and %s do not overlap on one name at two nodes: %+v %+v", a.ID, op.ID, a, op)
			}
		}
	}
	for name, n := range byName {
		if n > 200 {
			t.Errorf("%s had %d operations", name, n)
		}
	}
	if len(byName) < 6 || byName["meta-3-0"] != 200 {
		t.Errorf("names were not retired after 200 operations: %v", byName)
	}
	for node := int32(1); node <= 3; node++ {
		if byNode[node] < len(ops)/3-2 {
			t.Errorf("n%d got %d of %d", node, byNode[node], len(ops))
		}
	}
	for _, kind := range []string{history.MetaCreate, history.MetaDelete, history.MetaDescribe, history.MetaWrite, history.MetaRead} {
		if byKind[kind] < 20 {
			t.Errorf("%d of kind %s", byKind[kind], kind)
		}
	}
}

func TestMetadataRetiresUnknownNames(t *testing.T) {
	m := mustMetadata(t)
	unknown := map[string]int{}
	busy := map[string]int{}
	drive(m, 60*second, func(op *history.Operation) int64 {
		// A client has one operation at a time: its last one must have been answered.
		busy[op.Client]++
		if op.Node == 2 {
			op.Outcome = history.Unknown
			unknown[op.Meta.Name]++
			return 3 * second
		}
		return ok(op)
	})
	if len(unknown) < 4 {
		t.Errorf("names with unknown outcomes were kept: %v", unknown)
	}
	for name, n := range unknown {
		// Those under way when the fifth was answered may still come: at most one a client.
		if n >= nameUnknowns+6 {
			t.Errorf("%s has %d unknown outcomes", name, n)
		}
	}
	if m.Missed().Ops == 0 || len(busy) != 6 {
		t.Errorf("missed %+v, clients %v", m.Missed(), busy)
	}
}

func TestMetadataClientHasOneOperationAtATime(t *testing.T) {
	m := mustMetadata(t)
	busy := map[string]bool{}
	var held []*history.Operation
	for now := begin; now < begin+30*second; now += second / 10 {
		ops, _ := m.Next(now)
		for _, op := range ops {
			if busy[op.Client] {
				t.Fatalf("%s has two operations under way", op.Client)
			}
			busy[op.Client] = true
			held = append(held, op)
		}
		if len(held) == 6 {
			for _, op := range held[:3] {
				op.Outcome, busy[op.Client] = history.Failed, false
				m.Done(now, op)
			}
			held = held[3:]
		}
	}
	if len(busy) != 6 {
		t.Errorf("%d of 6 clients were used", len(busy))
	}
}

func TestAutocreateThroughFollowersOnly(t *testing.T) {
	a, err := NewAutocreate(AutocreateConfig{Seed: 9, PerMinute: 60, Start: begin})
	if err != nil {
		t.Fatal(err)
	}
	if ops := drive(a, 5*second, ok); len(ops) > 0 {
		t.Errorf("%d topics although nobody follows", len(ops))
	}
	a.SetFollowers([]int32{1, 3})
	var got []*history.Operation
	for now := begin + 5*second; now < begin+65*second; now += second {
		ops, _ := a.Next(now)
		for _, op := range ops {
			ok(op)
			a.Done(now, op)
		}
		got = append(got, ops...)
	}
	names, ways := map[string]bool{}, map[string]int{}
	for _, op := range got {
		names[op.Create.Topic] = true
		ways[fmt.Sprint(op.Create.How, " n", op.Node)]++
	}
	want := map[string]int{"produce n1": 15, "produce n3": 15, "writer n1": 15, "writer n3": 15}
	if diff := cmp.Diff(want, ways); diff != "" || len(names) != 60 {
		t.Errorf("%d names, ways (-want +got):\n%s", len(names), diff)
	}
}

func TestAutocreateDeletesWhatIsOld(t *testing.T) {
	a, err := NewAutocreate(AutocreateConfig{Seed: 1, PerMinute: 60})
	if err != nil {
		t.Fatal(err)
	}
	a.SetFollowers([]int32{2, 3})
	there := map[string]bool{}
	most := 0
	for now := int64(0); now < 1000*1_000_000_000; now += 1_000_000_000 {
		ops, _ := a.Next(now)
		for _, op := range ops {
			switch {
			case op.Create != nil:
				there[op.Create.Topic] = true
			case op.Meta.Kind != history.MetaDelete || op.Meta.Owner != OwnerAutocreate || !there[op.Meta.Name]:
				t.Fatalf("%+v of a topic that is not there", op.Meta)
			default:
				delete(there, op.Meta.Name)
			}
			most = max(most, len(there))
			a.Done(now, op)
		}
	}
	if most != autocreateKept+1 || a.made < 900 || a.InFlight() != 0 {
		t.Errorf("%d topics made, %d at once, %d operations under way", a.made, most, a.InFlight())
	}
}

func TestWorkloadsRefuseNothingToDo(t *testing.T) {
	if _, err := NewProduce(ProduceConfig{Rate: 1, Producers: 1, Batch: 1}); err == nil {
		t.Error("produce without a partition")
	}
	if _, err := NewMetadata(MetadataConfig{Nodes: 3, Rate: 1, Clients: 1, Names: 1, Replication: 1}); err == nil {
		t.Error("metadata with one client, which can overlap with nobody")
	}
	if _, err := NewAutocreate(AutocreateConfig{}); err == nil {
		t.Error("autocreate without a rate")
	}
}
