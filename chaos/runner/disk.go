package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"soak/history"
)

// A stall of the disk: a small write with fsync, beside what the nodes write, takes longer than diskLate. Sound disks take 0.1 to 50 ms. Half a
// second is a quarter of the tightest bound on an acks=all write, which waits for the disks of at least two nodes, one after the other.
const (
	diskEvery = 250 * time.Millisecond
	diskLate  = 500 * time.Millisecond
	diskBytes = 4096
)

// diskProbed is how long one write with fsync took.
type diskProbed struct {
	took int64 // ns
	err  error // then no more come
}

// diskProbe writes to a disk and times it, so that time in which the machine's disk stood still is not laid at the cluster's door. It cannot be one of
// the faults: those of disks are made inside the nodes, by their shim.
type diskProbe struct {
	write func() error
	close func() error
	began atomic.Int64 // when the write under way began, on the run's clock; 0 for none
}

// openDiskProbe makes a probe of the disk that dir is on. Its file has no name where the system permits it, and leaves nothing behind.
func openDiskProbe(dir string) (*diskProbe, error) {
	f, err := os.CreateTemp(dir, ".disk-probe-*")
	if err != nil {
		return nil, err
	}
	unlinked := os.Remove(f.Name()) == nil // not on Windows, where it goes at the end
	block := make([]byte, diskBytes)
	return &diskProbe{
		write: func() error {
			block[0]++ // a block that has not changed may not be worth writing, to some
			_, err := f.WriteAt(block, 0)
			return errors.Join(err, f.Sync())
		},
		close: func() error {
			err := f.Close()
			if !unlinked {
				err = errors.Join(err, os.Remove(f.Name()))
			}
			return err
		},
	}, nil
}

// watch probes until ctx ends, or until a write fails. now is the run's clock. It closes the file itself: a write that hangs must not be waited for.
func (p *diskProbe) watch(ctx context.Context, now func() int64, report func(diskProbed)) {
	t := time.NewTicker(diskEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			p.close() // nobody reads it again: what is in it is of no worth
			return
		case <-t.C:
		}
		begin := now()
		p.began.Store(begin)
		err := p.write()
		p.began.Store(0)
		report(diskProbed{now() - begin, err})
		if err != nil {
			p.close()
			return
		}
	}
}

// pending is how long the write under way has been going on by now.
func (p *diskProbe) pending(now int64) int64 {
	if begin := p.began.Load(); begin != 0 {
		return now - begin
	}
	return 0
}

// probeDisk starts the probe of the disk that the run's folder is on. A run without it is as good, but for its excuse.
func (s *shell) probeDisk(ctx context.Context) {
	if s.o.Dir == "" {
		return
	}
	p, err := openDiskProbe(s.o.Dir)
	if err != nil {
		s.diskUnknown(err)
		return
	}
	s.disk = p
	go p.watch(ctx, s.now, func(d diskProbed) { s.in.put(d) })
}

func (s *shell) diskUnknown(err error) {
	s.o.Run.Notes = append(s.o.Run.Notes, fmt.Sprintf("stalls of the disk are not recorded: probing it failed: %v", err))
}

// diskAnswered takes a probe's answer.
func (s *shell) diskAnswered(d diskProbed) {
	if d.err != nil {
		s.diskUnknown(d.err)
		return
	}
	s.diskTook(d.took)
}

// diskHangs takes a probe that has not come back by the run's end.
func (s *shell) diskHangs() {
	if s.disk != nil {
		if took := s.disk.pending(s.now()); took > int64(diskLate) {
			s.diskTook(took)
		}
	}
}

func (s *shell) diskTook(nanos int64) {
	s.win.disk = max(s.win.disk, nanos)
	if nanos > int64(diskLate) {
		s.event(history.Event{Body: &history.Stall{What: history.StallDisk, Nanos: nanos}})
	}
}
