package vfs_test

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"soak/internal/vfs"
)

// Every implementation passes the same table: what the logs rely on must not depend on which one they stand on.
func TestConformance(t *testing.T) {
	systems := []struct {
		name string
		open func(t *testing.T) (vfs.FS, string)
	}{
		{"os", func(t *testing.T) (vfs.FS, string) { return vfs.OS(), t.TempDir() }},
		{"mem", func(t *testing.T) (vfs.FS, string) { return vfs.NewMem(), "/" }},
		{"hooked", func(t *testing.T) (vfs.FS, string) {
			return vfs.Hooked(vfs.NewMem(), func(vfs.Op, string) error { return nil }), "."
		}},
		{"sim", func(t *testing.T) (vfs.FS, string) {
			return vfs.NewSim(func(_ vfs.Op, _ string, bytes int) int64 { return 1000 + int64(bytes) }), "/"
		}},
		{"shim", func(t *testing.T) (vfs.FS, string) {
			dir := t.TempDir()
			return newShim(t, vfs.OS(), dir).FS(), dir
		}},
		{"shim over mem", func(t *testing.T) (vfs.FS, string) { return newShim(t, vfs.NewMem(), "/").FS(), "/" }},
	}
	for _, sys := range systems {
		for _, c := range conformance {
			t.Run(sys.name+"/"+c.name, func(t *testing.T) {
				fsys, dir := sys.open(t)
				c.run(t, fsys, dir)
			})
		}
	}
}

