package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/checkers"
	"soak/history"
	"soak/results"
)

func noEnv(string) string { return "" }

func TestChooseDriver(t *testing.T) {
	gone := errors.New("the engine does not answer")
	ci := func(k string) string { return map[string]string{"CI": "true"}[k] }
	notCI := func(k string) string { return map[string]string{"CI": "false"}[k] }
	for _, c := range []struct {
		name, asked, image string
		env                func(string) string
		engine             error
		driver, why        string
		problem, hint      string
	}{
		{name: "auto with an engine", asked: "auto", driver: "docker", why: "an engine answers"},
		{name: "auto without", asked: "auto", engine: gone, driver: "process", why: "the engine does not answer"},
		{name: "auto with an engine in CI", asked: "auto", env: ci, driver: "docker", why: "an engine answers"},
		{name: "auto without in CI", asked: "auto", env: ci, engine: gone, problem: "CI is set", hint: "--driver process"},
		{name: "CI=false is no CI", asked: "auto", env: notCI, engine: gone, driver: "process", why: "does not answer"},
		{name: "docker without", asked: "docker", engine: gone, problem: "does not answer", hint: "--driver process"},
		{name: "docker", asked: "docker", driver: "docker", why: "as asked"},
		{name: "process in CI", asked: "process", env: ci, engine: gone, driver: "process", why: "as asked"},
		{name: "an image without an engine", asked: "auto", image: "x", engine: gone, problem: "--image needs", hint: "engine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env == nil {
				c.env = noEnv
			}
			driver, why, err := chooseDriver(context.Background(), c.asked, c.image, c.env, func(context.Context) error { return c.engine })
			if c.problem == "" {
				if err != nil || driver != c.driver || !strings.Contains(why, c.why) {
					t.Errorf("got %q because %q, %v", driver, why, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %q because %q, want an error", driver, why)
			}
			if code, msg, hint := explain(err); code != exitUsage || !strings.Contains(msg, c.problem) || !strings.Contains(hint, c.hint) {
				t.Errorf("got code %d, %q, hint %q", code, msg, hint)
			}
		})
	}
}

func TestCapable(t *testing.T) {
	can := chaos.Capabilities{chaos.Kill: "", chaos.Pause: "no freezer here"}
	if err := capable("docker", can, []string{chaos.Kill}); err != nil {
		t.Errorf("a driver that can kill was refused: %v", err)
	}
	for kind, want := range map[string]string{chaos.Pause: "no freezer here", chaos.Partition: "does not know this fault"} {
		err := capable("docker", can, []string{chaos.Kill, kind})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", kind, err, want)
		}
	}
}

// The strongest finding wins: 1, then 4, then 3, then 0.
func TestStronger(t *testing.T) {
	order := []int{exitHolds, exitInconclusive, exitHarness, exitViolated}
	for i, a := range order {
		for j, b := range order {
			if got, want := stronger(a, b), order[max(i, j)]; got != want {
				t.Errorf("of %d and %d the stronger is %d, want %d", a, b, got, want)
			}
		}
	}
	run := &history.Run{HarnessError: "broken"}
	for o, want := range map[checkers.Outcome]int{checkers.Holds: 4, checkers.Inconclusive: 4, checkers.Violated: 1} {
		if got := exitOf(run, &checkers.Report{Outcome: o}); got != want {
			t.Errorf("%s with a harness that failed exits %d, want %d", o, got, want)
		}
	}
}

// With forward-hides-error only a committed entry of a foreign proposer ends the run; otherwise the first violation does.
func TestFatal(t *testing.T) {
	check, foreign := checkers.Violation{Kind: "check-by-follower"}, checkers.Violation{Kind: "foreign-proposer"}
	for _, c := range []struct {
		bugs    []string
		checker string
		v       checkers.Violation
		want    bool
	}{
		{nil, "single-leader-proposing", check, true},
		{nil, "no-crash", checkers.Violation{Kind: "panic"}, true},
		{[]string{"elector-gate-has-leader"}, "single-leader-proposing", check, true},
		{[]string{"forward-hides-error"}, "single-leader-proposing", check, false},
		{[]string{"forward-hides-error"}, "zero-proposal-errors", foreign, false},
		{[]string{"forward-hides-error"}, "single-leader-proposing", foreign, true},
	} {
		if got := fatal(c.bugs)(c.checker, c.v); got != c.want {
			t.Errorf("bugs %v, %s %s: %v, want %v", c.bugs, c.checker, c.v.Kind, got, c.want)
		}
	}
}

func TestParseCountsArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "soak compare needs an argument"},
		{[]string{"a"}, "soak compare needs 2 arguments and has 1"},
		{[]string{"a", "b"}, ""},
		{[]string{"a", "b", "c"}, `soak compare does not take "c"`},
	} {
		got := ""
		if err := parse(pflag.NewFlagSet("compare", pflag.ContinueOnError), c.args, 2, 2); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	full := fmt.Errorf("recording to history.jsonl: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{usage("m", "h"), exitUsage, "h"},
		{fmt.Errorf("more: %w", harness("m", errors.New("x"), "h")), exitHarness, "h"},
		{&scenario.Error{File: "f", Line: 3, Col: 1, Msg: "m", Hint: "h"}, exitUsage, "h"},
		{&results.Problem{Msg: "m", Hint: "h"}, exitUsage, "h"},
		{&results.Problem{Msg: "m", Hint: "h", Err: full}, exitHarness, "the disk under the results is full"},
		{harness("the run", full, "h"), exitHarness, "--out DIR"},
		{errors.New("m"), exitHarness, ""},
	} {
		code, _, hint := explain(c.err)
		if code != c.code || !strings.Contains(hint, c.hint) {
			t.Errorf("%v: code %d and hint %q, want %d and %q", c.err, code, hint, c.code, c.hint)
		}
	}
}

