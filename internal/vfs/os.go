package vfs

import (
	"fmt"
	"io/fs"
	"os"
)

// OS is the machine's own file system. Files are made with mode 0644 and directories with 0755, before the umask.
func OS() FS { return osFS{} }

type osFS struct{}

// osFile adds to os.File what File asks for. Every file is opened with O_APPEND where it can be written, so that a
// write after Truncate lands at the new end.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

// Truncate refuses to grow a file: a hole of zeros is never what a log wants.
func (f osFile) Truncate(size int64) error {
	have, err := f.Size()
	if err != nil {
		return err
	}
	if size < 0 || size > have {
		return &fs.PathError{Op: "truncate", Path: f.Name(), Err: fmt.Errorf("size %d outside 0..%d: %w", size, have, fs.ErrInvalid)}
	}
	return f.File.Truncate(size)
}

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Create(path string) (File, error) {
	return openOS(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND)
}
func (osFS) Open(path string) (File, error)       { return openOS(path, os.O_RDONLY) }
func (osFS) OpenAppend(path string) (File, error) { return openOS(path, os.O_RDWR|os.O_APPEND) }
func (osFS) Remove(path string) error             { return os.Remove(path) }
func (osFS) MkdirAll(dir string) error            { return os.MkdirAll(dir, 0o755) }

func (osFS) Rename(from, to string) error {
	// rename(2) would replace an empty directory without a word.
	if i, err := os.Lstat(to); err == nil && i.IsDir() {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}

func (osFS) List(dir string) ([]string, error) {
	es, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) Stat(path string) (Info, error) {
	i, err := os.Stat(path)
	if err != nil {
		return Info{}, err
	}
	if i.IsDir() {
		return Info{Dir: true}, nil
	}
	return Info{Size: i.Size()}, nil
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
