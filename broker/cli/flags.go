package cli

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"soak/broker"
	"soak/broker/bugs"
	"soak/broker/core"
	"soak/broker/wire"
	"soak/internal/version"
)

// envPrefix begins the environment variables that stand for flags.
const envPrefix = "SOAK_BROKER_"

// flags are the broker's flags before they are understood.
type flags struct {
	set     *pflag.FlagSet
	o       broker.Options
	peers   []string
	bugs    []string
	seed    uint64
	ownerFD int
}

func newFlags() *flags {
	f := &flags{set: pflag.NewFlagSet("broker", pflag.ContinueOnError)}
	s, o := f.set, &f.o
	s.SortFlags = false
	s.Usage = func() {} // printed by Main, to standard output
	s.Int32Var(&o.ID, "id", 0, "this node's id, from 1 (required)")
	s.StringVar(&o.Data, "data", "", "data directory, made if it is not there (required)")
	s.StringVar(&o.Listen, "listen", ":9092", "HOST:PORT to listen on for clients")
	s.StringVar(&o.Advertise, "advertise", "", "HOST:PORT that clients are told (default: the listening address, if it names a host)")
	s.StringSliceVar(&f.peers, "peers", nil, "every member as ID=HOST:PORT, this node included (default: a cluster of one)")
	s.StringVar(&o.PeerListen, "peer-listen", "", "HOST:PORT to listen on for peers (default: this node's entry of --peers)")
	s.DurationVar(&o.ElectionInterval, "election-interval", 0, "period of the leader-election service (default 12s)")
	s.DurationVar(&o.SessionTimeout, "session-timeout", 0, "a broker that is silent for so long is dead (default: half the election interval, at least 500ms)")
	s.DurationVar(&o.ReplicaLag, "replica-lag", 0, "a follower that lags for so long leaves the ISR (default: the session timeout, at least 1s)")
	s.StringVar(&o.InitialLeader, "initial-leader", core.InitialLeaderRaft, "a new partition's leader: raft-leader, or balanced")
	s.Int64Var(&o.SnapshotEntries, "snapshot-entries", 0, "store the metadata as a snapshot, and drop raft entries, after so many of them (default 10000)")
	s.BoolVar(&o.NoAutoCreate, "no-auto-create", false, "do not create topics that a client merely asks for")
	s.StringVar(&o.Flush, "flush", core.FlushSync, "sync: records are on disk before they count as replicated; none: they are left to the kernel, as Kafka does it")
	s.DurationVar(&o.RetentionCheck, "retention-check", 0, "how often a leader looks for what a topic's retention lets go (default 30s)")
	s.StringSliceVar(&f.bugs, "bug", nil, "switch a planted bug on (repeatable; `soak bugs` lists them)")
	s.Uint64Var(&f.seed, "seed", 0, "seed of every random value (default: a random one)")
	s.StringVar(&o.AdminListen, "admin-listen", "127.0.0.1:9644", "HOST:PORT of health, status, metrics and profiles; empty: none")
	s.BoolVar(&o.FaultShim, "fault-shim", false, "let the admin server break the disk when asked to, and take the power: for fault injection alone")
	s.IntVar(&o.MaxConnections, "max-connections", 1000, "client connections at a time")
	s.IntVar(&o.MaxRequestBytes, "max-request-bytes", wire.MaxRequest, "size of one request")
	s.Int64Var(&o.MaxConnectionBytes, "max-connection-bytes", 0, "size of one connection's requests that are not yet answered (default 32 MiB)")
	s.Int64Var(&o.MaxInFlightBytes, "max-in-flight-bytes", 128<<20, "size of all requests that are not yet answered")
	s.IntVar(&f.ownerFD, "owner-fd", -1, "inherited pipe; stop when its other end is closed")
	return f
}

func usage() string {
	return "Run one node of the reference broker.\n\nUsage:\n  broker --id N --data DIR --listen HOST:PORT --advertise HOST:PORT --peers 1=HOST:PORT,2=HOST:PORT,…\n\nFlags:\n" +
		newFlags().set.FlagUsages() +
		"\nEvery flag may also be given in the environment: --peer-listen as SOAK_BROKER_PEER_LISTEN, and so on.\n" +
		"SIGTERM hands over what the node leads, within 2.5 s, writes what is queued to disk and exits 0. Exit codes: 0 stopped, 1 failed, 2 usage or configuration.\n"
}

func usageError(hint, format string, args ...any) error {
	return &broker.ConfigError{Err: fmt.Errorf(format, args...), Hint: hint}
}

// parse understands args and the environment. The file is the owner's pipe, nil where none was named.
func parse(args []string, env func(string) (string, bool)) (broker.Options, *os.File, error) {
	f := newFlags()
	if err := f.set.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return f.o, nil, err
		}
		return f.o, nil, usageError("broker --help lists the flags", "%w", err)
	}
	if f.set.NArg() > 0 {
		return f.o, nil, usageError("broker takes flags only; --help lists them", "unexpected argument %q", f.set.Arg(0))
	}
	if err := f.fromEnv(env); err != nil {
		return f.o, nil, err
	}
	if err := f.understand(); err != nil {
		return f.o, nil, err
	}
	if f.ownerFD < 0 {
		return f.o, nil, nil
	}
	owner := os.NewFile(uintptr(f.ownerFD), "owner")
	if _, err := owner.Stat(); err != nil {
		return f.o, nil, usageError("--owner-fd is the number of a pipe that this process inherits", "descriptor %d: %w", f.ownerFD, err)
	}
	return f.o, owner, nil
}

// fromEnv sets each flag that was not on the command line from its environment variable.
func (f *flags) fromEnv(env func(string) (string, bool)) (err error) {
	f.set.VisitAll(func(fl *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		v, ok := env(name)
		if fl.Changed || !ok || err != nil {
			return
		}
		if serr := f.set.Set(fl.Name, v); serr != nil {
			err = usageError("it stands for --"+fl.Name+": "+fl.Usage, "environment variable %s: %w", name, serr)
		}
	})
	return err
}

// understand turns lists and names into values.
func (f *flags) understand() (err error) {
	if f.o.Peers, err = parsePeers(f.peers); err != nil {
		return err
	}
	if f.o.Bugs, err = bugs.Parse(f.bugs); err != nil {
		return usageError("`soak bugs` tells what each of them is", "--bug: %w", err)
	}
	if f.o.Flush != core.FlushSync && f.o.Flush != core.FlushNone {
		return usageError("--flush is sync or none", "--flush=%s", f.o.Flush)
	}
	f.o.Seed = f.seed
	if !f.set.Changed("seed") {
		var b [8]byte
		rand.Read(b[:]) // never fails: crypto/rand ends the program instead
		f.o.Seed = binary.LittleEndian.Uint64(b[:])
	}
	f.o.Version = version.Version
	return nil
}

func parsePeers(list []string) (map[int32]string, error) {
	const hint = "write --peers 1=HOST:PORT,2=HOST:PORT,3=HOST:PORT"
	out := map[int32]string{}
	for _, p := range list {
		name, addr, ok := strings.Cut(p, "=")
		if !ok {
			return nil, usageError(hint, "peer %q: no address", p)
		}
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil {
			return nil, usageError(hint, "peer %q: %q is not a node id", p, name)
		}
		if _, twice := out[int32(id)]; twice {
			return nil, usageError(hint, "peer %d is named twice", id)
		}
		out[int32(id)] = addr
	}
	return out, nil
}
