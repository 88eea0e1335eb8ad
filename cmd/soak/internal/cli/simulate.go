package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"soak/broker/bugs"
	"soak/campaign"
	"soak/chaos/runloop"
	"soak/chaos/sim"
	"soak/cmd/soak/internal/watch"
	"soak/history"
	"soak/results"
)

// simWorker is set in the environment of the process that simulates. Raft draws from the process's one random source, which a simulation
// replaces: that is never done in the process that a person started.
const simWorker = "SOAK_SIM_WORKER"

// inWorker does the command again in a process of its own, and answers its exit code.
func (e *env) inWorker() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, harness("finding this program's own file, to start the simulator", err, "")
	}
	cmd := exec.Command(self, e.args[1:]...)
	cmd.Args[0] = e.args[0] // as the person called it: the worker prints the command that does the run again
	cmd.Env = append(os.Environ(), simWorker+"=1")
	cmd.Stdout, cmd.Stderr = e.stdout, e.stderr
	// The worker ends when this process does, however that ends: its standard input then closes.
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return 0, harness("starting the simulator", err, "")
	}
	defer lifeline.Close()
	// A terminal's signals reach this process alone, and every signal is passed on.
	ownGroup(cmd)
	sigs := make(chan os.Signal, 2)
	signal.Notify(sigs, stopSignals...)
	defer signal.Stop(sigs)
	if err := cmd.Start(); err != nil {
		return 0, harness("starting the simulator", err, "")
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-sigs:
				_ = cmd.Process.Signal(s) // it may have ended meanwhile
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		return 0, harness("waiting for the simulator", err, "")
	}
	code := cmd.ProcessState.ExitCode()
	if code < 0 {
		return 0, harness("the simulator was killed", err, "")
	}
	return code, nil
}

// endWithParent ends the worker at once when the process that started it is gone.
func endWithParent(stdin io.Reader) {
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		os.Exit(exitHarness)
	}()
}

// simulate runs the scenario in virtual time and records it.
func (t *task) simulate(f *results.Folder, run *history.Run, rec *history.Recorder, w *watch.Watch, end *endRequest) error {
	set, err := bugs.Parse(t.flags.bugs)
	if err != nil {
		return err
	}
	nodes := run.Nodes
	if t.packed() {
		nodes = 0 // simulated nodes say nothing but events
	}
	logs, err := newNodeLogs(f.Logs(), nodes)
	if err != nil {
		return err
	}
	res, err := sim.Run(sim.Options{
		Scenario: t.plan, Seed: run.Seed, RunHash: run.RunHash, Bugs: set, Exact: campaign.Pinned(t.plan),
		Observe: func(record any) {
			switch r := record.(type) {
			case *history.Event:
				rec.Event(*r)
				logs.event(r)
			case *history.Operation:
				rec.Operation(r)
			case *history.Fault:
				rec.Fault(*r)
			case *history.Metric:
				rec.Metric(*r)
			}
			w.Observe(record)
		},
		Status: func(s runloop.Status) { w.Status(s) },
		Stop: func() string {
			select {
			case why := <-end.c:
				return why
			case <-t.stop.ctx.Done():
				return "interrupted"
			default:
			}
			if err := rec.Err(); err != nil {
				return "the record cannot be written"
			}
			return ""
		},
	})
	w.Close()
	run.Interrupted = t.stop.reason()
	var schedule error
	if res != nil {
		run.Phases, run.RecordTopics, run.SimHash, run.Liveness = res.Phases, res.Topics, res.Hash, res.Liveness
		run.Notes = append(run.Notes, res.Notes...)
		if res.Problem != "" {
			run.Notes = append(run.Notes, res.Problem)
			err = errors.Join(err, errors.New(res.Problem))
		}
		run.Notes = append(run.Notes, fmt.Sprintf("simulated %v in virtual time, hash %016x", res.Stats.Virtual.Round(time.Millisecond), res.Hash))
		schedule = f.WriteSchedule(res.Executed.YAML())
	}
	return errors.Join(err, logs.close(), rec.Close(), schedule)
}

// nodeLogs writes what the simulated nodes say, as real ones do on their standard output.
type nodeLogs struct {
	files []*os.File
	out   []*bufio.Writer
	buf   []byte
	err   error
}

func newNodeLogs(dir string, nodes int) (*nodeLogs, error) {
	l := &nodeLogs{}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for n := 1; n <= nodes; n++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("n%d.log", n)))
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.files = append(l.files, f)
		l.out = append(l.out, bufio.NewWriter(f))
	}
	return l, nil
}

func (l *nodeLogs) event(e *history.Event) {
	if e.Node < 1 || int(e.Node) > len(l.out) || l.err != nil {
		return
	}
	l.buf = append(history.AppendLogLine(l.buf[:0], e), '\n')
	_, l.err = l.out[e.Node-1].Write(l.buf)
}

func (l *nodeLogs) close() error {
	errs := []error{l.err}
	for i, f := range l.files {
		errs = append(errs, l.out[i].Flush(), f.Close())
	}
	return errors.Join(errs...)
}
