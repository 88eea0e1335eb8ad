package vfs_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/internal/vfs"
)

// durableFile makes a file whose name and first bytes are durable.
func durableFile(t *testing.T, m *vfs.Mem, path, content string) vfs.File {
	t.Helper()
	f := create(t, m, path)
	write(t, f, content)
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	return f
}

func TestCrashKeepsBytes(t *testing.T) {
	half := func(_ string, tail []byte) []byte { return tail[:len(tail)/2] }
	cases := []struct {
		name string
		do   func(t *testing.T, f vfs.File)
		tail func(string, []byte) []byte
		want string
	}{
		{"only what was synced", func(t *testing.T, f vfs.File) { write(t, f, "tail") }, nil, "synced"},
		{"a torn tail", func(t *testing.T, f vfs.File) { write(t, f, "tail") }, half, "syncedta"},
		{"a garbled tail", func(t *testing.T, f vfs.File) { write(t, f, "tail") },
			func(_ string, tail []byte) []byte { return make([]byte, len(tail)) }, "synced\x00\x00\x00\x00"},
		{"a cut that was not synced is undone", func(t *testing.T, f vfs.File) { must(t, f.Truncate(2)) }, nil, "synced"},
		{"a cut survives with the tail", func(t *testing.T, f vfs.File) { must(t, f.Truncate(2)); write(t, f, "1234") }, half, "sy12"},
		{"appending after a cut leaves the durable bytes alone", func(t *testing.T, f vfs.File) { must(t, f.Truncate(2)); write(t, f, "XXXX") }, nil, "synced"},
		{"a synced cut", func(t *testing.T, f vfs.File) { must(t, f.Truncate(2)); must(t, f.Sync()); write(t, f, "x") }, nil, "sy"},
		{"two syncs", func(t *testing.T, f vfs.File) { write(t, f, "+"); must(t, f.Sync()); write(t, f, "-") }, nil, "synced+"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := vfs.NewMem()
			c.do(t, durableFile(t, m, "a", "synced"))
			want(t, m.Crash(vfs.CrashOptions{Tail: c.tail}), "a", c.want)
		})
	}
}

func TestCrashKeepsNames(t *testing.T) {
	build := func(t *testing.T) *vfs.Mem {
		m := vfs.NewMem()
		durableFile(t, m, "old", "old")
		durableFile(t, m, "gone", "gone")
		f := create(t, m, "new")
		write(t, f, "new")
		must(t, f.Sync())
		must(t, m.Remove("gone"))
		must(t, m.MkdirAll("d/e"))
		must(t, m.SyncDir("d"))
		must(t, m.Rename("new", "old"))
		return m
	}
	names := func(t *testing.T, m *vfs.Mem, dir string) string {
		ns, err := m.List(dir)
		must(t, err)
		return strings.Join(ns, " ")
	}
	t.Run("none survives", func(t *testing.T) {
		m := build(t).Crash(vfs.CrashOptions{})
		if d := cmp.Diff("gone old", names(t, m, "/")); d != "" {
			t.Error(d)
		}
		want(t, m, "old", "old")
	})
	t.Run("all survive", func(t *testing.T) {
		m := build(t).Crash(vfs.CrashOptions{Name: func(string) bool { return true }})
		if d := cmp.Diff("d old", names(t, m, "/")); d != "" {
			t.Error(d)
		}
		want(t, m, "old", "new")
	})
	t.Run("synced by hand", func(t *testing.T) {
		m := build(t)
		must(t, m.SyncDir("/"))
		m = m.Crash(vfs.CrashOptions{})
		if d := cmp.Diff("d old", names(t, m, "/")); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff("e", names(t, m, "d")); d != "" {
			t.Error(d)
		}
		want(t, m, "old", "new")
	})
}

func TestCrashKillsTheOldSystem(t *testing.T) {
	m := vfs.NewMem()
	f := durableFile(t, m, "a", "x")
	_, err := m.Lock("lock")
	must(t, err)
	after := m.Crash(vfs.CrashOptions{})
	_, werr := f.Write([]byte("y"))
	_, oerr := m.Open("a")
	for what, err := range map[string]error{"Write": werr, "Sync": f.Sync(), "Open": oerr, "SyncDir": m.SyncDir("/"), "MkdirAll": m.MkdirAll("z")} {
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Errorf("%s after the crash = %v, want ErrCrashed", what, err)
		}
	}
	if _, err := after.Lock("lock"); err != nil {
		t.Errorf("the lock survived the crash: %v", err)
	}
	want(t, after, "a", "x")
}

func TestHook(t *testing.T) {
	full := errors.New("disk full")
	answer := map[vfs.Op]error{}
	var asked []string
	m := vfs.Hooked(vfs.NewMem(), func(op vfs.Op, path string) error {
		asked = append(asked, string(op)+" "+path)
		return answer[op]
	})
	f := create(t, m, "a")
	write(t, f, "ok")
	answer[vfs.OpWrite] = &vfs.ShortWrite{N: 2, Err: full}
	if n, err := f.Write([]byte("1234")); n != 2 || !errors.Is(err, full) {
		t.Errorf("Write = %d, %v; want 2 and disk full", n, err)
	}
	answer[vfs.OpWrite] = full
	if n, err := f.Write([]byte("5678")); n != 0 || !errors.Is(err, full) {
		t.Errorf("Write = %d, %v; want 0 and disk full", n, err)
	}
	want(t, m, "a", "ok12")
	answer[vfs.OpSync], answer[vfs.OpTruncate], answer[vfs.OpRemove] = full, full, full
	for what, err := range map[string]error{"Sync": f.Sync(), "Truncate": f.Truncate(0), "Remove": m.Remove("a")} {
		if pe := (*fs.PathError)(nil); !errors.Is(err, full) || !errors.As(err, &pe) {
			t.Errorf("%s = %v, want a path error that wraps disk full", what, err)
		}
	}
	want(t, m, "a", "ok12")
	if asked[0] != "create a" || asked[1] != "write a" {
		t.Errorf("the hook was asked %q", asked[:2])
	}
}