func TestOneLine(t *testing.T) {
	full := errors.New("events.jsonl: no space left")
	err := errors.Join(fmt.Errorf("writing the record: %w", full), full, errors.New("other"), errors.New("other"))
	if got, want := oneLine(err), "writing the record: events.jsonl: no space left; other"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A signal ends the context of the run; a violation that was found already decides the exit code.
func TestStopper(t *testing.T) {
	for _, c := range []struct {
		sig   syscall.Signal
		found int
		want  int
	}{{syscall.SIGINT, 0, exitInterrupt}, {syscall.SIGTERM, 0, exitTerminate}, {syscall.SIGINT, 2, exitViolated}} {
		s := newStopper(&env{stderr: &bytes.Buffer{}})
		s.counting(func() int { return c.found })
		if s.asked() || s.reason() != "" || s.ctx.Err() != nil {
			t.Error("stopped before any signal")
		}
		s.ask(c.sig)
		if !s.asked() || s.ctx.Err() == nil || s.code() != c.want {
			t.Errorf("%s with %d violations: asked %v, context %v, code %d, want %d", c.sig, c.found, s.asked(), s.ctx.Err(), s.code(), c.want)
		}
		s.close()
	}
}

func TestFirstLineNamesTheRun(t *testing.T) {
	plan, err := scenario.Load("quick")
	if err != nil {
		t.Fatal(err)
	}
	line := firstLine(plan, "process", "no engine", 42, []string{"elector-gate-has-leader"})
	for _, want := range []string{"quick", "process (no engine)", "seed 42", "about ", "planted: elector-gate-has-leader"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q does not name %q", line, want)
		}
	}
}

func TestRunFlags(t *testing.T) {
	e := &env{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: noEnv}
	f, err := e.parseRun([]string{"--bug", "forward-hides-error", "story", "--seed", "18446744073709551615", "--bug", "forward-hides-error", "--fail-fast"})
	if err != nil {
		t.Fatal(err)
	}
	if f.scenario != "story" || f.seed != 1<<64-1 || !f.seedSet || len(f.bugs) != 1 || !f.failFast || f.driver != "auto" || f.repeat != 1 {
		t.Errorf("read as %+v", f)
	}
	if f, err = e.parseRun(nil); err != nil || f.scenario != "quick" || f.seedSet {
		t.Errorf("no arguments: %+v, %v, want the default scenario", f, err)
	}
	if _, err := e.parseRun([]string{"--help"}); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

// The reproduce line names the executed schedule of a run that went its way, else what was asked for; and the way this program is
// called.
func TestReproduce(t *testing.T) {
	run := &history.Run{ID: "aabbccdd00112233", Scenario: "quick", Driver: "process", Seed: 9, Bugs: []string{"forward-hides-error"}}
	f, err := results.Create(t.TempDir(), "quick", run)
	if err != nil {
		t.Fatal(err)
	}
	whole := []history.Phase{{Name: "start", Start: 1, End: 2}, {Name: "drain", Start: 2, End: 3}}
	early := []history.Phase{{Name: "start", Start: 1, End: 2}, {Name: "heal", Start: 2, End: 3}}
	const tail = " --driver process --seed 9 --bug forward-hides-error"
	for _, c := range []struct {
		name, program, command string
		schedule               bool
		phases                 []history.Phase
		outcome                checkers.Outcome
		want                   string
	}{
		{name: "go run, no schedule", program: "/tmp/go-build123/b001/exe/soak", outcome: checkers.Holds, want: "go run ./cmd/soak run quick" + tail},
		{name: "asked for, no schedule", program: "bin/soak", command: "soak run my.yaml -q", outcome: checkers.Holds, want: "bin/soak run my.yaml" + tail},
		{name: "to its end", program: "bin/soak", command: "soak run --intervals 12 --bug forward-hides-error", schedule: true, phases: whole, outcome: checkers.Violated,
			want: "bin/soak run SCHEDULE" + tail + " --fail-fast"},
		{name: "an image", program: "bin/soak", command: "soak run --image mine:1", schedule: true, phases: whole, outcome: checkers.Holds,
			want: "bin/soak run SCHEDULE --image mine:1" + tail},
		{name: "ended early", program: "bin/soak", schedule: true, phases: early, outcome: checkers.Violated,
			command: "soak --json run --election-interval 500ms --duration 90s story --session-timeout 1s --nodes 5 --intervals 20 --bug forward-hides-error --fail-fast --repeat 3 --out x",
			want:    "bin/soak run story --intervals 20 --duration 1m30s --election-interval 500ms --session-timeout 1s --nodes 5" + tail + " --fail-fast"},
		{name: "never started", program: "bin/soak", command: "soak run", schedule: true, outcome: checkers.Inconclusive, want: "bin/soak run quick" + tail},
		{name: "ended early, by who knows what", program: "bin/soak", command: "other thing", schedule: true, phases: early, outcome: checkers.Inconclusive,
			want: "bin/soak run SCHEDULE" + tail},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.schedule {
				if err := f.WriteSchedule([]byte("name: quick\n")); err != nil {
					t.Fatal(err)
				}
			}
			run.Phases, run.Command = c.phases, strings.Fields(c.command)
			e := &env{args: []string{c.program, "run"}}
			want := strings.ReplaceAll(c.want, "SCHEDULE", f.Schedule())
			if got := strings.Join(e.reproduce(f, run, c.outcome), " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
