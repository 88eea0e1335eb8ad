package vfs_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"soak/internal/vfs"
)

func newShim(t *testing.T, fsys vfs.FS, dir string) *vfs.Shim {
	t.Helper()
	s, err := vfs.NewShim(fsys, dir)
	must(t, err)
	return s
}

// tree is every file below a directory with what it holds, and every directory.
func tree(t interface {
	Helper()
	Fatal(...any)
}, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var walk func(string)
	walk = func(at string) {
		i, err := fsys.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(dir, at)
		if !i.Dir {
			f, err := fsys.Open(at)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, i.Size)
			if n, err := f.ReadAt(b, 0); n < len(b) {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			all[rel] = string(b)
			return
		}
		all[rel] = "(directory)"
		names, err := fsys.List(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			walk(filepath.Join(at, name))
		}
	}
	walk(dir)
	return all
}

// The same calls and the same choices leave the same files as in Sim, whose own rules are tested against a reference.
func TestShimLosesAsSimDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem, sim := vfs.NewMem(), vfs.NewSim(nil)
		if err := mem.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		if err := sim.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		if err := sim.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		shim, err := vfs.NewShim(mem, "/d")
		if err != nil {
			t.Fatal(err)
		}
		both := []vfs.FS{shim.FS(), sim}
		open := [2]map[string]vfs.File{{}, {}}
		paths := []string{"/d/a", "/d/b", "/d/x", "/d/x/a", "/d/x/b", "/d/y", "/d/y/a"}
		sizes := []int{1, 100, 511, 512, 700, 2000}
		for step := range rapid.IntRange(1, 30).Draw(t, "calls") {
			kind := rapid.SampledFrom([]string{"create", "mkdir", "rename", "remove", "syncdir", "write", "write", "write", "sync", "truncate"}).Draw(t, "kind")
			p := rapid.SampledFrom(paths).Draw(t, "path")
			to := rapid.SampledFrom(paths).Draw(t, "to")
			size := rapid.SampledFrom(sizes).Draw(t, "size")
			if i, err := sim.Stat(p); kind == "rename" && err == nil && i.Dir && filepath.Dir(p) != filepath.Dir(to) {
				continue // Sim finds a directory at both names; a real file system has it at one
			}
			var errs [2]error
			for i, f := range both {
				h := open[i][p]
				switch kind {
				case "create":
					var made vfs.File
					if made, errs[i] = f.Create(p); errs[i] == nil {
						open[i][p] = made
					}
				case "mkdir":
					errs[i] = f.MkdirAll(p)
				case "rename":
					errs[i] = f.Rename(p, to)
				case "remove":
					errs[i] = f.Remove(p)
				case "syncdir":
					errs[i] = f.SyncDir(filepath.Dir(p))
				case "write":
					if h != nil {
						_, errs[i] = h.Write([]byte(strings.Repeat(string(rune('a'+step%26)), size)))
					}
				case "sync":
					if h != nil {
						errs[i] = h.Sync()
					}
				case "truncate":
					if h != nil {
						have, _ := h.Size()
						errs[i] = h.Truncate(have / 2)
					}
				}
			}
			if (errs[0] == nil) != (errs[1] == nil) {
				t.Skip("the systems differ in what they refuse", kind, p, to, errs)
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		choose := vfs.SeededChoice(seed)
		if _, err := shim.Lose(choose); err != nil {
			t.Fatal(err)
		}
		sim.PowerLoss(1, choose)
		if d := cmp.Diff(tree(t, sim, "/d"), tree(t, mem, "/d")); d != "" {
			t.Fatalf("sim (-) and shim (+) differ:\n%s", d)
		}
		if names, _ := mem.List("/"); len(names) > 1 {
			t.Fatalf("left beside the data: %v", names)
		}
	})
}

// What a loss of power takes on a real file system, and what it tells of it.
func TestShimLosesWhatWasNotSynced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := newShim(t, vfs.OS(), dir)
	f := s.FS()
	must(t, f.MkdirAll(filepath.Join(dir, "logs")))
	must(t, f.SyncDir(filepath.Dir(dir)))
	must(t, f.SyncDir(dir))
	kept := create(t, f, filepath.Join(dir, "kept"))
	write(t, kept, "synced")
	gone := create(t, f, filepath.Join(dir, "gone"))
	write(t, gone, "back again")
	for _, h := range []vfs.File{kept, gone} {
		must(t, h.Sync())
	}
	must(t, f.SyncDir(dir))

	write(t, kept, " and not")
	write(t, create(t, f, filepath.Join(dir, "logs", "new")), "new")
	must(t, f.Remove(filepath.Join(dir, "gone")))
	if s.Held() != 1 {
		t.Errorf("%d files are held for a removal that is not durable", s.Held())
	}
	write(t, create(t, f, filepath.Join(dir, "kept.tmp")), "replaced")
	must(t, f.Rename(filepath.Join(dir, "kept.tmp"), filepath.Join(dir, "kept")))

	loss, err := s.LosePower(nil, 0)
	must(t, err)
	want := map[string]string{".": "(directory)", "kept": "synced", "gone": "back again", "logs": "(directory)"}
	if d := cmp.Diff(want, tree(t, vfs.OS(), dir)); d != "" {
		t.Error(d)
	}
	// " and not", "new" and "replaced"; logs/new, gone, kept.
	if d := cmp.Diff(vfs.ShimLoss{Unsynced: 19, Dropped: 19, Files: 3, Names: 3}, loss); d != "" {
		t.Error(d)
	}
}