var conformance = []struct {
	name string
	run  func(t *testing.T, fsys vfs.FS, dir string)
}{
	{"append, read at, size", func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "a"))
		write(t, f, "hello ")
		write(t, f, "world")
		if n, err := f.Size(); n != 11 || err != nil {
			t.Errorf("Size = %d, %v", n, err)
		}
		b := make([]byte, 5)
		if n, err := f.ReadAt(b, 6); n != 5 || err != nil || string(b) != "world" {
			t.Errorf("ReadAt(6) = %d, %v, %q", n, err, b)
		}
		if n, err := f.ReadAt(b, 9); n != 2 || err != io.EOF {
			t.Errorf("ReadAt across the end = %d, %v; want 2, EOF", n, err)
		}
		if n, err := f.ReadAt(b, 11); n != 0 || err != io.EOF {
			t.Errorf("ReadAt at the end = %d, %v; want 0, EOF", n, err)
		}
		must(t, f.Sync())
		must(t, f.Close())
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second Close = %v, want ErrClosed", err)
		}
	}},
	{"truncate, then write at the new end", func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "a"))
		write(t, f, "0123456789")
		must(t, f.Truncate(4))
		write(t, f, "ab")
		want(t, fsys, filepath.Join(dir, "a"), "0123ab")
		for _, size := range []int64{-1, 7} {
			if err := f.Truncate(size); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("Truncate(%d) = %v, want ErrInvalid", size, err)
			}
		}
	}},
	{"create empties, open-append keeps, open refuses writes", func(t *testing.T, fsys vfs.FS, dir string) {
		p := filepath.Join(dir, "a")
		write(t, create(t, fsys, p), "old")
		f, err := fsys.OpenAppend(p)
		must(t, err)
		write(t, f, "er")
		want(t, fsys, p, "older")
		r, err := fsys.Open(p)
		must(t, err)
		if _, err := r.Write([]byte("x")); err == nil {
			t.Error("a file opened for reading took a write")
		}
		create(t, fsys, p)
		want(t, fsys, p, "")
	}},
	{"missing things", func(t *testing.T, fsys vfs.FS, dir string) {
		p := filepath.Join(dir, "none")
		_, oerr := fsys.Open(p)
		_, aerr := fsys.OpenAppend(p)
		_, serr := fsys.Stat(p)
		_, lerr := fsys.List(p)
		_, cerr := fsys.Create(filepath.Join(p, "x"))
		for what, err := range map[string]error{
			"Open": oerr, "OpenAppend": aerr, "Stat": serr, "List": lerr, "Create": cerr,
			"Remove": fsys.Remove(p), "Rename": fsys.Rename(p, p+"2"), "SyncDir": fsys.SyncDir(p),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s = %v, want ErrNotExist", what, err)
			}
		}
	}},
	{"directories, list, stat, remove", func(t *testing.T, fsys vfs.FS, dir string) {
		sub := filepath.Join(dir, "x", "y")
		must(t, fsys.MkdirAll(sub))
		must(t, fsys.MkdirAll(sub))
		write(t, create(t, fsys, filepath.Join(sub, "b")), "12")
		create(t, fsys, filepath.Join(sub, "a"))
		names, err := fsys.List(sub)
		must(t, err)
		if d := cmp.Diff([]string{"a", "b"}, names); d != "" {
			t.Error(d)
		}
		if i, err := fsys.Stat(sub); err != nil || !i.Dir {
			t.Errorf("Stat of a directory = %+v, %v", i, err)
		}
		if i, err := fsys.Stat(filepath.Join(sub, "b")); err != nil || i != (vfs.Info{Size: 2}) {
			t.Errorf("Stat of a file = %+v, %v", i, err)
		}
		if err := fsys.Remove(sub); err == nil {
			t.Error("a directory that is not empty was removed")
		}
		must(t, fsys.Remove(filepath.Join(sub, "a")))
		must(t, fsys.Remove(filepath.Join(sub, "b")))
		must(t, fsys.SyncDir(sub))
		must(t, fsys.Remove(sub))
		if err := fsys.MkdirAll(filepath.Join(dir, "x")); err != nil {
			t.Error(err)
		}
		create(t, fsys, filepath.Join(dir, "file"))
		if err := fsys.MkdirAll(filepath.Join(dir, "file", "z")); err == nil {
			t.Error("a directory was made under a file")
		}
	}},
	{"rename", func(t *testing.T, fsys vfs.FS, dir string) {
		a, b, sub := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "sub")
		write(t, create(t, fsys, a), "new")
		write(t, create(t, fsys, b), "old")
		must(t, fsys.Rename(a, b))
		want(t, fsys, b, "new")
		if _, err := fsys.Stat(a); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the old name is still there: %v", err)
		}
		must(t, fsys.MkdirAll(sub))
		if err := fsys.Rename(b, sub); err == nil {
			t.Error("a file replaced a directory")
		}
		must(t, fsys.MkdirAll(sub+"2"))
		if err := fsys.Rename(sub, sub+"2"); err == nil {
			t.Error("a directory replaced a directory")
		}
		must(t, fsys.Rename(sub, sub+"3"))
		if i, err := fsys.Stat(sub + "3"); err != nil || !i.Dir {
			t.Errorf("the renamed directory: %+v, %v", i, err)
		}
	}},
	{"a file without its name stays open", func(t *testing.T, fsys vfs.FS, dir string) {
		p := filepath.Join(dir, "a")
		f := create(t, fsys, p)
		write(t, f, "first")
		must(t, fsys.Rename(p, p+"2"))
		write(t, f, "+second")
		want(t, fsys, p+"2", "first+second")
		must(t, fsys.Remove(p+"2"))
		write(t, create(t, fsys, p+"2"), "another")
		write(t, f, "+third")
		must(t, f.Sync())
		if n, err := f.Size(); n != 18 || err != nil {
			t.Errorf("Size = %d, %v", n, err)
		}
		want(t, fsys, p+"2", "another")
		must(t, fsys.Rename(p+"2", p+"2"))
		want(t, fsys, p+"2", "another")
		must(t, f.Close())
	}},
	{"two openers of one file", func(t *testing.T, fsys vfs.FS, dir string) {
		p := filepath.Join(dir, "a")
		f := create(t, fsys, p)
		g, err := fsys.OpenAppend(p)
		must(t, err)
		write(t, f, "one ")
		write(t, g, "two ")
		must(t, g.Truncate(3))
		write(t, f, "!")
		want(t, fsys, p, "one!")
		must(t, f.Close())
		write(t, g, "?")
		want(t, fsys, p, "one!?")
		if _, err := f.Write([]byte("x")); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Write on a closed file = %v, want ErrClosed", err)
		}
	}},
	{"lock", func(t *testing.T, fsys vfs.FS, dir string) {
		p := filepath.Join(dir, "lock")
		l, err := fsys.Lock(p)
		must(t, err)
		if _, err := fsys.Lock(p); !errors.Is(err, vfs.ErrLocked) {
			t.Fatalf("second Lock = %v, want ErrLocked", err)
		}
		must(t, l.Close())
		l, err = fsys.Lock(p)
		must(t, err)
		must(t, l.Close())
	}},
}

func create(t *testing.T, fsys vfs.FS, path string) vfs.File {
	t.Helper()
	f, err := fsys.Create(path)
	must(t, err)
	if f.Name() != path {
		t.Errorf("Name = %q, want %q", f.Name(), path)
	}
	return f
}

func write(t *testing.T, f vfs.File, s string) {
	t.Helper()
	if n, err := f.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}

func want(t *testing.T, fsys vfs.FS, path, content string) {
	t.Helper()
	if got := contentOf(t, fsys, path); got != content {
		t.Errorf("%s holds %q, want %q", path, got, content)
	}
}

func contentOf(t *testing.T, fsys vfs.FS, path string) string {
	t.Helper()
	f, err := fsys.Open(path)
	must(t, err)
	defer f.Close()
	n, err := f.Size()
	must(t, err)
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
