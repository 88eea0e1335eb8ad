package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/hand"
	"soak/chaos/scenario"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/results"
)

// clusterCommands are the words after `soak cluster`.
func clusterCommands() []command {
	return []command{
		{name: "up", short: "start a cluster; Ctrl-C takes it down, -d leaves it in the background", run: clusterUp},
		{name: "status", args: "[ID]", short: "show nodes, leaders and faults", run: clusterStatus},
		{name: "fault", args: "KIND [TARGET]", short: "inject a fault, which stays until it is healed", run: clusterFault},
		{name: "heal", args: "[FAULT|all]", short: "end a fault, or all of them", run: clusterHeal},
		{name: "down", args: "[ID]", short: "end the cluster and all that it created", run: clusterDown},
	}
}

func clusterCommand(e *env, args []string) (int, error) {
	var known []string
	for _, c := range clusterCommands() {
		known = append(known, c.name)
	}
	words := strings.Join(known, ", ")
	if len(args) == 0 {
		return 0, usage("soak cluster needs to know what to do: "+words, "soak cluster up starts one; soak help cluster says more")
	}
	for i, a := range args { // flags may stand before the word
		for _, c := range clusterCommands() {
			if a == c.name {
				return c.run(e, append(slices.Clone(args[:i]), args[i+1:]...))
			}
		}
		if a == "-h" || a == "--help" {
			e.printClusterHelp()
			return 0, pflag.ErrHelp
		}
		if !strings.HasPrefix(a, "-") {
			return 0, usage("unknown command "+quoted("cluster "+a), didYouMean(a, known, "soak cluster knows "+words))
		}
	}
	return 0, usage("soak cluster needs to know what to do: "+words, "soak help cluster says more")
}

func (e *env) printClusterHelp() {
	var rows [][]string
	for _, c := range clusterCommands() {
		rows = append(rows, []string{"  " + strings.TrimSpace(c.name+" "+c.args), c.short})
	}
	fmt.Fprintf(e.stdout, "A cluster to work against by hand.\n\nusage: soak cluster COMMAND [ARGUMENTS] [FLAGS]\n\n%s\n\n"+
		"soak cluster COMMAND --help shows a command's flags. An ID is the beginning of a cluster's id; it is needed where several are up.\n",
		strings.Join(show.Table(show.Style{ASCII: true}, rows), "\n"))
}

// upFlags are what `soak cluster up` was asked for.
type upFlags struct {
	runFlags
	background bool
	flush      string   // the brokers' policy
	words      []string // as they were given, for the owner in the background

	owner string // id: this process is the owner in the background, and tells its parent on file descriptor 3
}

func (e *env) parseUp(args []string) (*upFlags, error) {
	f := &upFlags{words: args}
	fs := e.newFlags("cluster up", "cluster up [-d] [FLAGS]",
		"Start a cluster to work against by hand, and print where clients find it. It stays until Ctrl-C, and is then removed with all that it created.\n"+
			"With -d its owner goes on in the background, until soak cluster down.")
	fs.BoolVarP(&f.background, "detach", "d", false, "leave an owner in the background, and return once the cluster answers")
	fs.StringVar(&f.driver, "driver", "auto", "what a node is: docker (containers), process (child processes), auto")
	fs.IntVar(&f.shape.Nodes, "nodes", 0, "size of the cluster, 3 to 9 (default 3)")
	fs.DurationVar(&f.shape.ElectionInterval, "election-interval", 0, "period of the leader-election service (default 2s)")
	fs.DurationVar(&f.shape.SessionTimeout, "session-timeout", 0, "of a broker's session (default 1s)")
	fs.StringVar(&f.flush, "flush", "sync", "sync (a record counts once it is on disk) or none (once the kernel has it)")
	fs.Uint64Var(&f.seed, "seed", 0, "of every random choice (default: a new one)")
	fs.StringArrayVar(&f.bugs, "bug", nil, "switch on a historical bug in the reference broker (soak bugs lists them); may be repeated")
	fs.StringVar(&f.image, "image", "", "node image for the docker driver (default: the reference broker's own, built here)")
	f.output.add(fs, "one JSON object on standard output once the cluster answers")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "the bootstrap list only")
	fs.StringVar(&f.owner, "owner", "", "")
	fs.Lookup("owner").Hidden = true
	f.repeat = 1
	if err := parse(fs, args, 0, 0); err != nil {
		return nil, err
	}
	f.seedSet = fs.Changed("seed")
	if f.flush != "sync" && f.flush != scenario.FlushNone {
		return nil, usage("--flush "+quoted(f.flush)+" is no policy", "it is sync or none")
	}
	if f.driver == "sim" {
		return nil, usage("--driver sim has no cluster to work against: its clients are simulated too", "use --driver process, which needs nothing")
	}
	return f, f.check(fs)
}

