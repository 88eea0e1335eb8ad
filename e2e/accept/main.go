// Command accept is the acceptance run of `make accept`: each of the story's bugs must be found, and the clean broker must hold, N times of
// N on each driver. It prints a Markdown table, and exits 1 if any run fell short. It takes over an hour for N=10 on two cores.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// spp and zpe are the checkers that the story's bugs must be found by.
const (
	spp = "single-leader-proposing"
	zpe = "zero-proposal-errors"
)

// row is one line of the table: a run that is made n times.
type row struct {
	name string
	args []string
	exit int
	by   []string // checkers that must say violated
}

var rows = []row{
	{"elector-gate-has-leader", bug("elector-gate-has-leader"), 1, []string{spp}},
	{"autocreate-gate-has-leader", bug("autocreate-gate-has-leader"), 1, []string{spp, zpe}},
	{"startup-gate-has-leader", bug("startup-gate-has-leader"), 1, []string{spp, zpe}},
	{"forward-hides-error", bug("forward-hides-error"), 1, []string{spp}},
	{"clean, quick", []string{"run", "quick"}, 0, nil},
}

func bug(name string) []string { return []string{"run", "--fail-fast", "--bug", name} }

// outcome is what one run gave.
type outcome struct {
	exit    int
	took    time.Duration
	by      []string // checkers that said violated
	verdict string
	tail    string
}

func main() {
	soak := flag.String("soak", "bin/soak", "the soak binary (make build)")
	n := flag.Int("n", 10, "times that each run is made")
	drivers := flag.String("drivers", "docker,process", "drivers, with commas")
	only := flag.String("only", "", "only rows whose name contains this")
	seed := flag.Uint64("seed", 1, "seed of the first run; the others follow")
	out := flag.String("out", "results/accept", "parent of the run folders")
	flag.Parse()

	short := false
	fmt.Printf("Machine: %s/%s, %d CPUs, %s.\n\n| driver | run | right | exits | found by | median time |\n|---|---|---|---|---|---|\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	for _, driver := range strings.Split(*drivers, ",") {
		for _, r := range rows {
			if !strings.Contains(r.name, *only) {
				continue
			}
			right := 0
			var exits, by []string
			var times []time.Duration
			for i := range *n {
				o := once(*soak, driver, *out, *seed+uint64(i), r.args)
				ok := o.exit == r.exit && !slices.ContainsFunc(r.by, func(c string) bool { return !slices.Contains(o.by, c) })
				if ok {
					right++
				} else {
					short = true
					fmt.Fprintf(os.Stderr, "%s %s seed %d: exit %d, violated %v\n%s\n", driver, r.name, *seed+uint64(i), o.exit, o.by, o.tail)
				}
				exits = append(exits, fmt.Sprint(o.exit))
				by = append(by, o.by...)
				times = append(times, o.took)
			}
			slices.Sort(times)
			fmt.Printf("| %s | %s | %d of %d | %s | %s | %.1f s |\n", driver, r.name, right, *n, count(exits), count(by), times[len(times)/2].Seconds())
		}
	}
	if short {
		os.Exit(1)
	}
}

// once makes one run and reads the verdict that it prints as its last line of JSON.
func once(soak, driver, out string, seed uint64, args []string) outcome {
	args = append(slices.Clone(args), "--driver", driver, "--seed", fmt.Sprint(seed), "--out", out, "--json")
	cmd := exec.Command(soak, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	o := outcome{took: time.Since(start), exit: cmd.ProcessState.ExitCode()}
	if err != nil && o.exit < 0 {
		o.tail = err.Error()
	}
	var last string
	sc := bufio.NewScanner(&stdout)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		last = sc.Text()
	}
	var line struct {
		Report struct {
			Outcome  string
			Verdicts []struct {
				Checker, Outcome, Reason string
			}
		}
	}
	if err := json.Unmarshal([]byte(last), &line); err != nil {
		o.tail += "no verdict on standard output: " + err.Error() + "\n" + lines(stderr.String(), 15)
		return o
	}
	o.verdict = line.Report.Outcome
	for _, x := range line.Report.Verdicts {
		switch x.Outcome {
		case "violated":
			o.by = append(o.by, x.Checker)
			o.tail += x.Checker + ": " + x.Reason + "\n"
		case "inconclusive":
			o.tail += x.Checker + ": inconclusive: " + x.Reason + "\n"
		}
	}
	return o
}

func lines(s string, n int) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// count writes "a ×3, b ×1".
func count(words []string) string {
	slices.Sort(words)
	var parts []string
	for i := 0; i < len(words); {
		j := i
		for j < len(words) && words[j] == words[i] {
			j++
		}
		parts = append(parts, fmt.Sprintf("%s ×%d", words[i], j-i))
		i = j
	}
	if parts == nil {
		return "–"
	}
	return strings.Join(parts, ", ")
}
