package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// rule says which of the project's packages a part may import. A name ending in /… stands for everything below.
type rule struct {
	part  string
	allow []string
}

// rules are tried in order; the first whose part matches decides. Imports go one way:
// cmd, soaktest, e2e → results → checkers → history; chaos → workloads → history; broker → history.
var rules = []rule{
	{"history", nil},
	{"internal/vfs", nil},
	{"internal/faultshim", []string{"internal/vfs"}},
	{"internal/version", nil},
	{"internal/usage", nil},
	{"internal/arch", nil},
	{"internal/standin", nil},
	{"broker/core", []string{"history", "broker/meta", "broker/bugs", "broker/api", "broker/partlog/batch", "broker/partlog/producers"}},
	{"broker/meta", []string{"history", "broker/bugs"}},
	{"broker", []string{"history", "internal/vfs", "internal/faultshim", "internal/usage", "internal/version", "broker/…"}},
	{"broker/…", []string{"history", "internal/vfs", "internal/version", "broker", "broker/…"}},
	{"workloads/gen", []string{"history"}},
	{"workloads/decompress", nil},
	{"workloads/protocol", []string{"history", "workloads/gen", "workloads/decompress"}},
	{"workloads", []string{"history", "workloads/gen", "workloads/protocol"}},
	{"checkers", []string{"history"}},
	{"results/report", []string{"history", "checkers", "internal/version"}},
	{"results/measure", []string{"history", "checkers"}},
	{"results/…", []string{"history", "checkers", "results", "results/…", "internal/nearest"}},
	{"results", []string{"history", "checkers", "internal/version", "results/report"}},
	{"chaos", []string{"history"}},
	{"chaos/sim/…", []string{"chaos", "chaos/…", "workloads/…", "history", "internal/…", "broker/…"}},
	{"chaos/sim", []string{"chaos", "chaos/…", "workloads/…", "history", "internal/…", "broker/…"}},
	{"internal/nearest", nil},
	{"chaos/scenario", []string{"internal/nearest", "chaos", "workloads/gen", "history"}},
	{"chaos/runloop", []string{"chaos", "chaos/scenario", "workloads/gen", "history"}},
	{"chaos/sim/simclient", []string{"history", "workloads/gen", "workloads/protocol"}},
	{"chaos/…", []string{"chaos/…", "chaos", "workloads", "workloads/gen", "history", "internal/version", "internal/usage", "internal/faultshim"}},
	{"campaign", []string{"chaos", "chaos/sim", "chaos/scenario", "checkers", "history", "broker/bugs", "internal/usage", "internal/version"}},
	{"cmd/…", []string{"…"}},
	{"e2e", []string{"…"}},
	{"e2e/…", nil},
	{"soaktest", []string{"chaos/…", "chaos", "workloads", "workloads/gen", "results", "checkers", "history", "broker/cli", "broker/bugs", "internal/version"}},
}

func matches(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "…"); ok {
		return strings.HasPrefix(pkg, base)
	}
	return pattern == pkg
}

// refused says why part may not import pkg (both without the module's name), or "".
func refused(part, pkg string) string {
	for _, r := range rules {
		if !matches(r.part, part) {
			continue
		}
		for _, a := range r.allow {
			if matches(a, pkg) {
				return ""
			}
		}
		return part + " may not import " + pkg
	}
	return part + " is in no rule: add it to internal/arch and docs/architecture.md"
}

func TestImportsGoOneWay(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, file)
		if d.IsDir() {
			if name := d.Name(); name == ".git" || name == "results" && rel != "results" || name == "testdata" || rel == "tools" || rel == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		part := path.Dir(filepath.ToSlash(rel))
		for _, im := range f.Imports {
			p, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			if pkg, ours := strings.CutPrefix(p, "soak/"); ours {
				if why := refused(part, pkg); why != "" {
					t.Errorf("%s: %s", filepath.ToSlash(rel), why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Fatalf("only %d files seen: the test looks in the wrong place", seen)
	}
}

func TestWrongArrowsAreRefused(t *testing.T) {
	for _, tc := range [][2]string{
		{"checkers", "chaos"}, {"history", "checkers"}, {"broker/core", "internal/vfs"}, {"broker/meta", "broker/core"}, {"chaos/process", "broker"},
		{"chaos/runloop", "chaos/runner"}, {"workloads/gen", "workloads"}, {"results", "chaos/runloop"}, {"chaos", "workloads"}, {"workloads/protocol", "workloads"}, {"chaos/sim/simclient", "workloads"}, {"nowhere", "history"},
	} {
		if refused(tc[0], tc[1]) == "" {
			t.Errorf("%s importing %s is let through", tc[0], tc[1])
		}
	}
	for _, tc := range [][2]string{{"cmd/soak", "broker/cli"}, {"broker/disk", "internal/vfs"}, {"chaos/runner", "chaos/runloop"}} {
		if why := refused(tc[0], tc[1]); why != "" {
			t.Error(why)
		}
	}
}
