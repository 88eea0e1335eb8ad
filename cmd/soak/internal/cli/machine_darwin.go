package cli

import "golang.org/x/sys/unix"

// memory of the machine in bytes.
func memory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

// kernelOption is a question about Linux. Containers here run on the engine's own kernel, in a virtual machine.
func kernelOption(string, string) string { return "in the engine's virtual machine, not looked at" }
