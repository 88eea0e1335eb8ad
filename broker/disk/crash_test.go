package disk_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/broker/partlog/batch"
	"soak/broker/partlog/batch/batchtest"
	"soak/internal/vfs"
)

// logState is what a log may be found to hold after a crash: a prefix of data, not shorter than durable bytes.
type logState struct {
	data    []byte
	durable int
}

// raftState is one state of the raft log, whole.
type raftState struct {
	hard     *pb.HardState
	snapshot *pb.Snapshot
	base     uint64
	entries  []*pb.Entry // from base+1
}

func (s raftState) last() uint64 { return s.base + uint64(len(s.entries)) }

// model follows what was written. After a loss of power each log must be one of its states.
type model struct {
	logs map[core.PartitionID][]logState // the last one is the current one
	raft []raftState                     // the last one is the current one
	// padding is how many bytes a record value or raft entry is made longer at most, so that unsynced ones fill several sectors.
	padding int
}

// pad draws the padding of one value.
func (m *model) pad(t *rapid.T) string {
	if m.padding == 0 {
		return ""
	}
	return strings.Repeat("x", rapid.IntRange(0, m.padding).Draw(t, "padding"))
}

func (m *model) log(p core.PartitionID) *logState {
	if len(m.logs[p]) == 0 {
		m.logs[p] = []logState{{}}
	}
	return &m.logs[p][len(m.logs[p])-1]
}

// next is where the log of p ends and the last epoch in it.
func (s logState) next(t *rapid.T) (end int64, epoch int32) {
	hs, err := batch.Validate(s.data, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(hs) == 0 {
		return 0, 1
	}
	last := hs[len(hs)-1]
	return last.NextOffset(), last.LeaderEpoch
}

// cut is the state after a truncation to offset.
func (s logState) cut(t *rapid.T, offset int64) logState {
	hs, err := batch.Validate(s.data, 0)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, h := range hs {
		if h.NextOffset() > offset {
			break
		}
		size += int(h.Size)
	}
	return logState{data: s.data[:size:size], durable: min(s.durable, size)}
}

// drawRaft draws a save and takes note of the state after it.
func (m *model) drawRaft(t *rapid.T) core.DiskOp {
	now := m.raft[len(m.raft)-1]
	switch rapid.IntRange(0, 9).Draw(t, "raft operation") {
	case 0:
		if now.hard.GetCommit() > now.snapshot.GetMetadata().GetIndex() {
			return m.drawCompaction(t, now)
		}
	case 1:
		return m.drawInstall(t, now)
	}
	op := core.DiskOp{Kind: core.OpRaftSave, Sync: rapid.Bool().Draw(t, "sync")}
	term := now.hard.GetTerm() + uint64(rapid.IntRange(0, 1).Draw(t, "term"))
	commit, last := now.hard.GetCommit(), now.last()
	// Entries replace nothing that is committed.
	from := commit + 1 + uint64(rapid.IntRange(0, int(last-commit)).Draw(t, "from"))
	after := now
	if n := rapid.IntRange(0, 3).Draw(t, "entries"); n > 0 {
		for i := range uint64(n) {
			e := entry(max(term, 1), from+i)
			e.Data = append(e.Data, m.pad(t)...)
			op.Entries = append(op.Entries, e)
		}
		after.entries = slices.Concat(now.entries[:from-1-now.base], op.Entries)
	}
	if rapid.Bool().Draw(t, "hard state") {
		op.HardState = hard(term, 1, commit+uint64(rapid.IntRange(0, int(after.last()-commit)).Draw(t, "commit")))
		after.hard = op.HardState
	}
	m.raft = append(m.raft, after)
	return op
}

// snapshotOf is a snapshot of some sectors.
func (m *model) snapshotOf(t *rapid.T, index, term uint64) *pb.Snapshot {
	return &pb.Snapshot{Data: []byte("state" + m.pad(t) + m.pad(t)), Metadata: &pb.SnapshotMetadata{Index: proto.Uint64(index), Term: proto.Uint64(term)}}
}

// drawCompaction draws a snapshot of the node's own, of something committed.
func (m *model) drawCompaction(t *rapid.T, now raftState) core.DiskOp {
	index := rapid.Uint64Range(now.snapshot.GetMetadata().GetIndex()+1, now.hard.GetCommit()).Draw(t, "snapshot of")
	base := rapid.Uint64Range(now.base, index).Draw(t, "entries gone up to")
	s := m.snapshotOf(t, index, now.entries[index-now.base-1].GetTerm())
	m.raft = append(m.raft, raftState{hard: now.hard, snapshot: s, base: base, entries: now.entries[base-now.base:]})
	return core.DiskOp{Kind: core.OpRaftSnapshot, Snapshot: s, Base: base}
}

// drawInstall draws a snapshot that came from another node.
func (m *model) drawInstall(t *rapid.T, now raftState) core.DiskOp {
	term := max(now.hard.GetTerm(), 1)
	s := m.snapshotOf(t, now.hard.GetCommit()+uint64(rapid.IntRange(1, 5).Draw(t, "installed ahead by")), term)
	index := s.GetMetadata().GetIndex()
	op := core.DiskOp{Kind: core.OpRaftSave, Sync: true, Snapshot: s, HardState: hard(term, 1, index)}
	for i := range uint64(rapid.IntRange(0, 2).Draw(t, "entries behind it")) {
		op.Entries = append(op.Entries, entry(term, index+1+i))
	}
	m.raft = append(m.raft, raftState{hard: op.HardState, snapshot: s, base: index, entries: op.Entries})
	return op
}

// drawLogs draws operations for one call of Do on the partition logs, and takes note of every state on the way.
func (m *model) drawLogs(t *rapid.T) []core.DiskOp {
	var ops []core.DiskOp
	for range rapid.IntRange(1, 5).Draw(t, "operations") {
		p := part(1, int32(rapid.IntRange(0, 2).Draw(t, "partition")))
		now := *m.log(p)
		end, epoch := now.next(t)
		op := core.DiskOp{Part: p, Sync: rapid.Bool().Draw(t, "sync")}
		switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
		case kind == 0:
			op.Kind = core.OpLogDelete
			m.logs[p] = append(m.logs[p], logState{})
		case kind < 3:
			op.Kind, op.Offset = core.OpLogTruncate, rapid.Int64Range(0, end+1).Draw(t, "truncate to")
			after := now.cut(t, op.Offset)
			// Cut short it may have gone a part of the way: segments go one by one.
			m.logs[p] = append(m.logs[p], logState{data: now.data, durable: after.durable}, after)
		default:
			op.Kind, op.Offset = core.OpLogAppend, end
			for range rapid.IntRange(1, 3).Draw(t, "batches") {
				epoch += int32(rapid.IntRange(0, 1).Draw(t, "epoch"))
				values := rapid.SliceOfN(rapid.StringN(0, 100, 200), 1, 3).Draw(t, "values")
				values[0] += m.pad(t)
				op.Data = append(op.Data, batchtest.Make(end, epoch, values...)...)
				end += int64(len(values))
			}
			m.logs[p] = append(m.logs[p], logState{data: slices.Concat(now.data, op.Data), durable: now.durable})
		}
		ops = append(ops, op)
	}
	return ops
}

