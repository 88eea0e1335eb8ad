//go:build !unix

package owner

import (
	"errors"
	"os"
)

// flock is not to be had: Soak runs on Linux and macOS.
func flock(*os.File) (bool, error) { return false, errors.ErrUnsupported }
