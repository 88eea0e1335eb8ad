//go:build !unix

package docker

import "syscall"

func ofItsOwn() *syscall.SysProcAttr { return nil }
