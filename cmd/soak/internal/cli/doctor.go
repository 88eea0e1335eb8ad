package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/process"
	"soak/chaos/sim"
	"soak/cmd/soak/internal/show"
	"soak/cmd/soak/internal/watch"
)

// enoughFiles is the limit of open files below which a run may fail: three process nodes' logs and connections and the
// runner's link proxies stay under a thousand.
const enoughFiles = 1024

// finding is one line of what the doctor finds.
type finding struct {
	What  string `json:"what"`
	State string `json:"state"` // "ok", "missing", "info"
	Value string `json:"value"`
	Hint  string `json:"hint,omitempty"`
}

func doctorCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("doctor", "doctor [--json]", "Show what this machine can do: drivers, their faults, limits.")
	asJSON := fs.Bool("json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	found := diagnose(ctx)
	if *asJSON {
		j := watch.NewJSON(e.stdout)
		for _, f := range found {
			if err := j.Write(f); err != nil {
				return 0, err
			}
		}
		return exitHolds, nil
	}
	var rows [][]string
	for _, f := range found {
		rows = append(rows, []string{f.State, f.What, f.Value})
		if f.Hint != "" {
			rows = append(rows, []string{"", "", "  " + f.Hint})
		}
	}
	return exitHolds, e.table(rows)
}

func diagnose(ctx context.Context) []finding {
	m := machine()
	found := []finding{
		{What: "machine", State: "info", Value: fmt.Sprintf("%s/%s, kernel %s, %d processors, %.1f GiB of memory", m.OS, m.Arch, m.Kernel, m.CPUs, float64(m.Memory)/(1<<30))},
		openFilesFinding(openFiles()),
	}
	found = append(found, driverFinding("process"))
	found = append(found, engineFindings(ctx)...)
	for _, k := range []struct{ option, module, what, use string }{
		{"CONFIG_NF_TABLES", "nf_tables", "nftables", "partitions of containers, where the engine uses this kernel"},
		{"CONFIG_NETFILTER_NETLINK_QUEUE", "nfnetlink_queue", "packet queues", "slow links of containers, where the engine uses this kernel"},
	} {
		found = append(found, finding{What: k.what, State: "info", Value: kernelOption(k.option, k.module) + "; for " + k.use})
	}
	return found
}

func openFilesFinding(n uint64) finding {
	f := finding{What: "open files", State: "ok", Value: fmt.Sprintf("at most %s for a process", show.Count(int64(min(n, 1<<62))))}
	if n < enoughFiles {
		f.State, f.Hint = "missing", fmt.Sprintf("raise it to %d: ulimit -n %d", enoughFiles, enoughFiles)
	}
	return f
}

// driverFinding says what faults a driver can bring about here.
func driverFinding(driver string) finding {
	f := finding{What: "driver " + driver, State: "ok"}
	can := capabilities(driver)
	var able, unable []string
	for _, k := range faultKinds {
		if why, known := can[k.kind]; known && why == "" {
			able = append(able, k.kind)
		} else if known {
			unable = append(unable, k.kind+" ("+why+")")
		}
	}
	f.Value = "faults: " + strings.Join(able, ", ")
	if len(unable) > 0 {
		f.Value += "; not here: " + strings.Join(unable, ", ")
	}
	return f
}

func engineFindings(ctx context.Context) []finding {
	engine, err := docker.Engine(ctx)
	if err != nil {
		return []finding{{What: "driver docker", State: "missing", Value: err.Error(), Hint: "soak run uses --driver process then, unless CI is set"}}
	}
	return []finding{driverFinding("docker"), {What: "docker engine", State: "ok",
		Value: fmt.Sprintf("%s, API %s, %s, at %s", engine.Version, engine.API, engine.Arch, engine.Host)}}
}

