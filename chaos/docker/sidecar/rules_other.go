//go:build !linux

package sidecar

import "errors"

// newRules is for Linux: elsewhere the sidecar only ever runs inside the engine's own Linux.
func newRules() rules { return none{} }

func openQueue(uint16) (packetQueue, error) { return nil, errLinux }

type none struct{}

var errLinux = errors.New("nftables is there on Linux only")

func (none) set(Cut, bool) error                { return errLinux }
func (none) packets() (map[string]int64, error) { return nil, errLinux }
func (none) remove() error                      { return nil }
