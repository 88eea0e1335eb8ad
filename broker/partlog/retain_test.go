package partlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/broker/partlog"
	"soak/broker/partlog/batch/batchtest"
	"soak/internal/vfs"
)

// timed appends n batches of two records, each ten seconds younger than the last, the first of 10 s, and answers them. The log is synced.
func timed(t *testing.T, l *partlog.Log, n int) [][]byte {
	t.Helper()
	var bs [][]byte
	for i := range n {
		b := batchtest.At(batchtest.Make(l.End(), int32(1+i/3), fmt.Sprintf("value-%d", i), "x"), int64(i+1)*10_000)
		if err := l.Append(l.End(), b); err != nil {
			t.Fatal(err)
		}
		bs = append(bs, b)
	}
	if err := l.File().Sync(); err != nil {
		t.Fatal(err)
	}
	return bs
}

func TestRetain(t *testing.T) {
	// 20 batches, offsets 0 to 39, some four of them to a segment of at most 400 bytes.
	all := partlog.Retention{Below: 40, Bytes: -1}
	with := func(f func(*partlog.Retention)) partlog.Retention { r := all; f(&r); return r }
	probe := open(t, vfs.NewMem())
	timed(t, probe, 20)
	second, third := probe.Bases()[1], probe.Bases()[2]
	last := probe.Bases()[len(probe.Bases())-1]
	for name, c := range map[string]struct {
		keep partlog.Retention
		want int64
	}{
		"nothing asked":                                     {all, 0},
		"all reached their age":                             {with(func(r *partlog.Retention) { r.Before = 200_001 }), 40},
		"one record has not":                                {with(func(r *partlog.Retention) { r.Before = 200_000 }), last},
		"the first segment alone":                           {with(func(r *partlog.Retention) { r.Before = second/2*10_000 + 1 }), second},
		"never above the high watermark":                    {with(func(r *partlog.Retention) { r.Before, r.Below = 1<<60, third+1 }), third},
		"one record has not, by first ones (a planted bug)": {with(func(r *partlog.Retention) { r.Before, r.FirstRecord = 200_000, true }), 40},
		"the first one has not, by first ones":              {with(func(r *partlog.Retention) { r.Before, r.FirstRecord = 10_000, true }), 0},
		"no byte to keep":                                   {with(func(r *partlog.Retention) { r.Bytes = 0 }), last},
		"room for all":                                      {with(func(r *partlog.Retention) { r.Bytes = 1 << 20 }), 0},
		"until within a segment":                            {with(func(r *partlog.Retention) { r.Until = third + 1 }), third},
		"until the end":                                     {with(func(r *partlog.Retention) { r.Until = 40 }), last},
	} {
		t.Run(name, func(t *testing.T) {
			m := vfs.NewMem()
			l := open(t, m)
			bs := timed(t, l, 20)
			start, err := l.Retain(c.keep)
			if err != nil || start != c.want || l.Start() != c.want || l.End() != 40 {
				t.Fatalf("begins at %d (%d), want %d; ends at %d; error %v", start, l.Start(), c.want, l.End(), err)
			}
			if !bytes.Equal(readAll(t, l), bytes.Join(bs[start/2:], nil)) {
				t.Error("what is left is not what was written there")
			}
			if start > 0 {
				if _, err := l.Read(start-1, 1); !errors.Is(err, partlog.ErrOutOfRange) {
					t.Errorf("a read below the start: %v", err)
				}
			}
			epochs := l.Epochs()
			// A loss of power after it changes nothing; opened again the log is the same, and goes on.
			again := open(t, m.Crash(vfs.CrashOptions{}))
			if again.Start() != start || again.End() != 40 {
				t.Fatalf("opened again it holds %d to %d", again.Start(), again.End())
			}
			if d := cmp.Diff(epochs, again.Epochs()); d != "" {
				t.Errorf("epochs before and after: %s", d)
			}
			if err := again.Append(40, batchtest.Make(40, 9, "more")); err != nil {
				t.Error(err)
			}
		})
	}
}

// A size that must stay is left, to within a segment.
func TestRetainKeepsTheSizeAskedFor(t *testing.T) {
	l := open(t, vfs.NewMem())
	timed(t, l, 40)
	if _, err := l.Retain(partlog.Retention{Below: 80, Bytes: 1000}); err != nil {
		t.Fatal(err)
	}
	if left := len(readAll(t, l)); left < 1000 || left >= 1400 || l.Start() == 0 {
		t.Errorf("%d bytes are left, begun at %d", left, l.Start())
	}
}

// crashIn runs do with the power going after each number of calls, and looks at what is found then.
func crashIn(t *testing.T, do func(*partlog.Log) error, look func(stop int, l *partlog.Log, bs [][]byte)) {
	t.Helper()
	for stop := 0; ; stop++ {
		m := vfs.NewMem()
		calls, armed := 0, false
		off := errors.New("power is gone")
		l, err := partlog.Open(vfs.Hooked(m, func(vfs.Op, string) error {
			if armed {
				if calls++; calls > stop {
					return off
				}
			}
			return nil
		}), "log", small)
		if err != nil {
			t.Fatal(err)
		}
		bs := timed(t, l, 20)
		armed = true
		err = do(l)
		if err != nil && !errors.Is(err, off) {
			t.Fatal(err)
		}
		look(stop, open(t, m.Crash(vfs.CrashOptions{})), bs)
		if err == nil {
			if stop < 3 {
				t.Fatalf("only %d calls: nothing was tested", stop)
			}
			return
		}
	}
}

func TestCrashInRetain(t *testing.T) {
	crashIn(t, func(l *partlog.Log) error {
		_, err := l.Retain(partlog.Retention{Below: 40, Until: 30, Bytes: -1})
		return err
	}, func(stop int, l *partlog.Log, bs [][]byte) {
		if l.End() != 40 || l.Start() > 30 || !bytes.Equal(readAll(t, l), bytes.Join(bs[l.Start()/2:], nil)) {
			t.Errorf("stopped at call %d: the log holds %d to %d", stop, l.Start(), l.End())
		}
	})
}

func TestRestart(t *testing.T) {
	m := vfs.NewMem()
	l := open(t, m)
	timed(t, l, 20)
	if err := l.Restart(1000); err != nil || l.Start() != 1000 || l.End() != 1000 || len(l.Epochs()) != 0 {
		t.Fatalf("holds %d to %d, epochs %v: %v", l.Start(), l.End(), l.Epochs(), err)
	}
	if names := segments(t, m); len(names) != 1 {
		t.Errorf("segments %v", names)
	}
	if p, err := l.Producers(); err != nil || p.Len() != 0 {
		t.Errorf("%v producers: %v", p, err)
	}
	bs := fill(t, l, 5)
	if err := l.File().Sync(); err != nil {
		t.Fatal(err)
	}
	again := open(t, m.Crash(vfs.CrashOptions{}))
	if again.Start() != 1000 || !bytes.Equal(readAll(t, again), bytes.Join(bs, nil)) {
		t.Errorf("opened again it holds %d to %d", again.Start(), again.End())
	}
}

func TestCrashInRestart(t *testing.T) {
	crashIn(t, func(l *partlog.Log) error { return l.Restart(1000) }, func(stop int, l *partlog.Log, bs [][]byte) {
		switch {
		case l.Start() == 1000 && l.End() == 1000:
		case l.Start() == 0 && bytes.Equal(readAll(t, l), bytes.Join(bs[:l.End()/2], nil)):
		default:
			t.Errorf("stopped at call %d: the log holds %d to %d", stop, l.Start(), l.End())
		}
	})
}
