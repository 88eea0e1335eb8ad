package cli

import (
	"os"
	"strings"

	"soak/broker/bugs"
	"soak/broker/cli"
	"soak/chaos/docker"
	"soak/chaos/docker/relay"
	"soak/chaos/docker/sidecar"
	"soak/chaos/scenario"
	"soak/checkers"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/internal/version"
)

func versionCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("version", "version [--json]", "Print the version.")
	asJSON := fs.Bool("json", false, "as one JSON object")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	v := version.Get()
	if *asJSON {
		return exitHolds, watch.NewJSON(e.stdout).Write(v)
	}
	commit := v.Commit
	if v.Modified {
		commit += ", modified"
	}
	return exitHolds, e.print("soak %s (commit %s, %s, %s/%s)\n", v.Version, commit, v.Go, v.OS, v.Arch)
}

func scenariosCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("scenarios", "scenarios [NAME] [--explain] [--json]", "List the scenarios, or print one as YAML: a file to start your own from.\n"+
		"With --explain, tell in words what one does and must prove; NAME may be a file then.")
	explain := fs.Bool("explain", false, "tell the scenario in words")
	asJSON := fs.Bool("json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 1); err != nil {
		return 0, err
	}
	if *explain {
		if fs.NArg() == 0 {
			return 0, usage("--explain needs a scenario", "soak scenarios --explain "+scenario.Names()[0])
		}
		plan, err := scenario.Load(fs.Arg(0))
		if err != nil {
			return 0, err
		}
		return exitHolds, e.explainScenario(plan)
	}
	if fs.NArg() == 1 {
		src, ok := scenario.Source(fs.Arg(0))
		if !ok {
			return 0, usage("unknown scenario "+quoted(fs.Arg(0)), didYouMean(fs.Arg(0), scenario.Names(), "soak scenarios lists them"))
		}
		return exitHolds, e.print("%s", src)
	}
	if *asJSON {
		j := watch.NewJSON(e.stdout)
		for _, n := range scenario.Names() {
			if err := j.Write(map[string]string{"name": n, "description": scenario.Describe(n)}); err != nil {
				return 0, err
			}
		}
		return exitHolds, nil
	}
	var rows [][]string
	for _, n := range scenario.Names() {
		rows = append(rows, []string{n, scenario.Describe(n)})
	}
	return exitHolds, e.table(rows)
}

// explainScenario tells a scenario in words, and which drivers can run it here.
func (e *env) explainScenario(plan *scenario.Scenario) error {
	columns := e.style().Columns
	for _, line := range plan.Explain() {
		for _, l := range show.Fold(line, columns) {
			if err := e.print("%s\n", l); err != nil {
				return err
			}
		}
	}
	if err := e.print("\ndrivers\n"); err != nil {
		return err
	}
	var rows [][]string
	for _, d := range drivers {
		if d == "auto" {
			continue
		}
		can := "yes"
		if err := capable(d, capabilities(d), plan.FaultKinds()); err != nil {
			can = "no: " + err.Error()
		} else if plan.Liveness.On() && d != "sim" {
			can = "no: the liveness phase is of the simulator alone"
		}
		rows = append(rows, []string{"  " + d, can})
	}
	return e.table(rows)
}

func checkersCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("checkers", "checkers [--json]", "List the checkers. Those marked live judge while the run goes on, and end it with --fail-fast.")
	asJSON := fs.Bool("json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	j := watch.NewJSON(e.stdout)
	var rows [][]string
	for _, c := range checkers.List() {
		if *asJSON {
			if err := j.Write(map[string]any{"id": c.ID, "what": c.What, "live": c.Live}); err != nil {
				return 0, err
			}
			continue
		}
		live := ""
		if c.Live {
			live = "live"
		}
		rows = append(rows, []string{c.ID, live, c.What})
	}
	return exitHolds, e.table(rows)
}

func bugsCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("bugs", "bugs [NAME] [--json]", "List the historical bugs that run --bug switches on in the reference broker, or tell one in full.")
	asJSON := fs.Bool("json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 1); err != nil {
		return 0, err
	}
	entries := bugs.Catalogue
	if fs.NArg() == 1 {
		entries = nil
		for _, b := range bugs.Catalogue {
			if b.Name == fs.Arg(0) {
				entries = []bugs.Entry{b}
			}
		}
		if entries == nil {
			return 0, unknownBug(fs.Arg(0))
		}
	}
	if *asJSON {
		j := watch.NewJSON(e.stdout)
		for _, b := range entries {
			if err := j.Write(map[string]any{"name": b.Name, "source": b.Source, "mechanism": b.Mechanism, "trigger": b.Trigger,
				"symptom": b.Symptom, "checkers": b.Checkers, "may": b.May}); err != nil {
				return 0, err
			}
		}
		return exitHolds, nil
	}
	var rows [][]string
	for _, b := range entries {
		if fs.NArg() == 0 {
			rows = append(rows, []string{b.Name, b.Mechanism})
			continue
		}
		rows = [][]string{{"name", b.Name}, {"source", b.Source}, {"mechanism", b.Mechanism}, {"trigger", b.Trigger},
			{"symptom", b.Symptom}, {"found by", strings.Join(b.Checkers, ", ")}}
		if len(b.May) > 0 {
			rows = append(rows, []string{"perhaps by", strings.Join(b.May, ", ")})
		}
	}
	return exitHolds, e.table(rows)
}

// unknownBug answers a name that is not in the catalogue.
func unknownBug(name string) error {
	var known []string
	for _, b := range bugs.Catalogue {
		known = append(known, b.Name)
	}
	return usage("unknown bug "+quoted(name), didYouMean(name, known, "soak bugs lists them"))
}

// brokerCommand runs a node. Its flags are the broker's own.
func brokerCommand(e *env, args []string) (int, error) {
	return cli.Main(args, e.stdout, e.stderr), nil
}

// thawCommand guards frozen containers against the end of the runner; the docker driver starts it.
func thawCommand(e *env, args []string) (int, error) {
	return docker.Thaw(args, os.Stdin, e.stdout, e.stderr), nil
}

// sidecarCommand sets the network faults of a container; the docker driver starts it in the container's namespace.
func sidecarCommand(e *env, args []string) (int, error) {
	return sidecar.Main(args, os.Stdin, e.stdout, e.stderr), nil
}

// relayCommand is the run's way to a node's admin port; the docker driver has it started in the node's container.
func relayCommand(e *env, args []string) (int, error) {
	return relay.Main(args, os.Stdin, e.stdout, e.stderr), nil
}
