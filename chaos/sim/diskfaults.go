package sim

import (
	"fmt"
	"strings"

	"soak/chaos"
	"soak/history"
	"soak/internal/vfs"
)

// diskFault is a fault as it stands in one node's file system.
type diskFault struct {
	n    *node
	life int // of the node when the fault came
	in   *vfs.Injected
}

// breakDisks puts a fault into file systems. It is proven by the first call that meets it.
func (s *sim) breakDisks(f *fault) {
	for _, n := range s.targets(f) {
		h := mix(s.seed, saltDiskFault, uint64(n.id), uint64(s.now))
		in := vfs.SimFault{From: s.now, Factor: f.spec.Factor, Short: h&1 == 0}
		switch f.spec.Kind {
		case chaos.DiskFull:
			in.Kind, in.Free = vfs.DiskFull, int64(h>>8%4096)
		case chaos.SlowDisk:
			in.Kind = vfs.SlowDisk
		case chaos.WriteError:
			in.Kind = vfs.WriteError
		case chaos.SyncError:
			in.Kind, in.Keeps = vfs.SyncError, h&2 == 0
		case chaos.ReadError:
			in.Kind = vfs.ReadError
		}
		if f.spec.Kind != chaos.SlowDisk {
			n.broken++
		}
		f.struck = append(f.struck, n)
		f.disks = append(f.disks, diskFault{n: n, life: n.life, in: n.fs.Inject(in)})
	}
	s.diskFaults++
}

// noteDisk is called after each disk operation: what it met proves a fault.
func (s *sim) noteDisk(n *node) {
	if s.diskFaults == 0 {
		return
	}
	for _, f := range s.active {
		for _, d := range f.disks {
			switch {
			case d.n != n || f.proven:
			case d.in.Refused > 0:
				s.prove(f, fmt.Sprintf("n%d: %d calls refused", n.id, d.in.Refused), int64(d.in.Refused))
			case d.in.Delayed > 0:
				s.prove(f, fmt.Sprintf("n%d: %d calls took %d µs longer", n.id, d.in.Delayed, d.in.Delay/1000), int64(d.in.Delayed))
			}
		}
	}
}

// mendDisks ends a fault, and starts the nodes that it has stopped. A node that met a failed sync and went on as if nothing were wrong
// says of bytes that they are durable that may never be: that is told like a crash.
func (s *sim) mendDisks(f *fault) {
	s.diskFaults--
	for _, d := range f.disks {
		d.in.Heal()
		if f.spec.Kind != chaos.SlowDisk {
			d.n.broken--
		}
		if f.spec.Kind == chaos.SyncError && d.in.Refused > 0 && d.n.core != nil && !d.n.doomed && d.n.life == d.life {
			s.observation(&history.LogLine{Of: d.n.id, What: "fatal", Line: fmt.Sprintf("n%d went on although %d syncs had failed", d.n.id, d.in.Refused)})
		}
		f.see("after", fmt.Sprintf("n%d: %d calls refused, %d delayed in all", d.n.id, d.in.Refused, d.in.Delayed), int64(d.in.Refused+d.in.Delayed), s.now)
		s.revive(d.n)
	}
	s.overWhenUp(f)
}

// rotten is one bit that has turned over.
type rotten struct {
	n    *node
	path string
	off  int64
	bit  uint
	met  bool // the node started with it: what is there now may be the node's own
}

// letRot kills nodes, turns over one bit of what is at rest on their disks, and has them start. They must refuse to, or mend it.
func (s *sim) letRot(f *fault) {
	for _, n := range s.targets(f) {
		if n.alive() {
			s.kill(n)
		}
		f.hold(n)
		r, ok := s.rotOf(n, f.spec.Files)
		if !ok || !n.fs.Flip(r.path, r.off, r.bit) {
			continue
		}
		where := fmt.Sprintf("n%d: bit %d of byte %d of %s turned over", n.id, r.bit, r.off, r.path)
		if err := n.start(); err != nil {
			n.broken++
			s.crashed(n, err)
			n.broken--
			s.prove(f, where+"; it refuses to start: "+err.Error(), 1)
		} else {
			r.met = true
			s.prove(f, where+"; it starts", 1)
		}
		f.rot = append(f.rot, r)
	}
}

// rotOf chooses a bit that rots, among those that the node's disk has confirmed.
func (s *sim) rotOf(n *node, class string) (rotten, bool) {
	prefix := map[string]string{chaos.FilesSegment: "data/logs/", chaos.FilesRaft: "data/raft/", chaos.FilesSnapshot: "data/raft/", chaos.FilesNode: "data/node.json"}[class]
	suffix := map[string]string{chaos.FilesRaft: ".wal", chaos.FilesSnapshot: ".snap"}[class]
	var files []vfs.SimFileInfo
	total := int64(0)
	for _, file := range n.fs.Files() {
		if strings.HasPrefix(file.Path, prefix) && strings.HasSuffix(file.Path, suffix) && file.Synced > 0 {
			files = append(files, file)
			total += file.Synced
		}
	}
	switch {
	case total == 0 && class == chaos.FilesSnapshot:
		return s.rotOf(n, chaos.FilesRaft)
	case total == 0:
		return rotten{}, false
	}
	h := mix(s.seed, saltRot, uint64(n.id), uint64(s.now))
	at := int64(h % uint64(total))
	for _, file := range files {
		if at < file.Synced {
			return rotten{n: n, path: file.Path, off: at, bit: uint(h >> 56 & 7)}, true
		}
		at -= file.Synced
	}
	return rotten{}, false
}

// restoreFiles puts back what the node refused, as from a backup taken while it was stopped, and starts it.
func (s *sim) restoreFiles(f *fault) {
	for _, r := range f.rot {
		if !r.met {
			r.n.fs.Flip(r.path, r.off, r.bit)
		}
	}
	s.release(f)
}
