package vfs_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/internal/vfs"
)

// perCall takes 10 for each call, and 10 more for each 4 KiB.
func perCall(_ vfs.Op, _ string, bytes int) int64 { return 10 + 10*int64(bytes/4096) }

// newest finds all that was not synced, too.
func newest(c vfs.SimChoice) int { return c.N - 1 }

// synced makes a file that is durable with its name.
func synced(t *testing.T, s *vfs.Sim, path, content string) vfs.File {
	t.Helper()
	f := create(t, s, path)
	write(t, f, content)
	must(t, f.Sync())
	must(t, s.SyncDir("/"))
	s.Begin(s.End()) // settled: no crash goes back behind it
	return f
}

func TestSimTime(t *testing.T) {
	s := vfs.NewSim(perCall)
	s.Begin(100)
	f, g := create(t, s, "a"), create(t, s, "b") // 120
	write(t, f, strings.Repeat("x", 8192))       // 150
	write(t, g, "x")                             // 160
	must(t, s.SyncAll([]vfs.File{f, g}))         // 190 and 170
	if end := s.End(); end != 190 {
		t.Errorf("the operation ends at %d, want 190", end)
	}
	s.PowerLoss(185, nil) // between the two syncs; the names were not synced
	if names, err := s.List("/"); err != nil || len(names) != 0 {
		t.Errorf("names that were not synced are found: %q, %v", names, err)
	}

	s = vfs.NewSim(perCall)
	f, g = synced(t, s, "a", ""), synced(t, s, "b", "")
	start := s.End()
	write(t, f, strings.Repeat("x", 8192)) // 30
	write(t, g, "y")                       // 40
	must(t, s.SyncAll([]vfs.File{f, g}))   // 70 and 50
	s.PowerLoss(start+60, nil)
	want(t, s, "a", "")
	want(t, s, "b", "y")
}

func TestSimCrashKeepsWhatWasDoneByThen(t *testing.T) {
	for at, content := range []string{"base", "base+1", "ba", "ba+2", "ba+2"} {
		s := vfs.NewSim(perCall)
		f := synced(t, s, "a", "base")
		_, err := s.Lock("lock")
		must(t, err)
		start := s.End()
		s.Begin(start)
		write(t, f, "+1")
		must(t, f.Truncate(2))
		write(t, f, "+2")
		must(t, f.Sync())
		must(t, s.Rename("a", "b")) // after all of the crashes
		s.Crash(start + 10*int64(at) + 5)
		want(t, s, "a", content)
		if _, err := f.Write(nil); !errors.Is(err, vfs.ErrCrashed) {
			t.Errorf("Write by the process that is gone = %v, want ErrCrashed", err)
		}
		if _, err := s.Lock("lock"); err != nil {
			t.Errorf("the lock of the process that is gone holds: %v", err)
		}
		s.PowerLoss(start+10*int64(at)+5, nil)
		if at == 4 {
			want(t, s, "a", "ba+2")
		} else {
			want(t, s, "a", "base")
		}
	}
}

// A large write that the crash meets keeps the pages that it had time for.
func TestSimCrashInAWrite(t *testing.T) {
	s := vfs.NewSim(perCall)
	f := synced(t, s, "a", "base")
	start := s.End()
	write(t, f, strings.Repeat("x", 4*4096)) // takes 50
	s.Crash(start + 30)
	want(t, s, "a", "base"+strings.Repeat("x", 2*4096))
}

// Operations of two queues overlap: the crash takes back the later part of each.
func TestSimOverlappingOperations(t *testing.T) {
	s := vfs.NewSim(perCall)
	f, g := synced(t, s, "a", ""), synced(t, s, "b", "")
	start := s.End()
	for _, op := range []struct {
		f     vfs.File
		begin int64
	}{{f, start}, {g, start + 15}} {
		s.Begin(op.begin)
		for _, piece := range []string{"1", "2", "3"} {
			write(t, op.f, piece)
		}
	}
	s.Crash(start + 25)
	want(t, s, "a", "12")
	want(t, s, "b", "1")
}

