// Package broker is the shell around one broker/core: sockets, disk, clock, log and metrics. It decides nothing about Kafka or
// raft; it brings the core its inputs, and does what the core says in the order that the core's contract names: a
// turn's audit events are on standard output before any of its disk operations begin, any message leaves or any answer is
// written.
//
//	client conns ─▶ wire.ParseRequest ─┐                       ┌─▶ events ─▶ standard output
//	peer conns   ─▶ wire.ParsePeer    ─┼─▶ inbox ─▶ core turn ─┼─▶ disk queues (raft, partition logs, reads) ─▶ inbox
//	disk, clock                       ─┘                       └─▶ peer senders, connection writers
//
// One goroutine owns the core (loop.go). Nothing that it does waits for a network peer or a client: queues are bounded, and
// what finds no room is dropped (peers) or not read in the first place (clients).
//
// Files: options.go, broker.go (start and stop), loop.go, inbox.go, disks.go, clients.go and clientconn.go, peersend.go and
// peerrecv.go, admin.go and metrics.go, process.go (usage, stalls), power.go. cmd/broker and `soak broker` call Run through broker/cli.
package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/internal/faultshim"
	"soak/internal/vfs"
)

// parts are what Run puts together; tests put others in their place.
type parts struct {
	open func(fs vfs.FS, dir string, o disk.Options) (storage, core.Boot, uint64, error)
	sync func([]vfs.File) error
	core func(core.Config, core.Boot, int64) (node, error)
}

// Run runs one node until ctx ends: then it hands over what it leads, within 2.5 s (not if the cause is ErrAtOnce), writes what is queued to
// disk and returns nil. An error is a *ConfigError
// where the configuration is at fault (nothing has been served then), and otherwise why the node had to stop.
func Run(ctx context.Context, o Options) error { return run(ctx, o, realParts()) }

func run(ctx context.Context, o Options, p parts) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	var ports listeners
	defer ports.close()
	if err := ports.open(o); err != nil {
		return err
	}
	var shim *vfs.Shim
	if o.FaultShim {
		if shim, err = vfs.NewShim(o.FS, o.Data); err != nil {
			return err
		}
		o.FS = shim.FS()
	}
	dir, boot, number, err := p.open(o.FS, o.Data, disk.Options{Node: o.ID, Members: o.ids(), Unsynced: o.Flush == core.FlushNone, Bugs: o.Bugs})
	if err != nil {
		return &ConfigError{Err: err, Hint: dataHint(err)}
	}
	base := time.Now()
	now := func() int64 { return base.UnixNano() + int64(time.Since(base)) } // the monotonic clock: it is never set back
	n, err := p.core(o.config(number), boot, now())
	if err != nil {
		return errors.Join(fmt.Errorf("starting the node: %w", err), dir.Close())
	}

	out := &lines{w: o.Stdout}
	log := slog.New(slog.NewJSONHandler(out, nil)).With("node", o.ID, "boot", number)
	s := &shell{o: o, log: log, ports: &ports, dir: dir, in: newInbox()}
	if shim != nil {
		s.faults = faultshim.NewServer(shim, s.powerLost)
	}
	s.clients = newClients(s.in, o, log)
	s.peers = newPeers(o, number, log)
	s.peerPort = newPeerPort(o, number, s.in, log)
	s.disks = startDisks(dir, p.sync, func(d *core.DiskDone) { s.in.put(entry{in: d}) })
	s.loop = &loop{
		node: n, in: s.in, now: now, events: out, disk: s.disks, peers: s.peers, conns: s.clients,
		warn: func(msg string, err error) { log.Warn(msg, "error", err.Error()) },
	}
	for _, cut := range dir.Cuts() {
		log.Warn("a torn tail was cut", "log", cut.Log, "bytes", cut.Bytes)
	}
	return s.run(ctx)
}

// shell is a running node.
type shell struct {
	o        Options
	log      *slog.Logger
	ports    *listeners
	dir      storage
	in       *inbox
	loop     *loop
	disks    *disks
	clients  *clients
	peers    *peers
	peerPort *peerPort
	faults   *faultshim.Server // nil: none
}

func (s *shell) run(ctx context.Context) error {
	s.log.Info("broker starts", "version", s.o.Version, "listen", s.ports.clients.Addr().String(), "advertise", s.o.Advertise,
		"peers", s.ports.addr(s.ports.peers), "admin", s.ports.addr(s.ports.admin), "data", s.o.Data)

	inner, stop := context.WithCancel(context.Background())
	defer stop()
	var side sync.WaitGroup
	side.Go(func() { s.clients.serve(s.ports.clients) })
	if s.ports.peers != nil {
		side.Go(func() { s.peerPort.serve(s.ports.peers) })
		side.Go(func() { s.peers.run(inner) })
	}
	side.Go(func() { watchUsage(inner, s.o.Data, s.loop.stats, s.log) })
	side.Go(func() { watchStalls(inner, time.Now, s.log) })
	var server *http.Server
	if s.ports.admin != nil {
		a := &admin{stats: s.loop.stats, clients: s.clients, peers: s.peers, faults: s.faults}
		if s.faults != nil {
			side.Go(func() { s.faults.Run(inner) })
		}
		server = &http.Server{Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second}
		side.Go(func() {
			if err := server.Serve(s.ports.admin); !errors.Is(err, http.ErrServerClosed) {
				s.log.Warn("the admin server ended", "error", err.Error())
			}
		})
	}

	err := s.loop.run(ctx)
	if err != nil {
		s.log.Error("fatal", "error", err.Error())
	}

	// Nobody hears of anything any more; then what was promised to the disk is kept.
	stop()
	if server != nil {
		server.Close()
	}
	s.ports.close()
	s.in.close()
	s.clients.close()
	s.peerPort.close()
	side.Wait()
	s.disks.flush()
	if cerr := s.dir.Close(); cerr != nil && err == nil {
		err = fmt.Errorf("closing data directory %s: %w", s.o.Data, cerr)
		s.log.Error("fatal", "error", err.Error())
	}
	if err == nil {
		s.log.Info("broker stopped")
	}
	return err
}

// listeners are the node's ports. All are taken before the data directory is touched.
type listeners struct {
	clients, peers, admin net.Listener
}

func (l *listeners) open(o Options) error {
	for _, x := range []struct {
		what, addr string
		ln         *net.Listener
	}{{"clients", o.Listen, &l.clients}, {"peers", o.PeerListen, &l.peers}, {"the admin server", o.AdminListen, &l.admin}} {
		if x.addr == "" {
			continue
		}
		ln, err := net.Listen("tcp", x.addr)
		if err != nil {
			hint := "check that the host is one of this machine's"
			if errors.Is(err, syscall.EADDRINUSE) {
				hint = "another process has this port: stop it, or give this node another one"
			}
			return configError(hint, "listening for %s on %s: %w", x.what, x.addr, err)
		}
		*x.ln = ln
	}
	return nil
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.clients, l.peers, l.admin} {
		if ln != nil {
			ln.Close()
		}
	}
}

func (l *listeners) addr(ln net.Listener) string {
	if ln == nil {
		return ""
	}
	return ln.Addr().String()
}

// lines lets events and log lines share an output without mixing: each Write is whole lines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
