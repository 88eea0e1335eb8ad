// Package owner says whose a thing is. Each run holds a lock, a flock on a file under the user's state
// directory, for as long as it lives; its id is on everything that it creates. A leftover is a thing whose owner no longer
// holds its lock: a runner killed with SIGKILL loses it with its life, so nothing has to be written at the end for the
// next run to know. Only leftovers are ever removed, so two runs side by side never meet.
//
// The drivers use it: chaos/process records its processes and folders here, chaos/docker puts the ids into labels. The
// package starts nothing, and signals a process only after making sure that it is the one that was recorded.
//
// The state directory is $XDG_STATE_HOME/soak, or ~/.local/state/soak.
package owner

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrHeld is wrapped by Acquire when another owner holds the id.
var ErrHeld = errors.New("its lock is held by a run that is still alive")

// Lock is an id held by this process. It ends with Release or with the process, however that ends.
type Lock struct {
	id   string
	path string
	file *os.File
}

// ID is the id that is held.
func (l *Lock) ID() string { return l.id }

// Acquire takes the lock of id, which must be a valid file name of at most 64 letters, digits, '-', '_' and '.'.
// It fails with ErrHeld if another holds it, also within the same process.
func Acquire(id string) (*Lock, error) {
	path, err := lockPath(id)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of locks: %w", err)
	}
	// Alive looks by taking the lock for an instant; a holder for that short is waited out.
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		l, err := tryAcquire(id, path)
		if l != nil || (err != nil && !errors.Is(err, ErrHeld)) {
			return l, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("taking the lock of %s: %w", id, ErrHeld)
		}
	}
}

// tryAcquire returns nil, ErrHeld when somebody else has the lock, or removed the file in the middle.
func tryAcquire(id, path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of %s: %w", id, err)
	}
	if ok, err := flock(f); err != nil || !ok {
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		return nil, ErrHeld
	}
	// Release unlinks the file before it unlocks: a lock on a file that is no longer in the folder is worth nothing.
	mine, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("looking at the lock of %s: %w", id, err)
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) {
		f.Close()
		return nil, ErrHeld
	}
	return &Lock{id: id, path: path, file: f}, nil
}

// Release gives the id up. Releasing twice, or a nil lock, does nothing.
func (l *Lock) Release() error {
	if l == nil || l.file == nil {
		return nil
	}
	err := os.Remove(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, l.file.Close())
	l.file = nil
	if err != nil {
		return fmt.Errorf("releasing the lock of %s: %w", l.id, err)
	}
	return nil
}

// Alive reports whether somebody holds the lock of id. An id that cannot be looked at counts as alive: what may be in
// use must not be removed.
func Alive(id string) bool {
	path, err := lockPath(id)
	if err != nil {
		return true
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		return true
	}
	defer f.Close()
	free, err := flock(f)
	return err != nil || !free
}

// Leftovers lists the ids that have left a lock file or a record behind and are no longer alive, in order.
func Leftovers() ([]string, error) {
	dir, err := StateDir()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, kind := range []struct{ folder, suffix string }{{"locks", ".lock"}, {"records", ".json"}} {
		entries, err := os.ReadDir(filepath.Join(dir, kind.folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("looking for leftovers: %w", err)
		}
		for _, e := range entries {
			if id, ok := strings.CutSuffix(e.Name(), kind.suffix); ok && ValidID(id) == nil && !Alive(id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// StateDir is the user's state directory of Soak. It need not exist.
func StateDir() (string, error) {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "soak"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding the state directory: %w", err)
	}
	return filepath.Join(home, ".local", "state", "soak"), nil
}

// Domain names the state directory: a random word made at its first use. Things on an engine that several users or
// machines share carry it, because a lock that is held in another state directory cannot be seen from here: what
// carries another domain is not ours to judge.
func Domain() (string, error) {
	dir, err := StateDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "domain")
	for range 100 {
		b, err := os.ReadFile(path)
		if word := strings.TrimSpace(string(b)); err == nil && len(word) == 16 {
			return word, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("reading the name of the state directory: %w", err)
		}
		if err == nil { // cut by a crash of long ago: nothing carries it
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", fmt.Errorf("replacing the name of the state directory: %w", err)
			}
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("making the state directory: %w", err)
		}
		// Written aside and linked into place, so that two first runs agree on one word.
		var word [8]byte
		rand.Read(word[:])
		aside := path + "." + hex.EncodeToString(word[:])
		if err := os.WriteFile(aside, []byte(hex.EncodeToString(word[:])+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("naming the state directory: %w", err)
		}
		err = os.Link(aside, path)
		os.Remove(aside)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("naming the state directory: %w", err)
		}
	}
	return "", fmt.Errorf("naming the state directory: %s keeps changing", path)
}

// ValidID says why an id cannot be one.
func ValidID(id string) error {
	if id == "" || len(id) > 64 || id[0] == '.' || id[0] == '-' {
		return fmt.Errorf("run id %q: want 1 to 64 letters, digits, '-', '_' or '.', the first a letter or digit", id)
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.') {
			return fmt.Errorf("run id %q: want letters, digits, '-', '_' or '.', not %q", id, r)
		}
	}
	return nil
}

func lockPath(id string) (string, error) {
	if err := ValidID(id); err != nil {
		return "", err
	}
	dir, err := StateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "locks", id+".lock"), nil
}
