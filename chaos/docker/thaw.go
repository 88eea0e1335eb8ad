package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// A frozen container stays frozen when the runner is killed with SIGKILL: the freezer is the engine's, and nothing inside of the container
// can run. So a pause has a guard: a process of its own, which thaws the containers when the pipe to the runner closes before the runner
// has said that it needs no guard any more.

// ThawCommand is the command of cmd/soak that is the guard.
const ThawCommand = "thaw"

// guardTime bounds the guard's start: it has an engine to find, which may be slow. A fault as a whole has 15 s.
const guardTime = 12 * time.Second

// guardFlag stands before the command, so that a program which is not Soak's, a test of somebody's above all, refuses to start.
const guardFlag = "--guard"

// IsGuard reports whether a command line, program first, is that of a guard: of a program that is to be one, and not cmd/soak.
func IsGuard(args []string) bool {
	return len(args) > 2 && args[1] == guardFlag && args[2] == ThawCommand
}

// Words between the guard and the runner.
const (
	guardReady = "ready"
	guardDone  = "done"
)

// guard is the runner's end of one.
type guard struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	once  sync.Once
}

// guardOf starts a guard of frozen containers, and returns once it is ready. Nothing may be frozen before.
func guardOf(ctx context.Context, containers []string) (*guard, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to have frozen containers guarded: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, guardTime)
	defer cancel()
	g := &guard{cmd: exec.Command(program, append([]string{guardFlag, ThawCommand}, containers...)...)}
	g.cmd.SysProcAttr = ofItsOwn()
	said, err := g.cmd.StdoutPipe()
	if err == nil {
		g.stdin, err = g.cmd.StdinPipe()
	}
	if err == nil {
		err = g.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting the guard of frozen containers: %w", err)
	}
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(said).ReadString('\n') // an error leaves it empty
		answer <- strings.TrimSpace(line)
	}()
	select {
	case word := <-answer:
		if word == guardReady {
			return g, nil
		}
		err = fmt.Errorf("the guard of frozen containers (%s %s) says %q, want %q", program, ThawCommand, word, guardReady)
	case <-ctx.Done():
		err = fmt.Errorf("the guard of frozen containers (%s %s) is not ready: %w", program, ThawCommand, ctx.Err())
	}
	g.cmd.Process.Kill() // it guards nothing
	g.cmd.Wait()
	return nil, err
}

// dismiss lets the guard go: its containers have been thawed, or are gone.
func (g *guard) dismiss() {
	g.once.Do(func() {
		io.WriteString(g.stdin, guardDone+"\n") // errors mean that it is gone, which is all that is wanted
		g.stdin.Close()
		go g.cmd.Wait() // nobody waits for it: a run that is interrupted has little time
	})
}

// Thaw is the guard of the containers that args name: it says that it is ready, and thaws them when standard input ends without the word
// that it is not needed. The exit code is 0, or 1 where one could not be thawed.
func Thaw(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == guardFlag })
	if len(args) == 0 {
		fmt.Fprintln(stderr, "error: thaw: no container is named\nhint: the docker driver starts it; it is of no use by hand")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardTime)
	e, err := connect(ctx)
	cancel()
	if err == nil {
		defer e.Close()
		err = keepGuard(args, stdin, stdout, e.thaw)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: thaw: %v\n", err)
		return 1
	}
	return 0
}

func keepGuard(containers []string, stdin io.Reader, stdout io.Writer, thaw func(container string) error) error {
	if _, err := fmt.Fprintln(stdout, guardReady); err != nil {
		return fmt.Errorf("saying that it is ready: %w", err)
	}
	said, _ := io.ReadAll(io.LimitReader(stdin, 64)) // an error is an end as well
	if strings.TrimSpace(string(said)) == guardDone {
		return nil
	}
	errs := make([]error, len(containers))
	var all sync.WaitGroup
	for i, id := range containers {
		all.Go(func() { errs[i] = thaw(id) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// thaw lets a container go on. One that is not frozen, or is gone, needs nothing.
func (e *engine) thaw(id string) error {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	_, err := e.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	if err == nil || cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) || strings.Contains(err.Error(), "is not paused") {
		return nil
	}
	return fmt.Errorf("resuming container %s: %w", id, explain(ctx, err))
}
