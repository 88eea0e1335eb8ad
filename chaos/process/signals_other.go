//go:build !unix

package process

import (
	"errors"
	"os"
)

func pause(*os.Process) error     { return errors.ErrUnsupported }
func resume(*os.Process) error    { return errors.ErrUnsupported }
func terminate(*os.Process) error { return errors.ErrUnsupported }

func exitOf(s *os.ProcessState) (code int, signal string) { return s.ExitCode(), "" }
