package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"soak/chaos/hand"
	"soak/chaos/scenario"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
	"soak/history"
)

// askWithin bounds a question to a cluster's owner: a fault waits for its evidence, an end for its nodes.
const askWithin = 70 * time.Second

// find gives the cluster that is meant: the only one, or the one whose id begins so.
func find(prefix string) (hand.Info, error) {
	i, err := hand.Find(prefix)
	var several *hand.Ambiguous
	switch {
	case errors.As(err, &several):
		return i, usage(err.Error(), "name one by the beginning of its id")
	case errors.Is(err, hand.ErrNone) && prefix == "":
		return i, usage("no cluster is up", "soak cluster up -d starts one")
	case errors.Is(err, hand.ErrNone):
		return i, usage(err.Error(), "soak cluster status shows the one that is up")
	case err != nil:
		return i, harness("looking for the cluster", err, "")
	}
	return i, nil
}

// findAlive refuses one whose owner is gone.
func findAlive(prefix string) (hand.Info, error) {
	i, err := find(prefix)
	if err == nil && !i.Alive {
		err = usage("the owner of cluster "+i.ID+" is gone, and its nodes with it", "soak clean removes what is left of it; soak cluster up starts another")
	}
	return i, err
}

// problem puts an owner's answer into an exit code and a hint.
func problem(doing string, err error) error {
	p := (*hand.Problem)(nil)
	switch {
	case !errors.As(err, &p):
		return harness(doing, err, "soak cluster status shows whether it is still up")
	case p.Refused:
		return usage(p.Msg, p.Hint)
	}
	return &failure{code: exitHarness, msg: p.Msg, hint: p.Hint}
}

func clusterStatus(e *env, args []string) (int, error) {
	fs := e.newFlags("cluster status", "cluster status [ID] [--json]", "Show a cluster's nodes, its raft leader, its partitions, and the faults in effect with their evidence.")
	asJSON := fs.Bool("json", false, "one JSON object")
	if err := parse(fs, args, 0, 1); err != nil {
		return 0, err
	}
	i, err := findAlive(fs.Arg(0))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	s, err := hand.AskStatus(ctx, i)
	if err != nil {
		return 0, problem("asking for the status", err)
	}
	if *asJSON {
		return exitHolds, watch.NewJSON(e.stdout).Write(s)
	}
	return exitHolds, e.printStatus(s)
}

