package usage

import (
	"bytes"
	"os"
	"strconv"
)

func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return -1
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return -1
	}
	pages, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return -1
	}
	return pages * int64(os.Getpagesize())
}

// openDescriptors counts them, without the one that it takes to look.
func openDescriptors() int64 {
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return int64(len(e)) - 1
}
