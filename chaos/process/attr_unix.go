//go:build unix && !linux

package process

import "syscall"

// attributes of a node's process: a group of its own, so that Ctrl-C at the terminal reaches the runner alone, which
// heals first. There is no parent-death signal here; the pipe has to do.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
