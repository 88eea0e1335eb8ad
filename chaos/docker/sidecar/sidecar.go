// Package sidecar disturbs a container's links from inside its own network namespace. The docker driver starts it (command
// "sidecar" of cmd/broker and cmd/soak) as a short-lived container that shares the target's namespace and has NET_ADMIN
// there and nothing else, so that any image can be a target.
//
// It sets nftables rules that count packets and let them pass, until it is told on standard input to drop them, and to
// let them pass again: so the same counters show that a link works before, is cut during, and works again after. It tells
// them every 100 ms on standard output. In place of dropping all it may drop a share of them, answer them with a reset, or do so in turns.
// With a Shape nothing is dropped: the rules hand packets over to the sidecar, which keeps each for a while and lets no more go on than a rate.
// Its own round trips to the peers, and how long packets were kept, are told with the counters. Rules that hand over let packets pass when nobody
// takes them, so a sidecar that is killed slows nothing down.
// Each time that it reads the counters it makes sure that all its rules are still there, and fails if they are not.
//
// It is started ahead of the fault: it does nothing until the first line on standard input tells it what to cut.
//
// It holds the lease of the partition: any byte on standard input renews it, and when standard input ends, when SIGTERM
// comes, or when nothing has come for LeaseTime, it takes the rules away and exits. A runner that is killed with SIGKILL
// so leaves no partition behind.
//
// It touches one table, which it creates and which nobody else may have.
package sidecar

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
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
	Dropping = "dropping" // packets are counted and dropped, or kept, or what else the Cut says
	Removed  = "removed"  // the rules are gone, by reading back; the last report
	Failed   = "failed"   // with Error; the last report
)

// Report is one line of the sidecar's output.
type Report struct {
	State   string           `json:"state"`
	Packets map[string]int64 `json:"packets,omitempty"` // counted since the state began, by rule: "in n2", "out n2", "in others"
	Error   string           `json:"error,omitempty"`

	// With a Shape, since the state began too.
	At         time.Duration        `json:"at,omitempty"`          // of the report, since the rules were set
	Links      map[string]Link      `json:"links,omitempty"`       // by rule
	RoundTrips map[string]RoundTrip `json:"round_trips,omitempty"` // by peer
}

// Cut is what is counted and dropped: all packets from and to each of the peers, and with Others every other packet but
// those of loopback and of the spared. It speaks of IPv4, which is all that a run's network has.
type Cut struct {
	Table  string                // name of the table, one a fault
	Peers  map[string]netip.Addr // by a name for the report
	Others bool
	Spare  map[string]netip.Addr // peers that Others does not mean
	Way    string                // In or Out: packets of that way alone; "" for both
	PPM    int64                 // more than 0: so many millionths of the packets are dropped, at random
	Reset  bool                  // TCP packets are answered with a reset, in place of being dropped
	Every  time.Duration         // more than 0: not all the time, see spans

	Shape Shape  // not nought: packets are kept, in place of being dropped; of Others those of both ways, whatever Way says
	Queue uint16 // with a Shape: the number of the queue that packets are handed over in, one a fault
	Port  uint16 // with a Shape: of the peers, for round trips; 0 for none
}

// shapes reports whether packets are kept, and not dropped.
func (c Cut) shapes() bool { return c.Shape != Shape{} }

// Ways of a Cut, seen from the container.
const (
	In  = "in"
	Out = "out"
)

// resetTime is how long of each Every connections are reset: long enough that each busy one is met.
const resetTime = 50 * time.Millisecond

// spans are how long the packets are dropped, and then not, in turns.
func (c Cut) spans() (on, off time.Duration) {
	if c.Reset {
		on = min(resetTime, c.Every/2)
		return on, c.Every - on
	}
	return c.Every, c.Every
}

// has reports whether the peers' packets of a way are concerned.
func (c Cut) has(way string) bool { return c.Way == "" || c.Way == way }

// hasOthers reports whether all others' packets of a way are.
func (c Cut) hasOthers(way string) bool { return c.Others && (c.has(way) || c.shapes()) }