func TestSimPowerLossOfBytes(t *testing.T) {
	sector := func(c string) string { return strings.Repeat(c, vfs.SectorBytes) }
	// only finds the newest length, and of the sectors those named in their newest version.
	only := func(sectors ...int64) vfs.Choose {
		return func(c vfs.SimChoice) int {
			if c.What == vfs.LossSize {
				return c.N - 1
			}
			for _, n := range sectors {
				if c.What == vfs.LossSector && c.Offset == n*vfs.SectorBytes {
					return c.N - 1
				}
			}
			return 0
		}
	}
	zeros := sector("\x00")
	appendFour := func(t *testing.T, f vfs.File) { write(t, f, sector("1")); write(t, f, sector("2")+sector("3")) }
	cases := []struct {
		name   string
		base   string
		do     func(t *testing.T, f vfs.File)
		choose vfs.Choose
		want   string
	}{
		{"nothing", sector("0"), appendFour, nil, sector("0")},
		{"all", sector("0"), appendFour, newest, sector("0") + sector("1") + sector("2") + sector("3")},
		{"out of order", sector("0"), appendFour, only(3), sector("0") + zeros + zeros + sector("3")},
		{"the length only", sector("0"), appendFour, only(), sector("0") + zeros + zeros + zeros},
		{"the length in a write", sector("0"), appendFour, func(c vfs.SimChoice) int {
			if c.What == vfs.LossSize {
				if c.N != 4 {
					t.Errorf("%d lengths to choose from, want 4", c.N)
				}
				return 2 // the synced one, the first write's, the second's first sector
			}
			return c.N - 1
		}, sector("0") + sector("1") + sector("2")},
		{"a sector after its first write", "base", func(t *testing.T, f vfs.File) { write(t, f, "+1"); write(t, f, "+2") }, func(c vfs.SimChoice) int {
			if c.What == vfs.LossSize {
				return 2
			}
			return 1
		}, "base+1\x00\x00"},
		{"a cut is undone", "base", func(t *testing.T, f vfs.File) { must(t, f.Truncate(1)) }, nil, "base"},
		{"a cut is undone, but zeroed its sector", "base", func(t *testing.T, f vfs.File) { must(t, f.Truncate(1)) }, func(c vfs.SimChoice) int {
			if c.What == vfs.LossSector {
				return 1
			}
			return 0
		}, "b\x00\x00\x00"},
		{"what was cut does not come back under a later length", "base", func(t *testing.T, f vfs.File) { must(t, f.Truncate(1)); write(t, f, "XYZ") }, only(), "b\x00\x00\x00"},
		{"a cut and an append", "base", func(t *testing.T, f vfs.File) { must(t, f.Truncate(1)); write(t, f, "XYZ") }, newest, "bXYZ"},
		{"synced", "base", func(t *testing.T, f vfs.File) { write(t, f, "+1"); must(t, f.Sync()); write(t, f, "+2") }, nil, "base+1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := vfs.NewSim(perCall)
			c.do(t, synced(t, s, "a", c.base))
			s.PowerLoss(s.End(), c.choose)
			if d := cmp.Diff(c.want, contentOf(t, s, "a")); d != "" {
				t.Error(d)
			}
			s.PowerLoss(s.End(), nil)
			want(t, s, "a", c.want) // it is at rest now
		})
	}
}

func TestSimPowerLossOfNames(t *testing.T) {
	names := func(s *vfs.Sim) string {
		ns, err := s.List("/")
		must(t, err)
		return strings.Join(ns, " ")
	}
	only := func(found ...string) vfs.Choose {
		return func(c vfs.SimChoice) int {
			for _, f := range found {
				if c.What == vfs.LossName && c.Path == f {
					return c.N - 1
				}
			}
			return 0
		}
	}
	for _, c := range []struct {
		name   string
		choose vfs.Choose
		want   string
		old    string // what the file old holds
	}{
		{"none", nil, "gone new old", "old"},
		{"all", newest, "made old", "new"},
		{"the made one", only("made"), "gone made new old", "old"},
		{"the removal of one", only("gone"), "new old", "old"},
		{"a rename's new name brings its removal", only("old"), "gone old", "new"},
		{"a rename's old name does not go alone", only("new"), "gone old", "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := vfs.NewSim(perCall)
			for _, name := range []string{"old", "new", "gone"} {
				synced(t, s, name, name)
			}
			must(t, s.Remove("gone"))
			create(t, s, "made")
			must(t, s.Rename("new", "old"))
			s.PowerLoss(s.End(), c.choose)
			if got := names(s); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
			want(t, s, "old", c.old)
		})
	}
	t.Run("synced", func(t *testing.T) {
		s := vfs.NewSim(perCall)
		synced(t, s, "new", "new")
		must(t, s.Rename("new", "old"))
		start := s.End()
		must(t, s.SyncDir("/"))
		s.PowerLoss(start+10, nil)
		want(t, s, "old", "new")
	})
}

