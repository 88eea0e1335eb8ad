//go:build unix

package docker

import "syscall"

// ofItsOwn puts a process into a session of its own: what ends the runner, Ctrl-C or a hang-up of its terminal, must not reach it.
func ofItsOwn() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
