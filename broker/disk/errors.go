package disk

import (
	"errors"
	"fmt"

	"soak/broker/bugs"
	"soak/broker/partlog"
	"soak/broker/raftlog"
)

// Hint says what a person can do about an error of this package or of the logs; "" where nothing special is known.
func Hint(err error) string {
	var h interface {
		error
		Hint() string
	}
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// Planted is the planted bug that made Open refuse the directory, false if none did.
func Planted(err error) (bugs.Bug, bool) {
	var raft *raftlog.DamageError
	var part *partlog.DamageError
	torn := errors.As(err, &raft) && raft.Torn || errors.As(err, &part) && part.Torn
	return bugs.TornTailFatal, torn
}

// LockedError says that the data directory is open elsewhere.
type LockedError struct{ Dir string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("data directory %s is in use by another broker", e.Dir)
}

// Hint says what a person can do.
func (e *LockedError) Hint() string {
	return "stop the broker that runs there, or give this one another data directory"
}

// MembersError says that the data directory belongs to a cluster of other members.
type MembersError struct {
	Dir        string
	Have, Want []int32 // in the directory, and as configured
}

func (e *MembersError) Error() string {
	return fmt.Sprintf("%s belongs to a cluster of nodes %v, and this node is to be one of %v", e.Dir, e.Have, e.Want)
}

// Hint says what a person can do.
func (e *MembersError) Hint() string {
	return "give all members by --peers; changing the members of a cluster is not in this version"
}

// WrongNodeError says that the data directory is another node's.
type WrongNodeError struct {
	Dir        string
	Have, Want int32
}

func (e *WrongNodeError) Error() string {
	return fmt.Sprintf("data directory %s belongs to node %d, this is node %d", e.Dir, e.Have, e.Want)
}

// Hint says what a person can do.
func (e *WrongNodeError) Hint() string {
	return fmt.Sprintf("start it with id %d, or give node %d a data directory of its own", e.Have, e.Want)
}

// FormatError says that the data directory has a format that this version does not know.
type FormatError struct {
	File       string
	Have, Want int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s says format %d, this version opens format %d", e.File, e.Have, e.Want)
}

// Hint says what a person can do.
func (e *FormatError) Hint() string {
	if e.Have > e.Want {
		return "a newer version wrote it: start that one, or a newer one still"
	}
	return "start the version that wrote it, or give this one an empty data directory"
}

// DamageError says that a file of the data directory, no log, is not what was written.
type DamageError struct{ File, Reason string }

func (e *DamageError) Error() string { return fmt.Sprintf("damaged: %s: %s", e.File, e.Reason) }

// Hint says what a person can do.
func (e *DamageError) Hint() string {
	return "keep a copy of the directory and restore it from a backup taken while the node was stopped; with an empty directory the node may vote twice in a term"
}
