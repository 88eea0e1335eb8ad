package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
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
	for _, args := range [][]string{{"mod", "edit", "-replace", "soak=" + soak}, {"test", "-mod=mod", "-count=1", "-v", "."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		t.Logf("go %v\n%s", args, out)
		if err != nil {
			t.Fatal(err)
		}
	}
}
