package meta

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A node that goes on from a snapshot is in every respect where the others are.
func TestARestoredStateGoesOnLikeTheOriginal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := NewState()
		commands := rapid.SliceOfN(command(), 1, 60).Draw(t, "commands")
		at := rapid.IntRange(0, len(commands)).Draw(t, "snapshot after")
		for i, c := range commands[:at] {
			a.Apply(uint64(i+1), c)
		}
		b, err := Restore(a.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Snapshot(), b.Snapshot()) || a.Hash() != b.Hash() {
			t.Fatal("the restored state is another one")
		}
		for i, c := range commands[at:] {
			again, err := Decode(c.Encode()) // Apply keeps slices of its command
			if err != nil {
				t.Fatal(err)
			}
			ra, rb := a.Apply(uint64(at+i+1), c), b.Apply(uint64(at+i+1), again)
			if ra.Chain != rb.Chain || ra.Refused != rb.Refused || a.Hash() != b.Hash() {
				t.Fatalf("entry %d: the nodes differ (%q, %q)", at+i+1, ra.Refused, rb.Refused)
			}
		}
	})
}

// ordersState holds a bit of everything.
func ordersState(t testing.TB) *State {
	s := NewState()
	for id := int32(1); id <= 3; id++ {
		s.Apply(uint64(id), &Command{Register: &Register{Broker: Broker{ID: id, Boot: 7, Host: "h", Port: 9092}}})
	}
	for i, name := range []string{"payments", "orders"} {
		r := s.Apply(uint64(4+i), &Command{Create: &CreateTopic{Name: name, ID: TopicID{byte(i + 1)}, Configs: []Config{{"min.insync.replicas", "2"}},
			Partitions: []NewPartition{{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, Leader: 1}}}})
		if r.Refused != "" {
			t.Fatal(r.Refused)
		}
	}
	s.Apply(7, &Command{Producer: &NewProducerID{}})
	s.Apply(8, &Command{SetLeader: &SetLeader{Topic: TopicID{1}, Name: "payments", Leader: 2, ISR: []int32{2, 3}}})
	return s
}

// No bit of a snapshot turns over unseen.
func TestNoBitOfASnapshotRotsUnseen(t *testing.T) {
	b := ordersState(t).Snapshot()
	for bit := range 8 * len(b) {
		rotten := slices.Clone(b)
		rotten[bit/8] ^= 1 << (bit % 8)
		if _, err := Restore(rotten); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("bit %d of byte %d turned over: error %v", bit%8, bit/8, err)
		}
	}
	for n := range b {
		if _, err := Restore(b[:n]); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut to %d of %d bytes: error %v", n, len(b), err)
		}
	}
}

// sealed makes a snapshot of the given state bytes.
func sealed(state []byte) []byte {
	b := append([]byte{snapshotVersion}, state...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// What no commands lead to is refused, though its checksum is good: it came from the network, or from a disk that another program wrote.
func TestRestoreRefusesWhatCannotBe(t *testing.T) {
	changed := func(f func(*State)) []byte {
		s := ordersState(t)
		f(s)
		return s.Snapshot()
	}
	orders := func(f func(*Partition)) []byte {
		return changed(func(s *State) { f(s.Topic("orders").Partitions[0]) })
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"another version", append([]byte{9}, ordersState(t).Snapshot()[1:]...), "encoding version 9"},
		{"another state version", sealed([]byte{9, 0, 0, 0, 0}), "state encoding version 9"},
		{"too large", make([]byte, MaxSnapshot+1), "at most"},
		{"topics out of order", changed(func(s *State) { slices.Reverse(s.Topics) }), "topics are not in order"},
		{"a topic twice", changed(func(s *State) { s.Topics[1] = s.Topics[0] }), "topics are not in order"},
		{"an id twice", changed(func(s *State) { s.Topics[1].ID = s.Topics[0].ID }), "two topics have one id"},
		{"brokers out of order", changed(func(s *State) { slices.Reverse(s.Brokers) }), "brokers are not in order"},
		{"no partitions", changed(func(s *State) { s.Topics[0].Partitions = nil }), "without partitions"},
		{"no ISR", orders(func(p *Partition) { p.ISR = nil }), "without an ISR"},
		{"no replicas", orders(func(p *Partition) { p.Replicas = nil }), "without replicas"},
		{"a leader outside the ISR", orders(func(p *Partition) { p.Leader = 4 }), "not in its ISR"},
		{"an epoch below zero", orders(func(p *Partition) { p.LeaderEpoch = -1 }), "negative epoch"},
		{"bytes behind the end", sealed(append(ordersState(t).encode(), 0)), "1 bytes behind its end"},
		{"a number in a longer form", sealed([]byte{encodingVersion, 0x80, 0, 0, 0, 0, 0}), "not the canonical one"},
		{"more topics than bytes", sealed([]byte{encodingVersion, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}), "longer than what is left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Restore(c.b); !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// FuzzRestore meets the decoder behind the checksum: what it takes is canonical, and goes on as a state.
func FuzzRestore(f *testing.F) {
	f.Add(NewState().encode())
	f.Add(ordersState(f).encode())
	f.Add([]byte{encodingVersion, 0, 0, 0, 0xff, 0xff, 0x03})
	f.Fuzz(func(t *testing.T, state []byte) {
		if _, err := Restore(state); err != nil && !errors.Is(err, ErrSnapshot) {
			t.Fatal(err)
		}
		s, err := Restore(sealed(state))
		if err != nil {
			return
		}
		if !slices.Equal(s.Snapshot(), sealed(state)) {
			t.Fatal("its own snapshot is another one")
		}
		s.Apply(s.Index+1, &Command{Create: &CreateTopic{Name: "x", ID: TopicID{0xff, 0xfe}, Partitions: []NewPartition{{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}}})
		s.Hash()
	})
}
