package broker

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"soak/broker/bugs"
	"soak/broker/core"
	"soak/broker/wire"
	"soak/internal/vfs"
)

// Options of one node. Zero values mean the default where one is named.
type Options struct {
	ID        int32            // from 1
	Data      string           // directory; made if it is not there
	Listen    string           // HOST:PORT for clients
	Advertise string           // HOST:PORT that clients are told
	Peers     map[int32]string // HOST:PORT of every member by id, this node included; empty: a cluster of one

	PeerListen  string // HOST:PORT for peers; default: this node's entry in Peers
	AdminListen string // HOST:PORT of the admin server; "": none
	FaultShim   bool   // the admin server breaks the disk when asked to: for fault injection alone, and on a loopback address alone

	ElectionInterval time.Duration // default 12 s
	SessionTimeout   time.Duration // default half the election interval, at least 500 ms
	ReplicaLag       time.Duration // default the session timeout, at least 1 s
	InitialLeader    string        // "raft-leader" (default) or "balanced"
	SnapshotEntries  int64         // raft entries from one snapshot of the metadata to the next, default 10,000
	NoAutoCreate     bool          // a topic that does not exist stays so
	Flush            string        // "sync" (default): a record counts when it is on disk; "none": when it is written
	RetentionCheck   time.Duration // how often a leader looks for segments that a topic's retention has ended, default 30 s
	Bugs             bugs.Set
	Seed             uint64
	Version          string

	MaxConnections   int   // of clients, default 1000
	MaxRequestBytes  int   // of one request, default 8 MiB
	MaxInFlightBytes int64 // requests read and not yet answered, default 128 MiB
	// MaxConnectionBytes is how much of that one connection may hold, default 32 MiB, or MaxInFlightBytes if that is less: one client alone must not
	// keep the others from being read.
	MaxConnectionBytes int64

	Stdout io.Writer // events and log, one line of JSON each
	FS     vfs.FS    // default the operating system's
}

// ConfigError is an error of whoever configured the node, with what to do about it.
type ConfigError struct {
	Err  error
	Hint string
}

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

func configError(hint, format string, args ...any) error {
	return &ConfigError{Err: fmt.Errorf(format, args...), Hint: hint}
}