func (e *env) printStatus(s hand.Status) error {
	leader := "no raft leader is known"
	if s.Leader != 0 {
		leader = fmt.Sprintf("n%d leads raft (term %d)", s.Leader, s.Term)
	}
	if err := e.print("cluster %s on %s, up for %s, %s\nbootstrap %s\n\n", s.ID, s.Driver, time.Since(s.Started).Round(time.Second), leader, strings.Join(s.Bootstrap, ",")); err != nil {
		return err
	}
	rows := [][]string{{"NODE", "ADDRESS", "STATE", "CLIENTS", "ROLE"}}
	for _, n := range s.State {
		answers, role := "no answer", n.Role
		if n.Answers {
			answers = "answered"
		}
		if n.State == "down" {
			role = ""
		}
		rows = append(rows, []string{fmt.Sprintf("n%d", n.Node), n.Addr, n.State, answers, role})
	}
	if err := e.table(rows); err != nil {
		return err
	}
	if err := e.printPartitions(s); err != nil {
		return err
	}
	if len(s.Faults) == 0 {
		return e.print("\nno fault is in effect\n")
	}
	for _, f := range s.Faults {
		if err := e.print("\n"); err != nil {
			return err
		}
		if err := e.printFault(f, f.Evidence); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) printPartitions(s hand.Status) error {
	switch {
	case s.PartitionsFrom == 0:
		return e.print("\npartitions: not known (%s)\n", s.PartitionsWhy)
	case len(s.Partitions) == 0:
		return e.print("\nno topics yet\n")
	}
	rows := [][]string{{"PARTITION", "LEADER", "EPOCH", "ISR", "REPLICAS"}}
	for _, p := range s.Partitions {
		leader := "none"
		if p.Leader > 0 {
			leader = fmt.Sprintf("n%d", p.Leader)
		}
		rows = append(rows, []string{fmt.Sprintf("%s-%d", p.Topic, p.Partition), leader, fmt.Sprint(p.Epoch), nodeNames(p.ISR), nodeNames(p.Replicas)})
	}
	if err := e.print("\n"); err != nil {
		return err
	}
	if err := e.table(rows); err != nil {
		return err
	}
	if s.Omitted > 0 {
		return e.print("and %s\n", show.Plural(int64(s.Omitted), "partition"))
	}
	return nil
}

func nodeNames(ids []int32) string {
	var names []string
	for _, id := range ids {
		names = append(names, fmt.Sprintf("n%d", id))
	}
	return strings.Join(names, " ")
}

// printFault tells a fault and these pieces of its evidence.
func (e *env) printFault(f hand.FaultStatus, evidence []history.Evidence) error {
	state := f.State
	switch {
	case f.Healed != 0:
		state = fmt.Sprintf("healed after %s", show.Seconds(time.Duration(f.HealAsked-f.Effective)))
	case f.Lapsed != 0:
		state = "asked for, but not in effect any more"
	case f.Effective != 0:
		state = fmt.Sprintf("%s, since %s ago", f.State, show.Seconds(time.Duration(time.Now().UnixNano()-f.Effective)))
	}
	if f.Healed == 0 && f.Ends != 0 {
		state += ", for " + endOf(f.Ends) + " more"
	}
	if err := e.print("fault %d: %s: %s\n", f.ID, f.Words(), state); err != nil {
		return err
	}
	for _, x := range evidence {
		if err := e.print("  %-7s %s\n", x.Phase, show.Cut(x.What, 200)); err != nil {
			return err
		}
	}
	if f.Trouble != "" {
		return e.print("  but     %s\n", show.Cut(f.Trouble, 300))
	}
	return nil
}

// faultFields are the flags of a fault: names and values are those of a scenario's YAML.
var faultFields = []struct{ name, what string }{
	{"way", "of partition-one-way: in (the target hears nothing) or out (nobody hears it)"},
	{"every", "of a flapping partition, resets, restarts: the time between two"},
	{"by", "of link-delay: how much longer everything takes"},
	{"jitter", "of link-delay: at most so much more"},
	{"factor", "of slow-disk: how many times as long everything takes"},
	{"ppm", "of packet-loss: millionths of the packets that are lost"},
	{"bytes-per-second", "of bandwidth: of each link, in each direction"},
}

func clusterFault(e *env, args []string) (int, error) {
	fs := e.newFlags("cluster fault", "cluster fault KIND [TARGET] [FLAGS]",
		"Inject a fault and return when its effect has been seen. It stays until soak cluster heal, or as long as --for says.\n"+
			"Kinds: soak faults. Targets: raft-leader, partition-leader, follower, leader(TOPIC-PARTITION), n2, n1+n2, all.")
	lasts := fs.String("for", "", "how long it stays, as in 5s or in \"2 intervals\"")
	clients := fs.Bool("clients", false, "of link faults: between clients and the target as well")
	values := map[string]*string{}
	for _, x := range faultFields {
		values[x.name] = fs.String(x.name, "", x.what)
	}
	id := fs.String("cluster", "", "the beginning of the cluster's id, where several are up")
	asJSON := fs.Bool("json", false, "one JSON object")
	if err := parse(fs, args, 1, 2); err != nil {
		return 0, err
	}
	fields := map[string]string{"kind": fs.Arg(0)}
	if fs.NArg() == 2 {
		fields["target"] = fs.Arg(1)
	}
	if fs.Changed("for") {
		fields["for"] = *lasts
	}
	if *clients {
		fields["clients"] = "true"
	}
	for name, v := range values {
		if fs.Changed(name) {
			fields[strings.ReplaceAll(name, "-", "_")] = *v
		}
	}
	// What is wrong for any cluster is said even where there is none.
	if _, err := scenario.ParseFault(fields, 9); err != nil {
		return 0, err
	}
	i, err := findAlive(*id)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	f, err := hand.AskFault(ctx, i, fields)
	if err != nil {
		return 0, problem("asking for the fault", err)
	}
	if *asJSON {
		return exitHolds, watch.NewJSON(e.stdout).Write(f)
	}
	return exitHolds, e.printFault(f, f.Evidence)
}

func clusterHeal(e *env, args []string) (int, error) {
	fs := e.newFlags("cluster heal", "cluster heal [FAULT|all] [FLAGS]", "End the fault of this number, or all of them, and return when the end has been seen. soak cluster status shows the numbers.")
	id := fs.String("cluster", "", "the beginning of the cluster's id, where several are up")
	asJSON := fs.Bool("json", false, "one JSON object a line, one a fault")
	if err := parse(fs, args, 0, 1); err != nil {
		return 0, err
	}
	number := 0
	if w := fs.Arg(0); w != "" && w != "all" {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 {
			return 0, usage(fmt.Sprintf("%q is not the number of a fault", w), "soak cluster status shows the numbers; all ends all")
		}
		number = n
	}
	i, err := findAlive(*id)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	healed, err := hand.AskHeal(ctx, i, number)
	for _, f := range healed {
		if *asJSON {
			if werr := watch.NewJSON(e.stdout).Write(f); werr != nil {
				return 0, werr
			}
			continue
		}
		var after []history.Evidence
		for _, x := range f.Evidence {
			if x.Phase == "after" {
				after = append(after, x)
			}
		}
		if perr := e.printFault(f, after); perr != nil {
			return 0, perr
		}
	}
	if err != nil {
		return 0, problem("asking to heal", err)
	}
	if len(healed) == 0 && !*asJSON {
		return exitHolds, e.print("no fault was in effect\n")
	}
	return exitHolds, nil
}

func clusterDown(e *env, args []string) (int, error) {
	fs := e.newFlags("cluster down", "cluster down [ID]", "End a cluster: its nodes, its owner, and all that they created.")
	if err := parse(fs, args, 0, 1); err != nil {
		return 0, err
	}
	i, err := find(fs.Arg(0))
	if err != nil {
		return 0, err
	}
	if !i.Alive {
		// Its owner was killed, and the nodes ended with it: what is left is what soak clean removes.
		return cleanCommand(e, nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	if err := hand.AskDown(ctx, i); err != nil {
		return 0, problem("ending the cluster", err)
	}
	return exitHolds, e.print("cluster %s is down\n", i.ID)
}