func TestSimFaults(t *testing.T) {
	build := func(f vfs.SimFault) (*vfs.Sim, vfs.File, *vfs.Injected) {
		s := vfs.NewSim(perCall)
		file := synced(t, s, "a", "base")
		return s, file, s.Inject(f)
	}
	t.Run("disk full", func(t *testing.T) {
		s, f, in := build(vfs.SimFault{Kind: vfs.DiskFull, Free: 5, Short: true})
		write(t, f, "123")
		if n, err := f.Write([]byte("456")); n != 2 || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Write = %d, %v; want 2, ENOSPC", n, err)
		}
		if n, err := f.Write([]byte("7")); n != 0 || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Write = %d, %v; want 0, ENOSPC", n, err)
		}
		if _, err := s.Create("b"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Create = %v, want ENOSPC", err)
		}
		if err := s.MkdirAll("d"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("MkdirAll = %v, want ENOSPC", err)
		}
		must(t, f.Sync())
		if in.Refused != 4 {
			t.Errorf("%d calls refused, want 4", in.Refused)
		}
		in.Heal()
		write(t, f, "8")
		want(t, s, "a", "base123458")
	})
	t.Run("slow, for a while and one file", func(t *testing.T) {
		s, f, in := build(vfs.SimFault{Kind: vfs.SlowDisk, Factor: 5, From: 100, Until: 200, Match: func(p string) bool { return p == "a" }})
		for _, c := range []struct {
			begin, want int64
		}{{99, 109}, {100, 150}, {199, 249}, {200, 210}} {
			s.Begin(c.begin)
			write(t, f, "x")
			if end := s.End(); end != c.want {
				t.Errorf("a write at %d ends at %d, want %d", c.begin, end, c.want)
			}
		}
		if in.Delayed != 2 || in.Delay != 80 {
			t.Errorf("%d delayed by %d, want 2 by 80", in.Delayed, in.Delay)
		}
		if create(t, s, "b"); s.End() != 220 {
			t.Errorf("another file was slow: %d", s.End())
		}
	})
	t.Run("failing write and read, once each", func(t *testing.T) {
		s, f, _ := build(vfs.SimFault{Kind: vfs.WriteError, Times: 1, Short: true})
		s.Inject(vfs.SimFault{Kind: vfs.ReadError, Times: 1})
		if n, err := f.Write([]byte("1234")); n != 2 || !errors.Is(err, syscall.EIO) {
			t.Errorf("Write = %d, %v; want 2, EIO", n, err)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("ReadAt = %v, want EIO", err)
		}
		write(t, f, "56")
		want(t, s, "a", "base1256")
	})
	for _, c := range []struct {
		name               string
		fault              vfs.SimFault
		killed, unpowered  string
		afterAnotherSynced string
	}{
		{"failing sync drops pages", vfs.SimFault{}, "base", "base", "base"},
		{"they linger", vfs.SimFault{Lingers: true}, "base+1", "base", "base"},
		{"they stay dirty", vfs.SimFault{Keeps: true}, "base+1", "base", "base+1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fault.Kind, c.fault.Times = vfs.SyncError, 1
			prepare := func(again bool) *vfs.Sim {
				s, f, in := build(c.fault)
				write(t, f, "+1")
				if err := f.Sync(); !errors.Is(err, syscall.EIO) || in.Refused != 1 {
					t.Fatalf("Sync = %v, %d refused; want EIO", err, in.Refused)
				}
				want(t, s, "a", "base+1") // the process still reads it
				if again {
					must(t, f.Sync())
				}
				return s
			}
			s := prepare(false)
			s.Crash(s.End())
			want(t, s, "a", c.killed)
			s = prepare(false)
			s.PowerLoss(s.End(), nil)
			want(t, s, "a", c.unpowered)
			s = prepare(true)
			s.PowerLoss(s.End(), nil)
			want(t, s, "a", c.afterAnotherSynced)
		})
	}
	t.Run("bit rot", func(t *testing.T) {
		s, f, _ := build(vfs.SimFault{Kind: vfs.ReadError, From: 1 << 40})
		write(t, f, "+1")
		if d := cmp.Diff([]vfs.SimFileInfo{{Path: "a", Size: 6, Synced: 4}}, s.Files()); d != "" {
			t.Error(d)
		}
		if s.Flip("a", 6, 0) || s.Flip("b", 0, 0) || !s.Flip("/a", 1, 1) {
			t.Error("Flip flips what is not there, or not what is")
		}
		want(t, s, "a", "bcse+1")
		s.PowerLoss(s.End(), nil)
		want(t, s, "a", "bcse")
	})
}

// A file that is never synced does not grow a journal without bound, and a crash still takes back what it must.
func TestSimJournalIsTrimmed(t *testing.T) {
	s := vfs.NewSim(perCall)
	f := create(t, s, "a")
	for i := range 5000 {
		s.Begin(int64(i) * 100)
		write(t, f, "12345678")
	}
	if n := vfs.JournalLen(f); n > 600 {
		t.Errorf("%d changes are kept", n)
	}
	s.Crash(5000*100 - 95)
	want(t, s, "a", strings.Repeat("12345678", 4999))
	for i := range 100 {
		f, err := s.OpenAppend("a")
		must(t, err)
		s.Begin(5000*100 + int64(i)*1000)
		write(t, f, "x")
		must(t, f.Sync())
		if n := vfs.JournalLen(f); i > 0 && n > 4 {
			t.Fatalf("%d changes are kept though all is synced", n)
		}
	}
}

func BenchmarkSimWriteSync(b *testing.B) {
	s := vfs.NewSim(perCall)
	var files []vfs.File
	for i := range 8 {
		f, err := s.Create(fmt.Sprintf("f%d", i))
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, f)
	}
	p := make([]byte, 200)
	b.ReportAllocs()
	for i := range b.N {
		f := files[i%8]
		s.Begin(int64(i) * 100)
		_, _ = f.Write(p)
		_ = f.Sync()
		if i%80_000 == 79_999 {
			for _, f := range files {
				_ = f.Truncate(0)
			}
		}
	}
}