// Command is the command line of a sidecar. What it is to cut it learns from its first line of input.
func Command() []string { return []string{"sidecar"} }

// maxLine bounds that line: some 40 bytes a node.
const maxLine = 64 << 10

// Line is the first that a sidecar is told.
func (c Cut) Line() []byte {
	line, err := json.Marshal(c.args())
	if err != nil { // strings can all be said
		panic(err)
	}
	return append(line, '\n')
}

// told waits for the line that says what to cut. Orders may follow it.
func told(orders *bufio.Reader, stderr io.Writer) (Cut, error) {
	var line []byte
	for {
		part, err := orders.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return Cut{}, err
		}
		if len(line) > maxLine {
			return Cut{}, errors.New("the line that says what to cut has no end")
		}
	}
	var args []string
	if err := json.Unmarshal(line, &args); err != nil {
		return Cut{}, fmt.Errorf("reading what to cut, %.100q: %w", line, err)
	}
	return parse(args, stderr)
}

// args says the cut as parse reads it.
func (c Cut) args() []string {
	args := []string{"--table", c.Table}
	if c.Others {
		args = append(args, "--others")
	}
	for name, addr := range c.Peers {
		args = append(args, "--peer", name+"="+addr.String())
	}
	for name, addr := range c.Spare {
		args = append(args, "--spare", name+"="+addr.String())
	}
	if c.Way != "" {
		args = append(args, "--way", c.Way)
	}
	if c.PPM != 0 {
		args = append(args, "--ppm", strconv.FormatInt(c.PPM, 10))
	}
	if c.Reset {
		args = append(args, "--reset")
	}
	if c.Every != 0 {
		args = append(args, "--every", c.Every.String())
	}
	if c.shapes() {
		args = append(args, "--delay", c.Shape.Delay.String(), "--jitter", c.Shape.Jitter.String(), "--rate", strconv.FormatInt(c.Shape.BytesPerSecond, 10),
			"--queue", strconv.Itoa(int(c.Queue)), "--port", strconv.Itoa(int(c.Port)))
	}
	return args
}

// parse reads what args wrote.
func parse(args []string, stderr io.Writer) (Cut, error) {
	c := Cut{Peers: map[string]netip.Addr{}, Spare: map[string]netip.Addr{}}
	f := flag.NewFlagSet("sidecar", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.Table, "table", "", "name of the nftables table")
	f.BoolVar(&c.Others, "others", false, "cut off from all others too, but for loopback")
	f.StringVar(&c.Way, "way", "", "in or out: that way alone")
	f.Int64Var(&c.PPM, "ppm", 0, "drop so many millionths alone")
	f.BoolVar(&c.Reset, "reset", false, "answer with a reset in place of dropping")
	f.DurationVar(&c.Every, "every", 0, "in turns of this length")
	f.DurationVar(&c.Shape.Delay, "delay", 0, "keep packets so long, in place of dropping them")
	f.DurationVar(&c.Shape.Jitter, "jitter", 0, "keep them at most so much longer")
	f.Int64Var(&c.Shape.BytesPerSecond, "rate", 0, "let no more bytes a second go on")
	queue := f.Uint("queue", 0, "number of the queue that packets are handed over in")
	port := f.Uint("port", 0, "port of the peers that round trips go to")
	for flag, to := range map[string]map[string]netip.Addr{"peer": c.Peers, "spare": c.Spare} {
		f.Func(flag, "NAME=ADDRESS", func(s string) error {
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
			to[name] = a
			return nil
		})
	}
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
	case c.Way != "" && c.Way != In && c.Way != Out:
		return Cut{}, fmt.Errorf("the way is %q: want in or out", c.Way)
	case c.PPM < 0 || c.PPM > 1_000_000:
		return Cut{}, fmt.Errorf("%d millionths", c.PPM)
	case c.Shape.Delay < 0 || c.Shape.Jitter < 0 || c.Shape.BytesPerSecond < 0 || c.shapes() && (c.PPM != 0 || c.Reset || c.Every != 0):
		return Cut{}, fmt.Errorf("no such shape: %+v", c.Shape)
	case *queue > math.MaxUint16 || *port > math.MaxUint16:
		return Cut{}, fmt.Errorf("queue %d, port %d", *queue, *port)
	case c.Every < 0 || c.Every != 0 && c.Every < 10*time.Millisecond:
		return Cut{}, fmt.Errorf("turns of %s are too short", c.Every)
	}
	c.Queue, c.Port = uint16(*queue), uint16(*port)
	return c, nil
}