func TestShimHoldsNothingThatIsDurable(t *testing.T) {
	dir := t.TempDir()
	s := newShim(t, vfs.OS(), dir)
	f := s.FS()
	for i := range 3 {
		p := filepath.Join(dir, fmt.Sprint(i))
		create(t, f, p)
		must(t, f.Remove(p))
	}
	if s.Held() != 3 {
		t.Errorf("%d held, want 3", s.Held())
	}
	must(t, f.SyncDir(dir))
	if s.Held() != 0 {
		t.Errorf("%d held, though all removals are durable", s.Held())
	}
}

// A loss of power that is waited for comes in the place of the next sync, and the sync never returns.
func TestShimPowerFailsInASync(t *testing.T) {
	dir := t.TempDir()
	s := newShim(t, vfs.OS(), dir)
	h := create(t, s.FS(), filepath.Join(dir, "a"))
	must(t, h.Sync())
	must(t, s.FS().SyncDir(dir))
	lost := make(chan vfs.ShimLoss)
	go func() {
		loss, err := s.LosePower(func(c vfs.SimChoice) int { return c.N - 1 }, time.Minute)
		if err != nil {
			t.Error(err)
		}
		lost <- loss
	}()
	synced := make(chan error, 1)
	go func() {
		// Until the loss is armed, syncs succeed.
		for {
			if _, err := h.Write([]byte("more")); err != nil {
				synced <- err
				return
			}
			if err := h.Sync(); err != nil {
				synced <- err
				return
			}
		}
	}()
	loss := <-lost
	// The choice would have spared everything: then nothing of it is found, so that the loss is one.
	if loss.Dropped == 0 || loss.Dropped != loss.Unsynced {
		t.Errorf("lost %+v", loss)
	}
	select {
	case err := <-synced:
		t.Errorf("a call came back after the power was gone: %v", err)
	default:
	}
}

func TestShimAfterAFailedSyncNothingIsDurable(t *testing.T) {
	dir := t.TempDir()
	s := newShim(t, vfs.OS(), dir)
	h := create(t, s.FS(), filepath.Join(dir, "a"))
	write(t, h, "first")
	must(t, h.Sync())
	must(t, s.FS().SyncDir(dir))
	write(t, h, " second")
	in := s.Inject(vfs.SimFault{Kind: vfs.SyncError})
	in.Activate()
	if err := h.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync = %v", err)
	}
	in.Heal()
	must(t, h.Sync()) // as on Linux: the pages are marked clean
	if _, err := s.LosePower(nil, 0); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{".": "(directory)", "a": "first"}
	if d := cmp.Diff(want, tree(t, vfs.OS(), dir)); d != "" {
		t.Error(d)
	}
}

