package owner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// look asks the kernel for a process's start time and state.
func look(pid int) (start string, state State, err error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) || (err == nil && int(k.Proc.P_pid) != pid) {
		return "", Other, errGone // the kernel answers with nothing, which the call reports as EIO
	}
	if err != nil {
		return "", Other, err
	}
	const stopped, zombie = 4, 5 // SSTOP and SZOMB of sys/proc.h
	switch k.Proc.P_stat {
	case stopped:
		state = Stopped
	case zombie:
		state = Zombie
	}
	t := k.Proc.P_starttime
	return fmt.Sprintf("%d.%06d", t.Sec, t.Usec), state, nil
}