// rules are what a sidecar sets; on Linux nftables.
type rules interface {
	// set puts the rules in place, or in the place of the ones before, all at once. Counters start at nought.
	set(c Cut, drop bool) error
	// packets reads the counters. An error says that rules are not there any more, or are not what was set.
	packets() (map[string]int64, error)
	// remove takes the rules away and makes sure of it. Removing what is not there is no error.
	remove() error
}

// Main runs the sidecar (args without the command's name: there are none) until it is told to end, and returns the exit code: 0 when
// the rules are gone again, 1 when something failed, 2 for usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	orders := bufio.NewReaderSize(stdin, 4<<10)
	var c Cut
	err := errors.New("it takes no arguments")
	if len(args) == 0 {
		c, err = told(orders, stderr) // a signal ends it here as it ends any program: there are no rules yet
	}
	if errors.Is(err, io.EOF) {
		return 0 // it was not needed
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: sidecar: %v\nhint: the docker driver starts it; it is of no use by hand\n", err)
		return 2
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	r := newRules()
	if c.shapes() {
		r = newShaped(c, r, openQueue)
	}
	if err := hold(r, c, orders, stdout, end); err != nil {
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
	p := packets{rules: r, cut: c, state: Passing}
	began := time.Now()
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
	turn := time.NewTimer(LeaseTime)
	defer turn.Stop()
	turn.Stop()
	for {
		counts, err := p.counted()
		if err != nil {
			return fmt.Errorf("reading the counters: %w", err)
		}
		now := Report{State: p.state, Packets: counts}
		if s, ok := r.(*shaped); ok {
			now.At = time.Since(began)
			s.seen(&now)
		}
		if err := report.Encode(now); err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
		select {
		case <-tick.C:
		case <-turn.C:
			err = p.turn(turn)
		case order, more := <-orderly:
			if !more {
				return nil
			}
			lease.Reset(LeaseTime)
			if want := map[byte]string{Drop: Dropping, Pass: Passing}[order]; want != "" && want != p.state {
				err = p.enter(want, turn)
			}
		case <-lease.C:
			return nil
		case <-end:
			return nil
		}
		if err != nil {
			return fmt.Errorf("changing the rules: %w", err)
		}
	}
}

// packets is what is done to packets now, and what was counted since the state began.
type packets struct {
	rules rules
	cut   Cut
	state string
	on    bool             // of Dropping: they are dropped now
	past  map[string]int64 // of Dropping: dropped in earlier turns
}

// enter begins a state.
func (p *packets) enter(state string, turn *time.Timer) error {
	p.state, p.on, p.past = state, state == Dropping, nil
	turn.Stop()
	if p.on && p.cut.Every > 0 {
		on, _ := p.cut.spans()
		turn.Reset(on)
	}
	return p.rules.set(p.cut, p.on)
}

// turn goes over from dropping to not, or back.
func (p *packets) turn(turn *time.Timer) (err error) {
	if p.state != Dropping {
		return nil // it fired while it was being stopped
	}
	on, off := p.cut.spans()
	if p.on {
		if p.past, err = p.counted(); err != nil {
			return err
		}
		turn.Reset(off)
	} else {
		turn.Reset(on)
	}
	p.on = !p.on
	return p.rules.set(p.cut, p.on)
}

// counted is what was counted since the state began: of Dropping, only what was dropped.
func (p *packets) counted() (map[string]int64, error) {
	now, err := p.rules.packets()
	if err != nil || p.state != Dropping || p.cut.Every == 0 {
		return now, err
	}
	sum := maps.Clone(p.past)
	if sum == nil {
		sum = map[string]int64{}
	}
	if p.on {
		for rule, n := range now {
			sum[rule] += n
		}
	}
	return sum, nil
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