// complete checks the options and fills in defaults. Every error is a *ConfigError.
func (o Options) complete() (Options, error) {
	if o.ID < 1 {
		return o, configError("give --id, a number from 1 that is this node's own", "node id %d: must be 1 or more", o.ID)
	}
	if o.Data == "" {
		return o, configError("give --data DIR, a directory of this node's own", "no data directory")
	}
	if len(o.Peers) > 0 {
		if _, ok := o.Peers[o.ID]; !ok {
			return o, configError("--peers lists every node, this one included", "node %d is not among the peers %v", o.ID, o.ids())
		}
	}
	for _, id := range o.ids() {
		if id < 1 {
			return o, configError("node ids begin at 1", "peer id %d: must be 1 or more", id)
		}
		if err := checkAddr(o.Peers[id], false); len(o.Peers) > 0 && err != nil {
			return o, configError("peers are written as 1=HOST:PORT,2=HOST:PORT", "address of peer %d: %w", id, err)
		}
	}
	if o.PeerListen == "" {
		o.PeerListen = o.Peers[o.ID]
	}
	if err := checkAddr(o.Listen, true); err != nil {
		return o, configError("give --listen HOST:PORT, or :PORT for every interface", "listening address: %w", err)
	}
	if o.Advertise == "" {
		o.Advertise = o.Listen
	}
	if err := checkAddr(o.Advertise, false); err != nil {
		return o, configError("give --advertise HOST:PORT, the address at which clients reach this node", "advertised address: %w", err)
	}
	if o.AdminListen != "" {
		if err := checkAddr(o.AdminListen, true); err != nil {
			return o, configError("give --admin-listen HOST:PORT, or an empty one for none", "admin address: %w", err)
		}
	}
	if o.FaultShim && !loopback(o.AdminListen) {
		return o, configError("with --fault-shim give --admin-listen 127.0.0.1:PORT: whoever reaches that port can break this node's disk",
			"--fault-shim with the admin server at %q, which is no loopback address", o.AdminListen)
	}
	for name, d := range map[string]time.Duration{
		"election interval": o.ElectionInterval, "session timeout": o.SessionTimeout, "replica lag": o.ReplicaLag, "retention check": o.RetentionCheck,
	} {
		if d != 0 && d < 100*time.Millisecond {
			return o, configError("durations are written as 500ms or 12s", "%s %v: must be at least 100ms", name, d)
		}
	}
	switch o.InitialLeader {
	case "":
		o.InitialLeader = core.InitialLeaderRaft
	case core.InitialLeaderRaft, core.InitialLeaderBalanced:
	default:
		return o, configError("--initial-leader is raft-leader or balanced", "initial leader %q", o.InitialLeader)
	}
	switch o.Flush {
	case "":
		o.Flush = core.FlushSync
	case core.FlushSync, core.FlushNone:
	default:
		return o, configError("--flush is sync or none", "flush %q", o.Flush)
	}
	if o.SnapshotEntries < 0 {
		return o, configError("--snapshot-entries is a number of raft entries, at least 1; leave it out for 10000", "a snapshot every %d entries", o.SnapshotEntries)
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 1000
	}
	if o.MaxRequestBytes == 0 {
		o.MaxRequestBytes = wire.MaxRequest
	}
	if o.MaxInFlightBytes == 0 {
		o.MaxInFlightBytes = 128 << 20
	}
	if o.MaxConnectionBytes == 0 {
		o.MaxConnectionBytes = min(max(32<<20, int64(o.MaxRequestBytes)), o.MaxInFlightBytes)
	}
	if o.MaxConnections < 1 || o.MaxRequestBytes < 1024 || o.MaxConnectionBytes < int64(o.MaxRequestBytes) || o.MaxInFlightBytes < o.MaxConnectionBytes {
		return o, configError("limits: 1 connection or more, requests of 1024 bytes or more, room for at least one of them on a connection, and no less in all",
			"limits of %d connections, %d bytes a request, %d bytes in flight on a connection and %d in all", o.MaxConnections, o.MaxRequestBytes, o.MaxConnectionBytes, o.MaxInFlightBytes)
	}
	if o.Stdout == nil {
		return o, errors.New("broker: Options.Stdout is nil")
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	return o, nil
}

// ids of all members, ascending.
func (o Options) ids() []int32 {
	if len(o.Peers) == 0 {
		return []int32{o.ID}
	}
	return slices.Sorted(maps.Keys(o.Peers))
}

// session is the session timeout in force, as the core's defaults have it.
func (o Options) session() time.Duration {
	if o.SessionTimeout != 0 {
		return o.SessionTimeout
	}
	interval := o.ElectionInterval
	if interval == 0 {
		interval = 12 * time.Second
	}
	return max(interval/2, 500*time.Millisecond)
}

// config is what the core needs to know.
func (o Options) config(boot uint64) core.Config {
	return core.Config{
		ID: o.ID, Peers: o.ids(), Seed: o.Seed, Boot: boot,
		Advertise: o.Advertise, Version: o.Version,
		ElectionInterval: o.ElectionInterval, SessionTimeout: o.SessionTimeout, ReplicaLag: o.ReplicaLag,
		InitialLeader: o.InitialLeader, AutoCreate: !o.NoAutoCreate, Flush: o.Flush, SnapshotEntries: o.SnapshotEntries,
		RetentionCheck: o.RetentionCheck, Bugs: o.Bugs,
	}
}

// loopback reports whether nobody but this machine reaches an address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func checkAddr(addr string, listen bool) error {
	if addr == "" {
		return errors.New("is missing")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 && !listen {
		return fmt.Errorf("%q has no port from 1 to 65535", addr)
	}
	if ip := net.ParseIP(host); !listen && (host == "" || ip != nil && ip.IsUnspecified()) {
		return fmt.Errorf("%q names no host that others can dial", addr)
	}
	return nil
}
