package owner

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// look reads a process's start time and state from proc(5). Start times count from the machine's boot, so the boot's
// id is part of it.
func look(pid int) (start string, state State, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", Other, errGone
	}
	if err != nil {
		return "", Other, err
	}
	// The second field, the command in brackets, may hold spaces and brackets itself.
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:]))
	const stateField, startField = 0, 19 // fields 3 and 22 of proc(5), which counts from 1 and has two before these
	if end < 0 || len(fields) <= startField {
		return "", Other, fmt.Errorf("/proc/%d/stat reads %q", pid, b)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", Other, err
	}
	switch fields[stateField] {
	case "T":
		state = Stopped
	case "Z", "X":
		state = Zombie
	}
	return fields[startField] + "@" + strings.TrimSpace(string(boot)), state, nil
}