func ofRaft(op core.DiskOp) bool {
	return op.Kind == core.OpRaftSave || op.Kind == core.OpRaftSnapshot
}

// completed takes note of a call of Do without errors: the states on the way cannot come back.
func (m *model) completed(ops []core.DiskOp) {
	synced := map[core.PartitionID]bool{}
	durable, state := 0, len(m.raft)-1 // indexes of states: each operation on the raft log made one
	for _, op := range ops {
		if ofRaft(op) {
			state--
		}
	}
	for _, op := range ops {
		if ofRaft(op) {
			state++
		}
		switch {
		case op.Kind == core.OpRaftSave && op.Sync:
			durable = len(m.raft) - 1 // with all that this call wrote
		case op.Kind == core.OpRaftSnapshot:
			durable = max(durable, state) // with all that came before it
		case op.Kind == core.OpLogAppend && op.Sync:
			synced[op.Part] = true // with all that this call wrote to the log
		case op.Kind == core.OpLogDelete:
			synced[op.Part] = false // what is written behind it goes into a new log
		}
	}
	m.raft = m.raft[durable:]
	for _, op := range ops {
		if ofRaft(op) {
			continue
		}
		m.logs[op.Part] = []logState{*m.log(op.Part)}
		if s := m.log(op.Part); synced[op.Part] {
			s.durable = len(s.data)
		}
	}
}

// check compares what was found with the model, and goes on from there: what Open found is durable.
func (m *model) check(t *rapid.T, d *disk.Dir, boot core.Boot) {
	found := map[core.PartitionID][]byte{}
	for _, info := range boot.Logs {
		data := readLog(t, d, info)
		found[info.ID] = data
		m.log(info.ID)
	}
	for p, states := range m.logs {
		data := found[p]
		if !slices.ContainsFunc(states, func(s logState) bool { return bytes.HasPrefix(s.data, data) && len(data) >= s.durable }) {
			t.Fatalf("partition %d holds %d bytes; of its %d possible states the last has %d, %d of them durable",
				p.Partition, len(data), len(states), len(states[len(states)-1].data), states[len(states)-1].durable)
		}
		m.logs[p] = []logState{{data: data, durable: len(data)}}
	}
	got := raftState{hard: boot.HardState, snapshot: boot.Snapshot, base: boot.BaseIndex, entries: boot.Entries}
	if !slices.ContainsFunc(m.raft, got.equal) {
		t.Fatalf("raft holds %v and %d entries: none of its %d possible states", boot.HardState, len(boot.Entries), len(m.raft))
	}
	m.raft = []raftState{got}
}

func (s raftState) equal(o raftState) bool {
	return proto.Equal(s.hard, o.hard) && proto.Equal(s.snapshot, o.snapshot) && s.base == o.base &&
		slices.EqualFunc(s.entries, o.entries, func(a, b *pb.Entry) bool { return proto.Equal(a, b) })
}

