package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A module that is not ours can use soaktest: its test passes, with what a stranger writes and no more. It is copied, because the go command
// fills in its go.mod and go.sum.
func TestAModuleBesideThisOne(t *testing.T) {
	soak, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for from, to := range map[string]string{"soaktest/beside/go.mod": "go.mod", "soaktest/beside/beside_test.go": "beside_test.go", "go.sum": "go.sum"} {
		b, err := os.ReadFile(filepath.Join(soak, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	goes := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		t.Logf("go %v\n%s", args, out)
		return string(out), err
	}
	if _, err := goes("mod", "edit", "-replace", "soak="+soak); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		out, err := goes("test", "-mod=mod", "-count=1", "-v", ".")
		if err == nil {
			return
		}
		if try == 3 || !strings.Contains(out, "INCONCLUSIVE") || strings.Contains(out, "VIOLATED") { // else the machine stalled
			t.Fatal(err)
		}
	}
}
