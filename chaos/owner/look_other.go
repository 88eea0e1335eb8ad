//go:build !linux && !darwin

package owner

import "errors"

// look is not to be had: Soak runs on Linux and macOS.
func look(int) (string, State, error) { return "", Other, errors.ErrUnsupported }
