package cli

import (
	"runtime"

	"golang.org/x/sys/unix"

	"soak/history"
)

// machine says what the run ran on. What cannot be known is left out.
func machine() history.Machine {
	m := history.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Memory: memory()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// openFiles is the limit of open files of this process, which its nodes inherit; 0 if it cannot be known.
func openFiles() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return l.Cur
}
