// Package sidecar cuts a container off from inside its own network namespace. The docker driver starts it (command
// "sidecar" of cmd/broker and cmd/soak) as a short-lived container that shares the target's namespace and has NET_ADMIN
// there and nothing else, so that any image can be a target.
//
// It sets nftables rules that count packets and let them pass, until it is told on standard input to drop them, and to
// let them pass again: so the same counters show that a link works before, is cut during, and works again after. It tells
// them every 100 ms on standard output.
//
// It holds the lease of the partition: any byte on standard input renews it, and when standard input ends, when SIGTERM
// comes, or when nothing has come for LeaseTime, it takes the rules away and exits. A runner that is killed with SIGKILL
// so leaves no partition behind.
//
// It touches one table, which it creates and which nobody else may have.
package sidecar

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	// LeaseTime is how long the rules stay without a renewal.
	LeaseTime = 5 * time.Second

	// ReportEvery is how often the counters are told.
	ReportEvery = 100 * time.Millisecond
)

// Orders on standard input, a byte each. All of them renew the lease.
const (
	Renew = '.'
	Drop  = 'd'
	Pass  = 'p'
)

// States of a Report.
const (
	Passing  = "passing"  // packets are counted and pass
	Dropping = "dropping" // packets are counted and dropped
	Removed  = "removed"  // the rules are gone, by reading back; the last report
	Failed   = "failed"   // with Error; the last report
)

// Report is one line of the sidecar's output.
type Report struct {
	State   string           `json:"state"`
	Packets map[string]int64 `json:"packets,omitempty"` // counted since the state began, by rule: "in n2", "out n2", "in others"
	Error   string           `json:"error,omitempty"`
}

// Cut is what is counted and dropped: all packets from and to each of the peers, and with Others every other packet but
// those of loopback. It speaks of IPv4, which is all that a run's network has.
type Cut struct {
	Table  string                // name of the table, one a fault
	Peers  map[string]netip.Addr // by a name for the report
	Others bool
}

// Args is the command line of a sidecar for this cut, with the command's name first.
func (c Cut) Args() []string {
	args := []string{"sidecar", "--table", c.Table}
	if c.Others {
		args = append(args, "--others")
	}
	for name, addr := range c.Peers {
		args = append(args, "--peer", name+"="+addr.String())
	}
	return args
}

// parse reads what Args wrote, without the command's name.
func parse(args []string, stderr io.Writer) (Cut, error) {
	c := Cut{Peers: map[string]netip.Addr{}}
	f := flag.NewFlagSet("sidecar", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.Table, "table", "", "name of the nftables table")
	f.BoolVar(&c.Others, "others", false, "cut off from all others too, but for loopback")
	f.Func("peer", "cut off from NAME=ADDRESS", func(s string) error {
		name, addr, ok := strings.Cut(s, "=")
		if !ok || name == "" || name == "others" {
			return errors.New("want NAME=ADDRESS")
		}
		a, err := netip.ParseAddr(addr)
		if err != nil {
			return err
		}
		if !a.Is4() {
			return fmt.Errorf("%s is not an IPv4 address", a)
		}
		c.Peers[name] = a
		return nil
	})
	if err := f.Parse(args); err != nil {
		return Cut{}, err
	}
	switch {
	case f.NArg() > 0:
		return Cut{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	case !strings.HasPrefix(c.Table, "soak"):
		return Cut{}, fmt.Errorf("the table is named %q: want soak…", c.Table)
	case !c.Others && len(c.Peers) == 0:
		return Cut{}, errors.New("there is nobody to cut off from")
	}
	return c, nil
}

// rules are what a sidecar sets; on Linux nftables.
type rules interface {
	// set puts the rules in place, or in the place of the ones before, all at once. Counters start at nought.
	set(c Cut, drop bool) error
	packets() (map[string]int64, error)
	// remove takes the rules away and makes sure of it. Removing what is not there is no error.
	remove() error
}

// Main runs the sidecar with args (without the command's name) until it is told to end, and returns the exit code: 0 when
// the rules are gone again, 1 when something failed, 2 for usage.
func Main(args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "error: sidecar: %v\nhint: the docker driver starts it; it is of no use by hand\n", err)
		return 2
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	if err := hold(newRules(), c, os.Stdin, stdout, end); err != nil {
		fmt.Fprintf(stderr, "error: sidecar: %v\n", err)
		return 1
	}
	return 0
}

// hold sets the rules, does what it is told, and takes the rules away when the lease ends.
func hold(r rules, c Cut, orders io.Reader, out io.Writer, end <-chan os.Signal) (err error) {
	report := json.NewEncoder(out)
	defer func() {
		err = errors.Join(err, r.remove()) // also what a set that failed may have left
		last := Report{State: Removed}
		if err != nil {
			last = Report{State: Failed, Error: err.Error()}
		}
		report.Encode(last) // if nobody reads any more, the exit code still says it
	}()
	state := Passing
	if err := r.set(c, false); err != nil {
		return fmt.Errorf("setting the rules: %w", err)
	}
	orderly := make(chan byte)
	over := make(chan struct{})
	defer close(over)
	go listen(orders, orderly, over)

	lease := time.NewTimer(LeaseTime)
	defer lease.Stop()
	tick := time.NewTicker(ReportEvery)
	defer tick.Stop()
	for {
		counts, err := r.packets()
		if err != nil {
			return fmt.Errorf("reading the counters: %w", err)
		}
		if err := report.Encode(Report{State: state, Packets: counts}); err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
		select {
		case <-tick.C:
		case order, more := <-orderly:
			if !more {
				return nil
			}
			lease.Reset(LeaseTime)
			want := map[byte]string{Drop: Dropping, Pass: Passing}[order]
			if want != "" && want != state {
				if err := r.set(c, order == Drop); err != nil {
					return fmt.Errorf("changing the rules: %w", err)
				}
				state = want
			}
		case <-lease.C:
			return nil
		case <-end:
			return nil
		}
	}
}

// listen hands orders on, byte by byte, and closes the channel when they end.
func listen(orders io.Reader, to chan<- byte, over <-chan struct{}) {
	defer close(to)
	buf := make([]byte, 64)
	for {
		n, err := orders.Read(buf)
		for _, order := range buf[:n] {
			select {
			case to <- order:
			case <-over:
				return
			}
		}
		if err != nil {
			return
		}
	}
}
