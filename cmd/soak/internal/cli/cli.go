// Package cli is soak's command line: the commands, their flags, their errors and their exit codes. What a command
// does beyond reading its flags is done by the packages that it calls.
package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"

	"soak/chaos/docker"
	"soak/cmd/soak/internal/show"
)

// Exit codes.
const (
	exitHolds        = 0
	exitViolated     = 1
	exitUsage        = 2 // usage or configuration
	exitInconclusive = 3
	exitHarness      = 4 // the harness failed
	exitInterrupt    = 130
	exitTerminate    = 143
)

// env is what a command has of the outside.
type env struct {
	args   []string // the whole command line, program first
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string

	seen func(*pflag.FlagSet) // told of each set of flags that a command makes; nil but for completion
}

// command is one word of the command line.
type command struct {
	name   string
	args   string // as the help shows them
	short  string // one line
	run    func(e *env, args []string) (exit int, err error)
	hidden bool
}

// commands lists what this version can do, in the order of the help.
func commands() []command {
	return []command{
		{name: "run", args: "[SCENARIO|FILE]", short: "start a cluster, break it under load, and judge it", run: runCommand},
		{name: "check", args: "RUN...", short: "judge stored runs again and compare with their verdicts", run: checkCommand},
		{name: "report", args: "RUN...", short: "draw stored runs: report.html, one file for a browser", run: reportCommand},
		{name: "list", short: "list the stored runs, newest first, and each scenario's verdicts", run: listCommand},
		{name: "compare", args: "OLD NEW", short: "compare two runs, or two sets of runs, by rank tests", run: compareCommand},
		{name: "gate", args: "FILE", short: "make the runs of a gate file and decide", run: gateCommand},
		{name: "prune", args: "--keep N", short: "remove old runs, but none that was violated", run: pruneCommand},
		{name: "export", args: "RUN", short: "write a run as one file", run: exportCommand},
		{name: "import", args: "FILE", short: "unpack an exported run", run: importCommand},
		{name: "campaign", args: "[SCENARIO|FILE]", short: "simulate a range of seeds and keep the shortest of each kind of failure", run: campaignCommand},
		{name: "replay", args: "RUN|FILE", short: "simulate a run again, bit for bit, and print what was said in it", run: replayCommand},
		{name: "shrink", args: "RUN", short: "find the smallest schedule that fails in the same way", run: shrinkCommand},
		{name: "selftest", short: "plant every bug and see that the checkers find it", run: selftestCommand},
		{name: "cluster", args: "up|status|fault|heal|down", short: "a cluster to work against by hand", run: clusterCommand},
		{name: "scenarios", args: "[NAME]", short: "list the scenarios, or print one", run: scenariosCommand},
		{name: "faults", short: "list the faults and which driver can do them here", run: faultsCommand},
		{name: "checkers", short: "list the checkers", run: checkersCommand},
		{name: "bugs", args: "[NAME]", short: "list the bugs that can be planted with run --bug", run: bugsCommand},
		{name: "doctor", short: "show what this machine can do", run: doctorCommand},
		{name: "clean", short: "remove what runs that were killed left behind", run: cleanCommand},
		{name: "completion", args: "bash|zsh|fish", short: "print a script that completes this program's words in a shell", run: completionCommand},
		{name: "version", short: "print the version", run: versionCommand},
		{name: "broker", args: "[FLAGS]", short: "run one node of the reference broker (soak broker --help)", run: brokerCommand},
		{name: "help", args: "[COMMAND]", short: "print this, or a command's flags", run: helpCommand},
		{name: "sidecar", run: sidecarCommand, hidden: true},
		{name: docker.ThawCommand, run: thawCommand, hidden: true},
		{name: "relay", run: relayCommand, hidden: true},
		{name: "complete", run: completeCommand, hidden: true},
		{name: "sim-worker", run: simWorkerCommand, hidden: true},
	}
}

// laterCommands come with later versions. Naming them here makes the answer to them a clear one.
var laterCommands = []string{"serve"}