func TestShimRefuses(t *testing.T) {
	calls := map[vfs.Op]func(f vfs.FS, dir string, h vfs.File) error{
		vfs.OpCreate:  func(f vfs.FS, dir string, _ vfs.File) error { _, err := f.Create(filepath.Join(dir, "n")); return err },
		vfs.OpMkdir:   func(f vfs.FS, dir string, _ vfs.File) error { return f.MkdirAll(filepath.Join(dir, "m")) },
		vfs.OpWrite:   func(_ vfs.FS, _ string, h vfs.File) error { _, err := h.Write([]byte("12345678")); return err },
		vfs.OpSync:    func(_ vfs.FS, _ string, h vfs.File) error { return h.Sync() },
		vfs.OpSyncDir: func(f vfs.FS, dir string, _ vfs.File) error { return f.SyncDir(dir) },
		vfs.OpRead:    func(_ vfs.FS, _ string, h vfs.File) error { _, err := h.ReadAt(make([]byte, 1), 0); return err },
		vfs.OpOpen: func(f vfs.FS, dir string, _ vfs.File) error {
			_, err := f.Open(filepath.Join(dir, "a"))
			return err
		},
	}
	for name, tc := range map[string]struct {
		fault   vfs.SimFault
		refused []vfs.Op
		as      error
		step    vfs.Op // at which a probe fails
	}{
		"disk full":   {vfs.SimFault{Kind: vfs.DiskFull}, []vfs.Op{vfs.OpCreate, vfs.OpMkdir, vfs.OpWrite}, syscall.ENOSPC, vfs.OpCreate},
		"write error": {vfs.SimFault{Kind: vfs.WriteError, Short: true}, []vfs.Op{vfs.OpWrite}, syscall.EIO, vfs.OpWrite},
		"sync error":  {vfs.SimFault{Kind: vfs.SyncError}, []vfs.Op{vfs.OpSync, vfs.OpSyncDir}, syscall.EIO, vfs.OpSync},
		"read error":  {vfs.SimFault{Kind: vfs.ReadError}, []vfs.Op{vfs.OpRead}, syscall.EIO, vfs.OpRead},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newShim(t, vfs.OS(), dir)
			h := create(t, s.FS(), filepath.Join(dir, "a"))
			write(t, h, "content")
			if p := s.Probe(); p.Refused != "" {
				t.Fatalf("a probe of a sound disk: %+v", p)
			}
			in := s.Inject(tc.fault)
			if p := s.Probe(); p.Step != tc.step || !strings.Contains(p.Refused, vfs.ShimMark) {
				t.Errorf("a probe = %+v, want it refused at %s", p, tc.step)
			}
			for op, call := range calls {
				if err := call(s.FS(), dir, h); err != nil {
					t.Errorf("%s before the fault is active = %v", op, err)
				}
			}
			in.Activate()
			for op, call := range calls {
				var want error
				for _, r := range tc.refused {
					if r == op {
						want = tc.as
					}
				}
				if err := call(s.FS(), dir, h); !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), vfs.ShimMark) {
					t.Errorf("%s = %v, want %v", op, err, want)
				}
			}
			if got := in.Counts(); got.Refused != len(tc.refused) || got.Last == "" {
				t.Errorf("counted %+v, want %d: probes do not count", got, len(tc.refused))
			}
			in.Heal()
			in.Heal()
			for op, call := range calls {
				if err := call(s.FS(), dir, h); err != nil {
					t.Errorf("%s after the end = %v", op, err)
				}
			}
			if p := s.Probe(); p.Refused != "" {
				t.Errorf("a probe after the end = %+v", p)
			}
		})
	}
}

func TestShimWritesWhatFitsOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	s := newShim(t, vfs.OS(), dir)
	h := create(t, s.FS(), filepath.Join(dir, "a"))
	s.Inject(vfs.SimFault{Kind: vfs.DiskFull, Free: 6, Short: true}).Activate()
	write(t, h, "1234")
	if n, err := h.Write([]byte("5678")); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Write = %d, %v", n, err)
	}
	want(t, vfs.OS(), filepath.Join(dir, "a"), "123456")
}

// slowFS takes a second for each sync.
type slowFS struct{ vfs.FS }

type slowFile struct{ vfs.File }

func (s slowFS) Create(path string) (vfs.File, error) {
	f, err := s.FS.Create(path)
	return slowFile{f}, err
}

func (s slowFile) Sync() error {
	time.Sleep(time.Second)
	return s.File.Sync()
}

func TestShimMakesCallsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShim(t, slowFS{vfs.NewMem()}, "/")
		h := create(t, s.FS(), "/a")
		in := s.Inject(vfs.SimFault{Kind: vfs.SlowDisk, Factor: 4})
		in.Activate()
		begin := time.Now()
		must(t, h.Sync())
		if took := time.Since(begin); took != 4*time.Second {
			t.Errorf("a sync took %v, want 4 s", took)
		}
		// The end of the fault is the end of the waiting.
		time.AfterFunc(1500*time.Millisecond, in.Heal)
		begin = time.Now()
		must(t, h.Sync())
		if took := time.Since(begin); took != 1500*time.Millisecond {
			t.Errorf("a sync during which the fault ended took %v, want 1.5 s", took)
		}
		if got := in.Counts(); got.Delay != 3500*time.Millisecond || got.Delayed < 2 {
			t.Errorf("counted %+v", got)
		}
		begin = time.Now()
		must(t, h.Sync())
		if took := time.Since(begin); took != time.Second {
			t.Errorf("a sync after the end took %v", took)
		}
	})
}

// A rename across directories of which one is synced may be found at both names, or at none.
func TestShimHalfARename(t *testing.T) {
	for synced, want := range map[string]map[string]string{
		"to":   {".": "(directory)", "x": "(directory)", "x/a": "bytes", "y": "(directory)", "y/b": "bytes"},
		"from": {".": "(directory)", "x": "(directory)", "y": "(directory)"},
	} {
		t.Run(synced+" synced", func(t *testing.T) {
			dir := t.TempDir()
			s := newShim(t, vfs.OS(), dir)
			f := s.FS()
			x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
			must(t, f.MkdirAll(x))
			must(t, f.MkdirAll(y))
			h := create(t, f, filepath.Join(x, "a"))
			write(t, h, "bytes")
			must(t, h.Sync())
			for _, d := range []string{dir, x, y} {
				must(t, f.SyncDir(d))
			}
			must(t, f.Rename(filepath.Join(x, "a"), filepath.Join(y, "b")))
			must(t, f.SyncDir(map[string]string{"to": y, "from": x}[synced]))
			if _, err := s.LosePower(nil, 0); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, tree(t, vfs.OS(), dir)); d != "" {
				t.Error(d)
			}
		})
	}
}
