package vfs

import (
	"errors"
	"io"
)

// Op names a call, for a Hook.
type Op string

// The calls that a Hook sees. OpOpen stands for Open and OpenAppend.
const (
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpRename   Op = "rename" // the path is the new one
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpList     Op = "list"
	OpStat     Op = "stat"
	OpSyncDir  Op = "syncdir"
	OpLock     Op = "lock"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
)

// Hook is asked before every call; an error it answers becomes the call's, and the call does not happen. For a
// write the error may be (or wrap) a *ShortWrite. It may be called from several goroutines at a time.
type Hook func(op Op, path string) error

// ShortWrite is a Hook's answer for a write of which the first N bytes succeed, as on a full disk.
type ShortWrite struct {
	N   int
	Err error
}

func (s *ShortWrite) Error() string { return s.Err.Error() }
func (s *ShortWrite) Unwrap() error { return s.Err }

// Hooked gives a file system that asks a hook before each call on it or on its files. Size, Name and Close are not asked.
func Hooked(fs FS, h Hook) FS { return hookFS{fs, h} }

type hookFS struct {
	fs FS
	h  Hook
}

func (f hookFS) file(op Op, path string, open func(string) (File, error)) (File, error) {
	if err := f.h(op, path); err != nil {
		return nil, pathError(string(op), path, err)
	}
	inner, err := open(path)
	if err != nil {
		return nil, err
	}
	return hookFile{inner, f.h}, nil
}

func (f hookFS) call(op Op, path string, do func() error) error {
	if err := f.h(op, path); err != nil {
		return pathError(string(op), path, err)
	}
	return do()
}

func (f hookFS) Create(path string) (File, error) { return f.file(OpCreate, path, f.fs.Create) }
func (f hookFS) Open(path string) (File, error)   { return f.file(OpOpen, path, f.fs.Open) }
func (f hookFS) OpenAppend(path string) (File, error) {
	return f.file(OpOpen, path, f.fs.OpenAppend)
}
func (f hookFS) Rename(from, to string) error {
	return f.call(OpRename, to, func() error { return f.fs.Rename(from, to) })
}
func (f hookFS) Remove(path string) error {
	return f.call(OpRemove, path, func() error { return f.fs.Remove(path) })
}
func (f hookFS) MkdirAll(dir string) error {
	return f.call(OpMkdir, dir, func() error { return f.fs.MkdirAll(dir) })
}
func (f hookFS) SyncDir(dir string) error {
	return f.call(OpSyncDir, dir, func() error { return f.fs.SyncDir(dir) })
}
func (f hookFS) List(dir string) (names []string, err error) {
	err = f.call(OpList, dir, func() (err error) { names, err = f.fs.List(dir); return err })
	return names, err
}
func (f hookFS) Stat(path string) (i Info, err error) {
	err = f.call(OpStat, path, func() (err error) { i, err = f.fs.Stat(path); return err })
	return i, err
}
func (f hookFS) Lock(path string) (c io.Closer, err error) {
	err = f.call(OpLock, path, func() (err error) { c, err = f.fs.Lock(path); return err })
	return c, err
}

type hookFile struct {
	File
	h Hook
}

func (f hookFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.h(OpRead, f.Name()); err != nil {
		return 0, pathError("read", f.Name(), err)
	}
	return f.File.ReadAt(p, off)
}

func (f hookFile) Write(p []byte) (int, error) {
	err := f.h(OpWrite, f.Name())
	if err == nil {
		return f.File.Write(p)
	}
	n := 0
	if short := (*ShortWrite)(nil); errors.As(err, &short) {
		n, _ = f.File.Write(p[:min(max(short.N, 0), len(p))])
	}
	return n, pathError("write", f.Name(), err)
}

func (f hookFile) Sync() error {
	if err := f.h(OpSync, f.Name()); err != nil {
		return pathError("sync", f.Name(), err)
	}
	return f.File.Sync()
}

func (f hookFile) Truncate(size int64) error {
	if err := f.h(OpTruncate, f.Name()); err != nil {
		return pathError("truncate", f.Name(), err)
	}
	return f.File.Truncate(size)
}
