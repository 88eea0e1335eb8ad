package e2e

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A run serves what it knows while it goes on, and no longer.
func TestARunServesItsMetrics(t *testing.T) {
	cmd := exec.Command(binary, append([]string{"run", "healthy", "--driver", "process", "--metrics-addr", ":0", "--out", t.TempDir()}, small...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // an error means that it has ended
		_ = cmd.Wait()
	})
	at := regexp.MustCompile(`http://127\.0\.0\.1:\d+/metrics`)
	url := ""
	lines := bufio.NewScanner(stderr)
	for url == "" && lines.Scan() {
		url = at.FindString(lines.Text())
	}
	if url == "" {
		t.Fatal("it does not say where its metrics are")
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }() // ends with the run
	acked := regexp.MustCompile(`(?m)^soak_run_records_total\{outcome="acked"\} [1-9]`)
	memory := regexp.MustCompile(`(?m)^soak_run_node_memory_bytes\{node="3"\} [1-9]`)
	eventually(t, 60*time.Second, "metrics of a run under load", func() bool {
		r, err := http.Get(url)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		text := string(b)
		return err == nil && acked.MatchString(text) && memory.MatchString(text) && strings.Contains(text, `scenario="healthy"`)
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("interrupted, it ended with %v", err)
	}
	if r, err := http.Get(url); err == nil {
		r.Body.Close()
		t.Error("it still answers after its end")
	}
}
