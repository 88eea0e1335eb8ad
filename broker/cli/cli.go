// Package cli is the command line of one broker: cmd/broker and `soak broker` are this and nothing more.
//
// Every flag may also be given by an environment variable: SOAK_BROKER_ and the flag's name in capitals with
// underscores (SOAK_BROKER_ID, SOAK_BROKER_PEER_LISTEN); a flag on the command line wins.
//
// Exit codes: 0 stopped as asked (SIGTERM, SIGINT, the owner's pipe closed), 1 the node had to stop, 2 usage or configuration.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"soak/broker"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// ownerGrace is how long a node whose owner is gone may take to write what is queued.
const ownerGrace = 2 * time.Second

// secondSignal is how long after a signal another one is taken for the same wish.
const secondSignal = time.Second

// Main runs a broker with args (without the program's name) until SIGTERM or SIGINT, and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	o, owner, err := parse(args, os.LookupEnv)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, usage())
		return exitOK
	}
	if err != nil {
		return report(stderr, err)
	}
	o.Stdout = stdout

	// The first signal asks. A while after it the default is back, so that another one ends a stop that hangs; not at once,
	// because one wish to stop may come as two signals (to the process and to its group), and not at the return either: the process
	// is about to exit, and the second signal must not change how.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, func() { time.AfterFunc(secondSignal, stop) })
	if owner != nil {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		go watchOwner(owner, func() {
			cancel(broker.ErrAtOnce) // its cluster is going away as a whole
			time.AfterFunc(ownerGrace, func() { os.Exit(exitFailed) })
		})
	}
	return report(stderr, broker.Run(ctx, o))
}

// watchOwner calls gone once the other end of the pipe is closed: whoever started this node is no more.
func watchOwner(pipe io.Reader, gone func()) {
	// A read error means as much as the end: there is no owner to hear of.
	_, _ = io.Copy(io.Discard, pipe)
	gone()
}

// report says what went wrong, and what to do about it where that is known.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	var c *broker.ConfigError
	if !errors.As(err, &c) {
		return exitFailed
	}
	if c.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", c.Hint)
	}
	return exitUsage
}
