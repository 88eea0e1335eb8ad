package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"soak/cmd/soak/internal/cli"
	"soak/history"
	"soak/results"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"soak": main, "soakcode": soakcode})
}

// soakcode runs soak, and itself fails unless it exits with the code that its first argument names.
func soakcode() {
	want := os.Args[1]
	got := cli.Main(append([]string{"soak"}, os.Args[2:]...), os.Stdout, os.Stderr, os.Getenv)
	if code := string(rune('0' + got)); got > 9 || code != want {
		os.Stderr.WriteString("exit code " + code + ", want " + want + "\n")
		os.Exit(1)
	}
}

// TestScripts runs the command line as a person does. Every script is one subject; none starts a cluster.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"mkrun": mkrun, "scrape": scrape},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// scrape FILE PATTERN asks the endpoint that a command names in what it has said so far, until a line of the answer matches, and gives the answer as
// standard output.
func scrape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: scrape FILE PATTERN")
	}
	at, want := regexp.MustCompile(`http://\S+/metrics`), regexp.MustCompile("(?m)"+args[1])
	var got string
	for until := time.Now().Add(90 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		said, err := os.ReadFile(ts.MkAbs(args[0]))
		url := at.Find(said)
		if err != nil || url == nil {
			continue
		}
		r, err := http.Get(string(url))
		if err != nil {
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if got = string(body); err == nil && want.MatchString(got) {
			fmt.Fprint(ts.Stdout(), got)
			return
		}
	}
	ts.Fatalf("no line matches %s in:\n%s", args[1], got)
}

// mkrun PARENT makes a small run folder, which proves nothing, and puts its path into $RUN.
func mkrun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mkrun PARENT")
	}
	const start = 1_000e9
	run := &history.Run{
		Format: history.FormatVersion, Version: "0.1.0", Scenario: "quick", Driver: "process", Seed: 7, Nodes: 3,
		ElectionInterval: 2e9, SessionTimeout: 1e9, Minimums: history.Minimums{Intervals: 10},
		Phases: []history.Phase{{Name: "start", Start: start, End: start + 1e9}},
	}
	f, err := results.Create(ts.MkAbs(args[0]), "quick", run)
	ts.Check(err)
	rec, err := history.NewRecorder(f.Path())
	ts.Check(err)
	rec.Event(history.Event{Node: 1, Boot: 1, Seq: 1, Time: start, Body: &history.Started{Version: "0.1.0", Nodes: []int32{1, 2, 3}}})
	ts.Check(rec.Close())
	_, err = results.Judge(f)
	ts.Check(err)
	ts.Setenv("RUN", f.Path())
	ts.Setenv("NAME", f.Name())
}
