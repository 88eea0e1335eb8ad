package runner

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"soak/chaos/runloop"
	"soak/history"
)

// probing gives the shell a probe whose writes take as long as takes says, one after the other.
func probing(s *shell, takes ...time.Duration) {
	s.disk = &diskProbe{close: func() error { return nil }, write: func() error {
		if len(takes) > 0 {
			time.Sleep(takes[0])
			takes = takes[1:]
		}
		return nil
	}}
}

func TestADiskThatStandsStillIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []diskProbed
		p := &shell{}
		probing(p, 3*time.Millisecond, 2*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		base := time.Now()
		now := func() int64 { return int64(time.Since(base)) }
		go p.disk.watch(ctx, now, func(d diskProbed) { got = append(got, d) })
		time.Sleep(diskEvery + 100*time.Millisecond)
		synctest.Wait()
		if n := p.disk.pending(now()); n != 0 {
			t.Errorf("between two writes one is pending for %d ns", n)
		}
		time.Sleep(diskEvery + 500*time.Millisecond)
		synctest.Wait()
		if n := p.disk.pending(now()); n != int64(600*time.Millisecond) {
			t.Errorf("the second write is pending for %s, want 600ms", time.Duration(n))
		}
		time.Sleep(1400 * time.Millisecond)
		synctest.Wait()
		if want := []diskProbed{{took: int64(3 * time.Millisecond)}, {took: int64(2 * time.Second)}}; len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("answers %v, want %v", got, want)
		}
	})
}

func TestWhatTheDiskTookIsRecorded(t *testing.T) {
	h := newHarness(newScript(func(int64, runloop.Input) {}))
	s := newShell(h.o)
	s.finished = true // only recording
	for _, took := range []time.Duration{3 * time.Millisecond, diskLate, diskLate + 1, 2 * time.Millisecond} {
		s.take(diskProbed{took: int64(took)})
	}
	if m := s.win.metric(s.now(), nil); m.DiskNanos != int64(diskLate+1) {
		t.Errorf("the metric tells %d ns, want the longest", m.DiskNanos)
	}
	if m := s.win.metric(s.now(), nil); m.DiskNanos != 0 {
		t.Errorf("the next metric tells %d ns, in whose time nothing was measured", m.DiskNanos)
	}
	want := history.Stall{What: history.StallDisk, Nanos: int64(diskLate + 1)}
	if got := h.recorder.events; len(got) != 1 || *got[0].Body.(*history.Stall) != want || got[0].Node != 0 || got[0].Time == 0 {
		t.Errorf("events %+v, want the one stall", got)
	}
	s.take(diskProbed{took: int64(time.Hour), err: errors.New("no space left")})
	if n := h.o.Run.Notes; len(n) != 1 || !strings.Contains(n[0], "no space left") {
		t.Errorf("notes %q", n)
	}
	if n := len(h.recorder.events); n != 1 {
		t.Error("a write that failed counts as a stall")
	}
}

// A disk that hangs until the end must not be missed because its answer never came.
func TestADiskThatNeverComesBackIsAnEventToo(t *testing.T) {
	h := newHarness(newScript(func(int64, runloop.Input) {}))
	s := newShell(h.o)
	s.finished = true
	probing(s)
	s.diskHangs()
	s.disk.began.Store(s.now() - int64(time.Minute))
	s.diskHangs()
	if got := h.recorder.events; len(got) != 1 || got[0].Body.(*history.Stall).Nanos < int64(time.Minute) {
		t.Errorf("events %+v, want a stall of a minute", got)
	}
}

func TestTheProbeLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	p, err := openDiskProbe(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.write(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := p.write(); err == nil {
		t.Error("a file that is closed was written to")
	}
	if _, err := openDiskProbe(dir + "/nowhere"); err == nil {
		t.Error("a folder that is not there was probed")
	}
}
