package cli

import (
	"compress/gzip"
	"io"
	"os"
	"strings"

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

// kernelOption says whether the running kernel has what an option of its build brings, as far as that can be seen without
// privileges: the module is loaded, or the kernel's build says so.
func kernelOption(option, module string) string {
	if _, err := os.Stat("/sys/module/" + module); err == nil {
		return "yes"
	}
	config, err := kernelConfig()
	if err != nil {
		return "unknown: the kernel's build cannot be read"
	}
	for _, line := range strings.Split(config, "\n") {
		switch line {
		case option + "=y":
			return "yes"
		case option + "=m":
			return "yes, as a module"
		}
	}
	return "no"
}

// maxConfig bounds what is read of a kernel's build: real ones have some 300 kB.
const maxConfig = 4 << 20

func kernelConfig() (string, error) {
	f, err := os.Open("/proc/config.gz")
	if err == nil {
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(io.LimitReader(z, maxConfig))
		return string(b), err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	b, err := os.ReadFile("/boot/config-" + unix.ByteSliceToString(u.Release[:]))
	return string(b), err
}
