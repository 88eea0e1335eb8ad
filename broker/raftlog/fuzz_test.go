package raftlog_test

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"soak/broker/raftlog"
	"soak/internal/vfs"
)

// FuzzRecover opens a segment of a good beginning, arbitrary bytes, and a body that is sealed with a good CRC, so that
// the decoder behind the checksum meets arbitrary bytes too. It opens or is damaged; what opens, opens again and is the same.
func FuzzRecover(f *testing.F) {
	all, at := threeSaves(f)
	f.Add(len(all), []byte{}, []byte{})
	f.Add(at[1], all[at[1]:], []byte{})
	f.Add(at[1], all[at[1]:at[2]], all[at[2]+12:])
	f.Add(at[0], []byte{}, all[at[0]+12:at[1]])
	f.Add(0, all[:10], []byte{})
	f.Add(at[2], make([]byte, 50), []byte{1, 1, 0xff, 0xff, 0xff, 0xff})
	f.Add(at[0], []byte{}, []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, keep int, raw, body []byte) {
		b := slices.Concat(all[:min(max(keep, 0), len(all))], raw)
		if len(body) > 0 {
			b = append(b, sealed(1, uint64(len(b)), body)...)
		}
		m := vfs.NewMem()
		store(t, m, firstSegment, b)
		_, st, err := raftlog.Open(m, "raft", 1, raftlog.Options{})
		if err != nil {
			var d *raftlog.DamageError
			var fe *raftlog.FormatError
			if !errors.As(err, &d) && !errors.As(err, &fe) || d != nil && (d.Pos < 0 || d.Pos > int64(len(b))) {
				t.Fatalf("Open = %v, want damage inside the file", err)
			}
			return
		}
		for i, e := range st.Entries {
			if e.GetIndex() != uint64(i)+1 {
				t.Fatalf("entry %d has index %d", i, e.GetIndex())
			}
		}
		_, again, err := raftlog.Open(m, "raft", 1, raftlog.Options{})
		if err != nil || again.Cut != 0 || len(again.Entries) != len(st.Entries) || !proto.Equal(again.HardState, st.HardState) {
			t.Fatalf("opened again: %v, %+v, was %+v", err, again, st)
		}
	})
}
