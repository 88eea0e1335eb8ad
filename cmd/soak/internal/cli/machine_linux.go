package cli

import (
	"bytes"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// memory of the machine in bytes.
func memory() int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return int64(s.Totalram) * int64(s.Unit)
}

// kernelModule says whether the running kernel has a module, as far as that can be seen without privileges: loaded, built in, or
// on disk.
func kernelModule(name string) string {
	if _, err := os.Stat("/sys/module/" + name); err == nil {
		return "yes, loaded"
	}
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	listed := false
	for _, list := range []string{"modules.builtin", "modules.dep"} {
		b, err := os.ReadFile(filepath.Join(dir, list))
		if err != nil {
			continue
		}
		listed = true
		if bytes.Contains(b, []byte("/"+name+".ko")) {
			return "yes"
		}
	}
	if !listed {
		return "unknown (no list of modules for this kernel)"
	}
	return "no"
}
