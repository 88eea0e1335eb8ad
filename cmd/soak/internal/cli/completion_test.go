package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"soak/chaos/scenario"
)

func TestComplete(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	e := &env{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: noEnv}
	for line, want := range map[string]string{
		"ru":                        "run",
		"clus":                      "cluster",
		"cluster ":                  "up status fault heal down",
		"cluster fault par":         "partition partition-one-way partition-clients",
		"cluster fault kill raft":   "raft-leader",
		"cluster fault kill --fo":   "--for",
		"cluster fault --way o":     "out",
		"cluster up --dri":          "--driver",
		"cluster up --own":          "",
		"run --driver pro":          "process",
		"run --driver = do":         "docker",
		"run --seed 7 sto":          "story",
		"run quick ":                "",
		"run --fail-fast ni":        "nightly",
		"run --bug startup":         "startup-gate-has-leader",
		"run -q sto":                "story",
		"scenarios --ex":            "--explain",
		"bugs forward":              "forward-hides-error",
		"completion ":               "bash zsh fish",
		"help comple":               "completion",
		"check a la":                "latest",
		"sim-w":                     "",
		"run --out ":                "",
		"broker --":                 "--help",
		"cluster fault power-loss ": "raft-leader partition-leader follower all n1 n2 n3",
	} {
		got := e.complete(strings.Split(line, " "))
		if strings.Join(got, " ") != want {
			t.Errorf("%q is completed by %q, want %q", line, strings.Join(got, " "), want)
		}
	}
	if got := e.complete([]string{"run", ""}); !slices.Equal(got, scenario.Names()) {
		t.Errorf("the argument of run is one of %v", got)
	}
}

// Asking for a command's flags does nothing else, and every command that has help of its own gives them.
func TestFlagsOfEveryCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	e := &env{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: noEnv}
	for _, c := range append(commands(), clusterCommands()...) {
		if c.hidden || c.name == "broker" || c.name == "help" || c.name == "cluster" {
			continue
		}
		if e.flagsOf(c) == nil {
			t.Errorf("%s gave no flags", c.name)
		}
	}
}
