package hand

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"soak/chaos/owner"
)

const (
	infoFile   = "cluster.json"
	socketFile = "socket"
	// LogFile is the log of an owner in the background, in the cluster's home.
	LogFile = "owner.log"
)

// maxSocket is the longest path that a Unix socket can have on every system that this runs on, in bytes.
const maxSocket = 103

// maxInfo bounds cluster.json, in bytes: nine nodes take some hundred.
const maxInfo = 64 << 10

// startingTime is how long a home without cluster.json is taken for that of an owner that is just starting.
const startingTime = time.Minute

// Info is a cluster as its owner has written it down once it was up.
type Info struct {
	ID        string    `json:"id"`
	Driver    string    `json:"driver"`
	PID       int       `json:"pid"` // of the owner
	Started   time.Time `json:"started"`
	Nodes     int       `json:"nodes"`
	Bootstrap []string  `json:"bootstrap"` // HOST:PORT of n1, n2, …
	Home      string    `json:"home"`
	Bugs      []string  `json:"bugs,omitempty"`
	Alive     bool      `json:"-"` // its owner lives
}

// homes is the folder of all homes.
func homes() (string, error) {
	dir, err := owner.StateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "clusters"), nil
}

// Home makes the home of a cluster that is about to be started, and returns its path.
func Home(id string) (string, error) {
	if err := owner.ValidID(id); err != nil {
		return "", err
	}
	dir, err := homes()
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, id)
	if socket := filepath.Join(home, socketFile); len(socket) > maxSocket {
		return "", fmt.Errorf("the path of the socket, %s, has more than the %d bytes that a socket's may have: give a shorter XDG_STATE_HOME", socket, maxSocket)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", fmt.Errorf("making the cluster's home: %w", err)
	}
	return home, nil
}

// write keeps the description where others find it.
func (i Info) write() error {
	b, err := json.Marshal(i)
	if err == nil {
		err = os.WriteFile(filepath.Join(i.Home, infoFile), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing down the cluster: %w", err)
	}
	return nil
}

// List gives the clusters that are there, the oldest first: those that live, and those whose owner is gone without having taken
// them down. One that is just starting is not among them.
func List() ([]Info, error) {
	dir, err := homes()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for clusters: %w", err)
	}
	var found []Info
	for _, e := range entries {
		if owner.ValidID(e.Name()) != nil {
			continue
		}
		i, err := read(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // starting, or half removed
		}
		i.Alive = owner.Alive(i.ID)
		found = append(found, i)
	}
	slices.SortStableFunc(found, func(a, b Info) int { return a.Started.Compare(b.Started) })
	return found, nil
}

func read(home string) (i Info, err error) {
	f, err := os.Open(filepath.Join(home, infoFile))
	if err != nil {
		return i, err
	}
	defer f.Close()
	if s, err := f.Stat(); err != nil || s.Size() > maxInfo {
		return i, fmt.Errorf("%s is no description of a cluster", f.Name())
	}
	if err := json.NewDecoder(f).Decode(&i); err != nil {
		return i, err
	}
	i.Home = home
	if i.ID != filepath.Base(home) {
		return i, fmt.Errorf("%s names the cluster %q", f.Name(), i.ID)
	}
	return i, nil
}

// Clean removes the homes of clusters whose owner is gone, and says what it removed, a line each. What else they left, the drivers'
// own Clean removes.
func Clean() (removed []string, err error) {
	dir, err := homes()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	var errs []error
	for _, e := range entries {
		id, home := e.Name(), filepath.Join(dir, e.Name())
		if !e.IsDir() || owner.ValidID(id) != nil || owner.Alive(id) || starting(home) {
			continue
		}
		if err := os.RemoveAll(home); err != nil {
			errs = append(errs, fmt.Errorf("removing the home of cluster %s: %w", id, err))
			continue
		}
		removed = append(removed, fmt.Sprintf("folder %s of cluster %s", home, id))
	}
	return removed, errors.Join(errs...)
}

// starting reports whether a home may be that of an owner that has not got as far as its lock.
func starting(home string) bool {
	if _, err := os.Stat(filepath.Join(home, infoFile)); err == nil {
		return false
	}
	s, err := os.Stat(home)
	return err == nil && time.Since(s.ModTime()) < startingTime
}

// ErrNone is wrapped by Find's error when there is no such cluster.
var ErrNone = errors.New("no such cluster")

// Ambiguous is Find's error when a prefix means several clusters, or none is given and there are several.
type Ambiguous struct {
	Prefix string
	Among  []Info
}

func (a *Ambiguous) Error() string {
	var ids []string
	for _, i := range a.Among {
		ids = append(ids, i.ID)
	}
	if a.Prefix == "" {
		return fmt.Sprintf("%d clusters are up: %s", len(ids), strings.Join(ids, ", "))
	}
	return fmt.Sprintf("%q is the beginning of several clusters' ids: %s", a.Prefix, strings.Join(ids, ", "))
}

// Find gives the one cluster whose id begins with prefix, or the only one there is if prefix is empty. Those that live come first: one
// whose owner is gone is found only where no living one is meant.
func Find(prefix string) (Info, error) {
	all, err := List()
	if err != nil {
		return Info{}, err
	}
	for _, alive := range []bool{true, false} {
		var found []Info
		for _, i := range all {
			if i.Alive == alive && strings.HasPrefix(i.ID, prefix) {
				found = append(found, i)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return Info{}, &Ambiguous{Prefix: prefix, Among: found}
		}
	}
	if prefix == "" {
		return Info{}, fmt.Errorf("no cluster is up: %w", ErrNone)
	}
	return Info{}, fmt.Errorf("no cluster's id begins with %q: %w", prefix, ErrNone)
}
