package broker

import (
	"os"

	"soak/internal/faultshim"
)

// killedCode is how a shell, and a container engine, tell an end by SIGKILL.
const killedCode = 137

// powerLost ends the process after its files were left as a loss of power leaves them: at once, as the power's end would, with nothing
// flushed or closed.
func (s *shell) powerLost(l faultshim.Loss, err error) {
	attrs := []any{"unsynced", l.Unsynced, "dropped", l.Dropped, "files", l.Files, "names", l.Names}
	if err != nil {
		attrs = append(attrs, "error", err.Error())
	}
	s.log.Warn("power lost", attrs...)
	// The first process of a container is not killed by its own signal; its exit code says the same.
	if self, err := os.FindProcess(os.Getpid()); err == nil && os.Getpid() != 1 && self.Kill() == nil {
		select {}
	}
	os.Exit(killedCode)
}