// readLog reads a log through Read, and checks what Boot says of it.
func readLog(t *rapid.T, d *disk.Dir, info core.LogInfo) []byte {
	var data []byte
	var epochs []core.EpochStart
	for o := info.Start; o < info.End; {
		c := d.Read(core.DiskOp{Kind: core.OpLogRead, Part: info.ID, Offset: o, Max: 300})
		hs, err := batch.Validate(c.Data, 0)
		if err = errors.Join(c.Err, err); err != nil || len(hs) == 0 || hs[0].BaseOffset != o {
			t.Fatalf("read at %d of %d: %v", o, info.End, err)
		}
		for _, h := range hs {
			if n := len(epochs); n == 0 || epochs[n-1].Epoch != h.LeaderEpoch {
				epochs = append(epochs, core.EpochStart{Epoch: h.LeaderEpoch, Start: h.BaseOffset})
			}
			o = h.NextOffset()
		}
		data = append(data, c.Data...)
	}
	if !slices.Equal(epochs, info.Epochs) {
		t.Fatalf("epochs %v, the batches say %v", info.Epochs, epochs)
	}
	return data
}

// drawCrash draws what survives: of each file's unsynced tail a part and perhaps garbage behind it, of the names some.
func drawCrash(t *rapid.T) vfs.CrashOptions {
	if rapid.Bool().Draw(t, "nothing unsynced survives") {
		return vfs.CrashOptions{}
	}
	return vfs.CrashOptions{
		Tail: func(path string, tail []byte) []byte {
			if len(tail) == 0 {
				return nil
			}
			kept := rapid.IntRange(0, len(tail)).Draw(t, "kept of "+path)
			garbage := rapid.IntRange(0, len(tail)-kept).Draw(t, "garbage behind")
			fill := byte(rapid.SampledFrom([]int{0, 2, 0xff}).Draw(t, "fill"))
			for i := range tail[kept : kept+garbage] {
				tail[kept+i] = fill
			}
			return tail[:kept+garbage]
		},
		Name: func(path string) bool { return rapid.Bool().Draw(t, "name "+path+" survives") },
	}
}

// Whatever is written, and at whichever call the power goes: the directory opens again, holds everything that a synced
// completion confirmed, nothing that was not written, and has a boot number never given before.
func TestCrashAnywhere(t *testing.T) {
	crashedInDo := 0
	rapid.Check(t, func(t *rapid.T) {
		fsys := vfs.NewMem()
		mod := &model{logs: map[core.PartitionID][]logState{}, raft: []raftState{{hard: &pb.HardState{}}}}
		lastBoot := uint64(0)
		for range rapid.IntRange(1, 4).Draw(t, "lives") {
			left := rapid.IntRange(0, 150).Draw(t, "calls until the power goes")
			off := errors.New("power is gone")
			d, boot, n, err := disk.Open(vfs.Hooked(fsys, func(vfs.Op, string) error {
				if left--; left < 0 {
					return off
				}
				return nil
			}), "data", opts)
			if err != nil {
				if !errors.Is(err, off) {
					t.Fatal(err)
				}
				fsys = fsys.Crash(drawCrash(t))
				continue
			}
			if n <= lastBoot {
				t.Fatalf("boot %d after %d", n, lastBoot)
			}
			lastBoot = n
			powered := left
			left = 1 << 30 // reading for the check costs nothing
			mod.check(t, d, boot)
			left = powered
			for range rapid.IntRange(0, 8).Draw(t, "calls of Do") {
				var ops []core.DiskOp
				if rapid.IntRange(0, 2).Draw(t, "queue") == 0 {
					for range rapid.IntRange(1, 3).Draw(t, "saves") {
						ops = append(ops, mod.drawRaft(t))
					}
				} else {
					ops = mod.drawLogs(t)
				}
				failed := false
				for _, c := range d.Do(ops, disk.SyncSerial) {
					if failed = failed || c.Err != nil; c.Err != nil && !errors.Is(c.Err, off) {
						t.Fatal(c.Err)
					}
				}
				if failed {
					crashedInDo++
					break
				}
				mod.completed(ops)
			}
			fsys = fsys.Crash(drawCrash(t))
		}
		d, boot, n, err := disk.Open(fsys, "data", opts)
		if err != nil {
			t.Fatal(err)
		}
		if n <= lastBoot {
			t.Fatalf("boot %d after %d", n, lastBoot)
		}
		mod.check(t, d, boot)
		for p := range maps.Keys(mod.logs) { // and it goes on
			end, epoch := mod.log(p).next(t)
			if c := d.Do([]core.DiskOp{appendOp(1, p, end, epoch, "more")}, disk.SyncSerial)[0]; c.Err != nil || c.End != end+1 {
				t.Fatalf("append after recovery: end %d, %v", c.End, c.Err)
			}
		}
	})
	if crashedInDo == 0 {
		t.Error("the power never went in the middle of Do: the test proves too little")
	}
}
