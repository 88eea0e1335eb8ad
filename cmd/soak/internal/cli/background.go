package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"soak/chaos/hand"
	"soak/chaos/scenario"
	"soak/cmd/soak/internal/watch"
	"soak/results"
)

// What an owner in the background tells its parent, a JSON object a line, until the cluster is up or has failed to come up.
type ownerSays struct {
	Say   string     `json:"say,omitempty"` // progress
	Up    *hand.Info `json:"up,omitempty"`
	Error string     `json:"error,omitempty"`
	Hint  string     `json:"hint,omitempty"`
	Code  int        `json:"code,omitempty"`
}

// tellFD is the file descriptor that an owner tells its parent on.
const tellFD = 3

// maxTold bounds a line of it, in bytes.
const maxTold = 1 << 20

// upInBackground starts an owner in a session of its own, so that it outlives this program and its terminal, and waits until the cluster is up.
func (e *env) upInBackground(f *upFlags, stop *stopper) (code int, err error) {
	id := results.NewID()
	home, err := hand.Home(id)
	if err != nil {
		return 0, harness("making a place for the cluster", err, "the state directory must be writable: $XDG_STATE_HOME/soak, or ~/.local/state/soak")
	}
	up := false
	defer func() {
		if !up {
			err = errors.Join(err, os.RemoveAll(home))
		}
	}()
	program, err := e.lasting(home)
	if err != nil {
		return 0, err
	}
	log, err := os.OpenFile(filepath.Join(home, hand.LogFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, harness("opening the owner's log", err, "")
	}
	defer log.Close()
	told, tell, err := os.Pipe()
	if err != nil {
		return 0, harness("making a pipe to the owner", err, "")
	}
	defer told.Close()
	cmd := exec.Command(program, append([]string{"cluster", "up", "--owner", id}, f.words...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{tell}
	ownSession(cmd)
	err = cmd.Start()
	tell.Close()
	if err != nil {
		return 0, harness("starting the owner", err, "")
	}
	defer cmd.Process.Release()
	go func() {
		<-stop.ctx.Done()
		if stop.asked() {
			cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
		}
	}()
	said := bufio.NewScanner(told)
	said.Buffer(nil, maxTold)
	for said.Scan() {
		var s ownerSays
		if err := json.Unmarshal(said.Bytes(), &s); err != nil {
			return 0, harness("reading what the owner says", err, "")
		}
		switch {
		case s.Up != nil:
			up = true
			return exitHolds, e.printUp(f, *s.Up)
		case s.Error != "":
			return 0, &failure{code: s.Code, msg: s.Error, hint: s.Hint}
		case !f.quiet:
			fmt.Fprintln(e.stderr, s.Say)
		}
	}
	if stop.asked() {
		return stop.code(), nil
	}
	words, _ := os.ReadFile(log.Name())
	return 0, harness("the owner ended before the cluster was up", errors.New(strings.TrimSpace(string(words[max(0, len(words)-500):]))), "soak clean removes what is left")
}

// lasting is this program's file, or a copy of it in the cluster's home where the file will soon be gone: `go run` removes what it built.
func (e *env) lasting(home string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", harness("finding this program's own file, to start the owner", err, "")
	}
	if !strings.Contains(filepath.ToSlash(self), "/go-build") {
		return self, nil
	}
	from, err := os.Open(self)
	if err != nil {
		return "", harness("copying this program for the owner", err, "")
	}
	defer from.Close()
	copied := filepath.Join(home, "soak")
	to, err := os.OpenFile(copied, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return "", harness("copying this program for the owner", err, "")
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		return "", harness("copying this program for the owner", err, "free some space")
	}
	return copied, nil
}

// ownInBackground is the owner's side.
func (e *env) ownInBackground(f *upFlags, shape *scenario.Scenario) (int, error) {
	parent := os.NewFile(tellFD, "parent")
	if parent == nil {
		return 0, usage("--owner is not for people", "soak cluster up -d starts an owner")
	}
	syscall.CloseOnExec(tellFD)
	tell := watch.NewJSON(parent)
	stop := newStopper(e)
	defer stop.close()
	stop.calm("taking the cluster down")
	starting := true // before and after, from one goroutine; in between the driver's lines come from several
	log := newLineLog(e.stderr)
	h, err := e.raise(stop.ctx, f, shape, f.owner, func(line string) {
		log.write(line)
		log.do(func() {
			if starting {
				_ = tell.Write(ownerSays{Say: line}) // a parent that has gone is not told
			}
		})
	})
	log.do(func() { starting = false })
	if err != nil {
		code, msg, hint := explain(err)
		_ = tell.Write(ownerSays{Error: msg, Hint: hint, Code: code})
		parent.Close()
		return code, nil
	}
	i := h.Info()
	told := tell.Write(ownerSays{Up: &i})
	parent.Close()
	if told != nil { // nobody knows of it
		log.write("who asked for the cluster is gone: taking it down")
	} else {
		select {
		case <-stop.ctx.Done():
		case <-h.Asked():
		}
	}
	if err := h.Close(); err != nil {
		return 0, harness("ending the cluster", err, "soak clean removes what is left")
	}
	return exitHolds, nil
}

// endOf gives the time that is left until an instant in Unix ns, in words.
func endOf(at int64) string {
	return time.Until(time.Unix(0, at)).Round(time.Second).String()
}
