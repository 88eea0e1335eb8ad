// Package version is the one place that says which Soak this is. The command line prints it, and every run folder
// records it.
package version

import (
	"runtime"
	"runtime/debug"
)

// Version of Soak, as released: MAJOR.MINOR.PATCH.
const Version = "0.1.0"

// Unknown stands where the build does not say.
const Unknown = "unknown"

// Info is what `soak version --json` prints.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // version control revision of the build, or "unknown" (`go run` stamps none)
	Modified bool   `json:"modified"` // the checkout had changes that were not committed
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// Get reads what the build recorded of itself.
func Get() Info {
	i := Info{Version: Version, Commit: Unknown, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return i
	}
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
	return i
}