// Main runs the command line args (the program's name first) and returns the exit code.
func Main(args []string, stdout, stderr io.Writer, getenv func(string) string) int {
	e := &env{args: args, stdout: stdout, stderr: stderr, getenv: getenv}
	code, err := e.dispatch()
	if err == nil {
		return code
	}
	if errors.Is(err, pflag.ErrHelp) {
		return exitHolds // the flag set has printed it
	}
	return e.fail(err)
}

func (e *env) dispatch() (int, error) {
	if runtime.GOOS == "windows" {
		return 0, usage("soak does not run on Windows", "run it inside WSL2, where it is a Linux program")
	}
	rest := e.args[min(1, len(e.args)):]
	if len(rest) == 0 {
		e.printHelp(e.stderr)
		return exitUsage, nil
	}
	word, rest := commandWord(rest)
	switch word {
	case "-h", "--help":
		word = "help"
	case "--version":
		word = "version"
	}
	var known []string
	for _, c := range commands() {
		if c.name == word {
			return c.run(e, rest)
		}
		if !c.hidden {
			known = append(known, c.name)
		}
	}
	for _, l := range laterCommands {
		if l == word {
			return 0, later("the command " + word)
		}
	}
	if strings.HasPrefix(word, "-") {
		return 0, usage(fmt.Sprintf("the flag %s stands where a command is expected", word), "soak help lists the commands")
	}
	return 0, usage(fmt.Sprintf("unknown command %q", word), didYouMean(word, append(known, laterCommands...), "soak help lists the commands"))
}

// commandWord finds the command's word: flags may stand before it.
func commandWord(args []string) (word string, rest []string) {
	if strings.HasPrefix(args[0], "-") {
		for i, a := range args {
			for _, c := range commands() {
				if a == c.name {
					rest = append(append(rest, args[:i]...), args[i+1:]...)
					return a, rest
				}
			}
		}
	}
	return args[0], args[1:]
}

func helpCommand(e *env, args []string) (int, error) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "help" {
		sub := &env{args: append(append([]string{e.args[0]}, args...), "--help"), stdout: e.stdout, stderr: e.stderr, getenv: e.getenv}
		return sub.dispatch()
	}
	e.printHelp(e.stdout)
	return exitHolds, nil
}

func (e *env) printHelp(w io.Writer) {
	columns := show.StyleOf(w, e.getenv).Columns
	rows := make([][]string, 0, 16)
	for _, c := range commands() {
		if !c.hidden {
			rows = append(rows, []string{"  " + strings.TrimSpace(c.name+" "+c.args), c.short})
		}
	}
	fold := func(text string) string {
		if columns > 0 { // lines of its own instead of those that are written
			text = strings.ReplaceAll(text, "\n", " ")
		}
		return strings.Join(show.Fold(text, columns), "\n")
	}
	fmt.Fprintf(w, "soak breaks Kafka-protocol clusters under load and judges what they did.\n\n"+
		"usage: soak COMMAND [ARGUMENTS] [FLAGS]\n\n%s\n\n%s\n%s\n",
		strings.Join(show.Table(show.Style{ASCII: true, Columns: columns}, rows), "\n"),
		fold("soak COMMAND --help shows a command's flags. A RUN is a folder, the beginning of a run's id, or latest."),
		fold("exit codes: 0 holds, 1 violated, 2 usage or configuration, 3 inconclusive, 4 the harness failed,\n"+
			"130 and 143 ended by SIGINT and SIGTERM with nothing violated so far."))
}

// program is how a person calls this program: what hints and reproduce lines begin with.
func (e *env) program() []string {
	if len(e.args) == 0 {
		return []string{"soak"}
	}
	name := e.args[0]
	// `go run` builds into a folder of its own that is gone afterwards.
	if strings.Contains(filepath.ToSlash(name), "/go-build") {
		return []string{"go", "run", "./cmd/soak"}
	}
	return []string{name}
}
