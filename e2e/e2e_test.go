package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"soak/history"
	"soak/soaktest"
)

// binary is the soak executable under test, static so that it serves in containers too.
var binary string

func TestMain(m *testing.M) {
	soaktest.Node() // those that package soaktest starts
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "soak-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "soak")
	build := exec.Command("go", "build", "-o", binary, "../cmd/soak")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building cmd/soak: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// The binary is built by a command, of which go test's cache knows nothing. What a test looks at is part of the cache's key, so that a changed
// source runs these tests anew. (TestMain would not do: it comes before the looking is noted.)
func TestTheCacheKnowsTheSources(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == ".git" || name == "results" || name == "bin") {
			return filepath.SkipDir
		}
		if !d.IsDir() && (strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".yaml") || d.Name() == "go.mod") {
			seen++
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil || seen < 100 {
		t.Fatalf("looked at %d sources: %v", seen, err)
	}
}

// eachDriver runs f on every driver of this machine.
func eachDriver(t *testing.T, f func(t *testing.T, driver string)) {
	for _, d := range []string{"process", "docker"} {
		t.Run(d, func(t *testing.T) {
			if d == "docker" {
				needDocker(t)
			}
			f(t, d)
		})
	}
}

func needDocker(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "version").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no Docker engine answers, and CI=true needs one: %v\n%s", err, out)
		}
		t.Skipf("no Docker engine answers: %v", err)
	}
}

// result is what one soak command left behind.
type result struct {
	exit           int
	stdout, stderr string
	report         report
	dir            string // parent of the run folder
}

type report struct {
	Outcome  string `json:"outcome"`
	Verdicts []struct {
		Checker, Outcome, Reason string
		Violations               []struct{ Kind, Sentence string }
	} `json:"verdicts"`
}

func (r result) outcomeOf(checker string) string {
	for _, v := range r.report.Verdicts {
		if v.Checker == checker {
			return v.Outcome
		}
	}
	return "not there"
}

func (r result) has(checker, kind string) bool {
	for _, v := range r.report.Verdicts {
		for _, x := range v.Violations {
			if v.Checker == checker && x.Kind == kind {
				return true
			}
		}
	}
	return false
}

// patience bounds what a command may take on a slow machine with a slow engine. What a test asserts of times it asserts by itself.
const patience = 5 * time.Minute

// soak runs the binary with a bound on its time, in a folder of the test's own.
func soak(t *testing.T, args ...string) result {
	t.Helper()
	r := result{dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args = append(args, "--out", r.dir, "--json")
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // let it clean up
	cmd.WaitDelay = 20 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("soak %s: not done within %v: %v\n%s", strings.Join(args, " "), patience, err, stderr.String())
	}
	r.exit, r.stdout, r.stderr = cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
	var last string
	sc := bufio.NewScanner(&stdout)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		last = sc.Text()
	}
	var line struct{ Report *report }
	line.Report = &r.report
	if err := json.Unmarshal([]byte(last), &line); err != nil && r.exit != 2 && r.exit != 4 {
		t.Fatalf("soak %s: exit %d, last line is no verdict: %v\n%s\n%s", strings.Join(args, " "), r.exit, err, last, r.stderr)
	}
	return r
}

// small are the flags of a cut-down run: an election every half second.
var small = []string{"--election-interval", "500ms", "--session-timeout", "1s", "--intervals", "20"}

// A run that ends inconclusive because the machine stalled says nothing of the product: it is made again, at most twice. A
// violated one never is.
func soakUnlessStalled(t *testing.T, args ...string) result {
	t.Helper()
	for try := 1; ; try++ {
		r := soak(t, args...)
		if r.exit != 3 || try == 3 || !strings.Contains(r.stdout, "stall") && !stalled(t, r.dir) {
			return r
		}
		t.Logf("inconclusive with a stall of the machine, try %d", try)
	}
}

// stalled reports whether the runner, or a disk, stood still for a second in a run.
func stalled(t *testing.T, dir string) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "[0-9]*", history.EventsFile))
	if err != nil || len(found) != 1 {
		t.Fatalf("events: %v, %v", found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		e, ok, err := history.ParseEvent(line)
		if err != nil || !ok {
			continue
		}
		if s, is := e.Body.(*history.Stall); is && s.Nanos >= int64(time.Second) {
			return true
		}
	}
	return false
}

func (r result) fail(t *testing.T, what string) {
	t.Helper()
	var b strings.Builder
	for _, v := range r.report.Verdicts {
		fmt.Fprintf(&b, "  %s: %s: %s\n", v.Checker, v.Outcome, v.Reason)
		for _, x := range v.Violations {
			fmt.Fprintf(&b, "    %s: %s\n", x.Kind, x.Sentence)
		}
	}
	t.Fatalf("%s (exit %d)\n%s\nstandard error:\n%s", what, r.exit, b.String(), tail(r.stderr, 40))
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func TestACleanRunHolds(t *testing.T) {
	eachDriver(t, func(t *testing.T, driver string) {
		r := soakUnlessStalled(t, append([]string{"run", "--driver", driver, "--seed", "1"}, small...)...)
		if r.exit != 0 {
			r.fail(t, "the clean broker does not hold")
		}
		for _, c := range []string{"phantom-read", "high-watermark"} { // of what consumers were given
			if got := r.outcomeOf(c); got != "holds" {
				r.fail(t, c+" says "+got)
			}
		}
	})
}

func TestTheStorysBugsAreFound(t *testing.T) {
	const spp, zpe = "single-leader-proposing", "zero-proposal-errors"
	eachDriver(t, func(t *testing.T, driver string) {
		for _, tc := range []struct {
			bug  string
			by   []string
			kind string
		}{
			{"elector-gate-has-leader", []string{spp}, ""},
			{"autocreate-gate-has-leader", []string{spp, zpe}, ""},
			{"startup-gate-has-leader", []string{spp, zpe}, ""},
			{"forward-hides-error", []string{spp}, "foreign-proposer"},
		} {
			t.Run(tc.bug, func(t *testing.T) {
				r := soak(t, append([]string{"run", "--driver", driver, "--seed", "1", "--fail-fast", "--bug", tc.bug}, small...)...)
				if r.exit != 1 {
					r.fail(t, "not found")
				}
				for _, c := range tc.by {
					if got := r.outcomeOf(c); got != "violated" {
						r.fail(t, c+" says "+got)
					}
				}
				if tc.kind != "" && !r.has(spp, tc.kind) {
					r.fail(t, "no violation of kind "+tc.kind)
				}
			})
		}
	})
}

// The run that passed three broken releases: 15 s against an interval of 12 s, and against 2 s.
func TestFifteenSecondsProveNothing(t *testing.T) {
	for _, interval := range []string{"12s", "2s"} {
		t.Run(interval, func(t *testing.T) {
			t.Parallel()
			r := soak(t, "run", "--driver", "process", "--seed", "1", "--duration", "15s", "--election-interval", interval)
			if r.exit != 3 || r.outcomeOf("coverage") != "inconclusive" {
				r.fail(t, "want INCONCLUSIVE, exit 3, by coverage")
			}
			for _, v := range r.report.Verdicts {
				if v.Checker == "coverage" && !strings.Contains(v.Reason, "intervals") {
					r.fail(t, "the reason does not name the intervals that were missed")
				}
			}
		})
	}
}
