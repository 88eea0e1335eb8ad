package scenario

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"soak/internal/nearest"
)

//go:embed *.yaml
var files embed.FS

// names of the embedded scenarios; the first is the default of `soak run`.
var names = []string{"quick", "story", "healthy", "kill", "partition", "restart-all", "rolling", "disk", "mixed", "nightly"}

// Names lists the embedded scenarios, the default first.
func Names() []string { return append([]string(nil), names...) }

// Source is an embedded scenario's file.
func Source(name string) ([]byte, bool) {
	src, err := files.ReadFile(name + ".yaml")
	return src, err == nil
}

// Describe is an embedded scenario's description, "" if there is none of that name.
func Describe(name string) string {
	src, ok := Source(name)
	if !ok {
		return ""
	}
	s, err := Parse(name+".yaml", src)
	if err != nil {
		panic(fmt.Sprintf("the embedded scenario %s does not parse: %v", name, err))
	}
	return s.Description
}

// maxFile bounds what Load reads: a scenario is a page, a long run's executed schedule some hundred kilobytes.
const maxFile = 4 << 20

// Load reads the embedded scenario of that name or else the file at that path. Every error is an *Error.
func Load(nameOrPath string) (*Scenario, error) {
	if src, ok := Source(nameOrPath); ok {
		return Parse(nameOrPath+".yaml", src)
	}
	info, err := os.Stat(nameOrPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if ext := filepath.Ext(nameOrPath); ext == ".yaml" || ext == ".yml" || strings.ContainsRune(nameOrPath, filepath.Separator) {
			return nil, &Error{Msg: fmt.Sprintf("reading the scenario: there is no file %s", nameOrPath), Hint: "give the path of a YAML file, or one of soak scenarios"}
		}
		hint := "scenarios: " + strings.Join(names, ", ") + "; or the path of a YAML file"
		if near := nearest.Word(nameOrPath, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, &Error{Msg: fmt.Sprintf("unknown scenario %q", nameOrPath), Hint: hint}
	case err != nil:
		return nil, &Error{Msg: fmt.Sprintf("reading the scenario: %v", err), Hint: "give the path of a YAML file that can be read"}
	case !info.Mode().IsRegular():
		return nil, &Error{File: nameOrPath, Msg: "not a file", Hint: "of a run folder, give its schedule.yaml"}
	case info.Size() > maxFile:
		return nil, &Error{File: nameOrPath, Msg: fmt.Sprintf("%d bytes are more than a scenario may have (%d)", info.Size(), maxFile)}
	}
	src, err := os.ReadFile(nameOrPath)
	if err != nil {
		return nil, &Error{Msg: fmt.Sprintf("reading the scenario: %v", err), Hint: "give the path of a YAML file that can be read"}
	}
	return Parse(nameOrPath, src)
}
