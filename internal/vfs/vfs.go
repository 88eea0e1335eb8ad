// Package vfs is the one door to the file system for everything a broker stores. Behind it stand the real thing
// (OS), memory (NewMem), whose Crash forgets what was not synced, and the disk of a simulated node (NewSim), with latency, faults and
// crashes in virtual time; Hooked puts errors into any of them.
//
// The interface holds only what logs need: files are read at a position and written at their end, never in
// the middle. What survives a crash follows the strict reading of POSIX: a file's bytes after File.Sync, and a name (a
// created, renamed or removed file or directory) after SyncDir of the directory that holds it.
//
// Paths are those of path/filepath. Errors wrap fs.ErrNotExist, fs.ErrExist and fs.ErrClosed where these apply.
package vfs

import (
	"errors"
	"io"
)

// FS is a file system. Its methods may be called from several goroutines.
type FS interface {
	// Create makes a file, or empties the one that is there, and opens it for reading and appending.
	Create(path string) (File, error)
	// Open opens an existing file for reading only.
	Open(path string) (File, error)
	// OpenAppend opens an existing file for reading and appending.
	OpenAppend(path string) (File, error)

	// Rename moves a file or directory; a file at the new path is replaced in one step. A directory there is an error.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	// MkdirAll makes a directory and its missing parents. None of them is durable before its parent is synced.
	MkdirAll(dir string) error
	// List gives the names in a directory, sorted.
	List(dir string) ([]string, error)
	// Stat tells what stands at a path.
	Stat(path string) (Info, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error

	// Lock takes an exclusive lock on a file, which it creates. It does not wait: a lock that is held, by this
	// process or another, is ErrLocked. Close of the result, or the end of the process, gives it back.
	Lock(path string) (io.Closer, error)
}

// File is an open file. ReadAt may be called while another goroutine writes; all else is for one caller at a time.
type File interface {
	// ReadAt reads as io.ReaderAt says: fewer bytes than asked for come with an error, io.EOF at the end.
	io.ReaderAt
	// Write appends at the end of the file. An error may leave a part of p written.
	io.Writer
	// Sync makes the file's bytes and size durable. After an error nobody knows what is durable: do not write on.
	Sync() error
	// Truncate cuts the file to size bytes (never longer than it is); durable after Sync.
	Truncate(size int64) error
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Name is the path that the file was opened by.
	Name() string
	io.Closer
}

// Info is what Stat tells.
type Info struct {
	Size int64 // bytes; 0 for a directory
	Dir  bool
}

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("locked by another process or opener")