// faultKinds are the faults of this version, in the order of lists.
var faultKinds = []struct{ kind, what string }{
	{chaos.Kill, "SIGKILL; the node is started again on the same data"},
	{chaos.Stop, "SIGTERM; the node ends by itself and is started again"},
	{chaos.RestartAll, "SIGKILL of all nodes at once; all are started again"},
	{chaos.Rolling, "each node is stopped and started, one after the other (every: 2s at the earliest)"},
	{chaos.CrashLoop, "the node is killed and started, again and again (every: 500ms)"},
	{chaos.Pause, "the node stands still (SIGSTOP, freezer) and goes on where it was"},
	{chaos.Partition, "the node is cut off from the others; with clients: true from clients too"},
	{chaos.OneWay, "the node hears nothing (way: in) or is not heard (way: out)"},
	{chaos.Bridge, "two nodes do not reach each other; all others reach both"},
	{chaos.AllApart, "no node reaches any other"},
	{chaos.ClientsCut, "clients do not reach the node; all nodes do"},
	{chaos.Flapping, "a partition that comes and goes (every: 300ms)"},
	{chaos.Reset, "clients' connections are reset, again and again (every: 100ms)"},
	{chaos.Delay, "what goes to and comes from the node takes longer (by: 50ms, jitter: 20ms)"},
	{chaos.Bandwidth, "no more than so much goes over each link of the node (bytes_per_second: 20000)"},
	{chaos.Loss, "a share of the packets that come to the node is lost (ppm: 100000)"},
	{chaos.PowerLoss, "what was not synced is gone; the nodes are started again"},
	{chaos.DiskCrash, "SIGKILL in the middle of a disk operation"},
	{chaos.DiskFull, "nothing more can be written; the node must stop"},
	{chaos.WriteError, "writes fail; the node must stop"},
	{chaos.SyncError, "syncs fail; the node must stop"},
	{chaos.ReadError, "reads fail"},
	{chaos.SlowDisk, "the disk takes longer (factor: 20)"},
	{chaos.BitRot, "a bit at rest turns over (files: segment, raft, snapshot, node); the node must notice"},
	{chaos.ClockJump, "the node's clock jumps (by: -2s)"},
	{chaos.ClockRate, "the node's clock is fast or slow (ppm: 20000)"},
	{chaos.SlowNode, "the node's processor takes longer (factor: 50)"},
	{chaos.ClientCrash, "clients die and come back as new ones (target: produce-1, metadata-1, consume-1, autocreate, clients)"},
}

func faultsCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("faults", "faults [--json]", "List the faults that a scenario can ask for, and which driver can do them on this machine.")
	asJSON := fs.Bool("json", false, "one JSON object a line")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	byDriver := map[string]chaos.Capabilities{}
	for _, d := range []string{"process", "docker", "sim"} {
		byDriver[d] = capabilities(d)
		if d == "docker" && docker.Available(context.Background()) != nil {
			byDriver[d] = nil
		}
	}
	word := func(d, kind string) string {
		why, known := byDriver[d][kind]
		switch {
		case byDriver[d] == nil:
			return "no engine here"
		case !known:
			return "no"
		case why != "":
			return "no: " + why
		}
		return "yes"
	}
	if *asJSON {
		j := watch.NewJSON(e.stdout)
		for _, k := range faultKinds {
			if err := j.Write(map[string]string{"kind": k.kind, "what": k.what, "process": word("process", k.kind), "docker": word("docker", k.kind), "sim": word("sim", k.kind)}); err != nil {
				return 0, err
			}
		}
		return exitHolds, nil
	}
	rows := [][]string{{"FAULT", "PROCESS", "DOCKER", "SIM", "WHAT"}}
	for _, k := range faultKinds {
		rows = append(rows, []string{k.kind, word("process", k.kind), word("docker", k.kind), word("sim", k.kind), k.what})
	}
	return exitHolds, e.table(rows)
}

// capabilities is what a driver can do on this machine.
func capabilities(driver string) chaos.Capabilities {
	switch driver {
	case "docker":
		return docker.Capabilities()
	case "sim":
		return sim.Capabilities()
	}
	return process.Capabilities()
}
