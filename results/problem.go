package results

import (
	"errors"
	"syscall"
)

// Problem is an error with what to do about it.
type Problem struct {
	Msg  string // what is wrong, and with what
	Hint string // what to do about it, "" if nothing is known to help
	Err  error  // the cause, nil if none
}

func (p *Problem) Error() string {
	if p.Err != nil {
		return p.Msg + ": " + p.Err.Error()
	}
	return p.Msg
}

func (p *Problem) Unwrap() error { return p.Err }

// DiskFull reports whether err says that the disk, or the user's quota on it, is full.
func DiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
