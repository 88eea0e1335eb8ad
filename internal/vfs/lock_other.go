//go:build !linux && !darwin

package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// Lock is for Linux and macOS only, where brokers run; elsewhere a broker must not start unlocked.
func (osFS) Lock(path string) (io.Closer, error) {
	return nil, &fs.PathError{Op: "lock", Path: path, Err: errors.ErrUnsupported}
}
