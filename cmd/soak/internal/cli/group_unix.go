//go:build !windows

package cli

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's signals from a worker.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// ownSession makes a process outlive this one and its terminal.
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
