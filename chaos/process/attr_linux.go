package process

import "syscall"

// attributes of a node's process: a group of its own, so that Ctrl-C at the terminal reaches the runner alone, which
// heals first; and death with the thread that started it (prctl(2), PR_SET_PDEATHSIG), see starter.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