func clusterUp(e *env, args []string) (int, error) {
	f, err := e.parseUp(args)
	if err != nil {
		return 0, err
	}
	base, err := scenario.Load(scenario.Names()[0])
	if err != nil {
		return 0, err
	}
	// Bounds, and how interval and session go together, are those of a run.
	shape, err := base.Resolve(f.shape)
	if err != nil {
		return 0, err
	}
	if f.owner != "" {
		return e.ownInBackground(f, shape)
	}
	stop := newStopper(e)
	defer stop.close()
	stop.calm("taking the cluster down (once more to stop at once)")
	if f.background {
		return e.upInBackground(f, stop)
	}
	h, err := e.raise(stop.ctx, f, shape, results.NewID(), func(line string) {
		if !f.quiet {
			fmt.Fprintln(e.stderr, line)
		}
	})
	if err != nil {
		if stop.asked() {
			return stop.code(), nil
		}
		return 0, err
	}
	if err := e.printUp(f, h.Info()); err != nil {
		return 0, errors.Join(err, h.Close())
	}
	select {
	case <-stop.ctx.Done():
	case <-h.Asked():
	}
	if err := h.Close(); err != nil {
		return 0, harness("ending the cluster", err, "soak clean removes what is left")
	}
	return exitHolds, nil
}

// raise starts the cluster that this process owns.
func (e *env) raise(ctx context.Context, f *upFlags, shape *scenario.Scenario, id string, say func(line string)) (*hand.Hand, error) {
	driver, why, err := chooseDriver(ctx, f.driver, f.image, e.getenv, docker.Available)
	if err != nil {
		return nil, err
	}
	st := show.StyleOf(e.stderr, e.getenv)
	logf := func(format string, args ...any) { say(st.Text(fmt.Sprintf(format, args...))) }
	seed := f.seed
	if !f.seedSet {
		seed = newSeed()
	}
	logf("cluster %s on %s (%s), %d nodes, election interval %s, seed %d", id, driver, why, shape.Nodes, shape.ElectionInterval, seed)
	if len(f.bugs) > 0 {
		logf("planted: %s", strings.Join(f.bugs, ", "))
	}
	e.cleanBefore(ctx, driver, logf)
	h, err := hand.Up(ctx, hand.Options{
		Driver: driver, Logf: logf,
		New: func(cfg chaos.Config) (chaos.Cluster, error) { return newCluster(driver, cfg) },
		Config: chaos.Config{
			RunID: id, Nodes: shape.Nodes, Work: filepath.Join(os.TempDir(), "soak-"+id[:8]), Image: f.image,
			ElectionInterval: shape.ElectionInterval, SessionTimeout: shape.SessionTimeout, Bugs: f.bugs, Seed: seed,
			Flush:      f.flush,
			DiskFaults: f.image == "", // somebody else's image may not have what they take
		},
	})
	if noImage(err, f.image) {
		return nil, &failure{code: exitUsage, msg: "no image for the nodes", err: err, hint: "--image must name one that the engine has; --driver process needs none"}
	}
	if err != nil {
		return nil, harness("the cluster did not come up", err, "soak doctor shows what this machine can do")
	}
	return h, nil
}

// printUp says where the cluster is.
func (e *env) printUp(f *upFlags, i hand.Info) error {
	list := strings.Join(i.Bootstrap, ",")
	switch {
	case f.json:
		return watch.NewJSON(e.stdout).Write(i)
	case f.quiet:
		return e.print("%s\n", list)
	}
	program := show.Command(e.program()...)
	end := "Ctrl-C takes it down"
	if f.background {
		end = program + " cluster down ends it"
	}
	return e.print("cluster    %s, %d nodes answer\nbootstrap  %s\ntry        kcat -b %s -L\n           %s cluster fault kill raft-leader\n           %s cluster status\nfolder     %s\n%s\n",
		i.ID, i.Nodes, list, list, program, program, i.Home, end)
}
