package campaign

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"soak/internal/usage"
)

// told is a line of a worker: its answer, and what it takes of its machine. The latter is no part of the answer, which is the same wherever the
// job is done.
type told struct {
	*Answer
	Memory int64 `json:"worker_memory,omitempty"` // resident bytes
}

// Serve is a worker: it reads jobs, one JSON object a line, and writes an answer to each in the same form, until its input ends.
func Serve(in io.Reader, out io.Writer) error {
	jobs, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var j Job
		switch err := jobs.Decode(&j); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading a job: %w", err)
		}
		a := Simulate(j)
		if err := answers.Encode(told{a, max(0, usage.Read().Memory)}); err != nil {
			return fmt.Errorf("answering a job: %w", err)
		}
	}
}

// Doer does jobs.
type Doer interface {
	// Do simulates j. An error says that it could not be simulated: the worker died or cannot be started.
	Do(j Job) (*Answer, error)
}

// Here does jobs in this process.
type Here struct{}

// Do simulates j.
func (Here) Do(j Job) (*Answer, error) { return answered(Simulate(j)) }

func answered(a *Answer) (*Answer, error) {
	if a.Error != "" {
		return nil, &Refused{a.Error}
	}
	return a, nil
}

// Refused says what is wrong with a job: its scenario, or a bug's name.
type Refused struct{ Msg string }

func (r *Refused) Error() string { return r.Msg }

// jobsPerWorker is how many runs a worker process does before another takes its place, so that memory stays flat whatever a run leaves.
const jobsPerWorker = 500

// Pool does jobs in worker processes, as many at a time as it was made for. It is safe for concurrent use.
type Pool struct {
	start func() *exec.Cmd
	idle  chan *place

	mu     sync.Mutex
	memory []int64 // by place: what its process told last, 0 before its first answer
}

// place is for one worker at a time.
type place struct {
	number int
	worker *worker // nil: its process has not been started
}

// NewPool makes a pool of n workers; start gives the command of one, which is to call Serve.
func NewPool(n int, start func() *exec.Cmd) *Pool {
	p := &Pool{start: start, idle: make(chan *place, n), memory: make([]int64, n)}
	for i := range n {
		p.idle <- &place{number: i}
	}
	return p
}

// Memory is the resident memory of each place's process, in bytes, as it told with its last answer; 0 where none has answered yet.
func (p *Pool) Memory() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.memory)
}

func (p *Pool) remember(at *place, memory int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory[at.number] = memory
}

// Size is how many jobs are done at a time.
func (p *Pool) Size() int { return cap(p.idle) }

type worker struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	jobs int
}

func (p *Pool) launch() (*worker, error) {
	w := &worker{cmd: p.start()}
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	w.out = bufio.NewReader(out)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	return w, nil
}

// Do waits for a worker and has it do j. One that dies is given up and j tried once more with another: a machine may kill a process, a
// run that kills its process does so twice.
func (p *Pool) Do(j Job) (*Answer, error) {
	at := <-p.idle
	defer func() { p.idle <- at }()
	var err error
	for range 2 {
		if at.worker == nil {
			if at.worker, err = p.launch(); err != nil {
				return nil, err
			}
		}
		w := at.worker
		var a *told
		if a, err = w.do(j); err == nil {
			p.remember(at, a.Memory)
			if w.jobs++; w.jobs >= jobsPerWorker {
				at.worker = nil
				p.remember(at, 0)
				if err = w.end(); err != nil {
					return nil, err
				}
			}
			return answered(a.Answer)
		}
		err = errors.Join(err, w.end())
		at.worker = nil
		p.remember(at, 0)
	}
	return &Answer{Seed: j.Seed, Failures: []Failure{{Class: Class{Simulation, "died"}, Place: "the worker", Sentence: "the simulating process died twice: " + oneLine(err)}}}, nil
}

func (w *worker) do(j Job) (*told, error) {
	line, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	if line, err = w.out.ReadBytes('\n'); err != nil {
		return nil, err
	}
	a := &told{Answer: &Answer{}}
	if err := json.Unmarshal(line, a); err != nil {
		return nil, fmt.Errorf("reading a worker's answer: %w", err)
	}
	return a, nil
}

func (w *worker) end() error {
	err := w.in.Close()
	if waited := w.cmd.Wait(); waited != nil {
		err = fmt.Errorf("a worker ended: %w", waited)
	}
	return err
}

// Close ends the workers once they have done what they are at.
func (p *Pool) Close() error {
	var errs []error
	for range cap(p.idle) {
		if at := <-p.idle; at.worker != nil {
			errs = append(errs, at.worker.end())
			p.remember(at, 0)
		}
	}
	return errors.Join(errs...)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
