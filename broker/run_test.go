package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"soak/broker/core"
	"soak/broker/disk"
	"soak/history"
	"soak/internal/vfs"
)

// output collects what a node writes, and lets a test wait for a line.
type output struct {
	mu    sync.Mutex
	some  sync.Cond
	lines []map[string]any
	ended bool
}

func newOutput() *output {
	o := &output{}
	o.some.L = &o.mu
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range bytes.Lines(p) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			m = map[string]any{"msg": "no JSON: " + string(line)}
		}
		o.lines = append(o.lines, m)
	}
	o.some.Broadcast()
	return len(p), nil
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.some.Broadcast()
}

// wait returns the first line with the message, nil once the node has ended without one.
func (o *output) wait(msg string) map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for _, l := range o.lines {
			if l["msg"] == msg {
				return l
			}
		}
		if o.ended {
			return nil
		}
		o.some.Wait()
	}
}

func options(t *testing.T, out io.Writer) Options {
	return Options{ID: 1, Data: t.TempDir(), Listen: "127.0.0.1:0", Advertise: "127.0.0.1:9092", AdminListen: "127.0.0.1:0", Stdout: out}
}

func fakeParts(n *fakeNode, f *fakeStorage) parts {
	return parts{
		open: func(vfs.FS, string, disk.Options) (storage, core.Boot, uint64, error) {
			return f, core.Boot{}, 4, nil
		},
		core: func(c core.Config, _ core.Boot, _ int64) (node, error) {
			if c.Boot != 4 {
				return nil, errors.New("boot number lost")
			}
			return n, nil
		},
	}
}

// started runs a node over TCP on loopback; stop ends it and gives what Run returned.
func started(t *testing.T, n *fakeNode, f *fakeStorage) (out *output, stop func() error) {
	out = newOutput()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- run(ctx, options(t, out), fakeParts(n, f))
		out.end()
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-result })
	t.Cleanup(func() { stop() })
	if out.wait("broker starts") == nil {
		t.Fatalf("it did not start: %v", stop())
	}
	return out, stop
}

func TestServesAndStops(t *testing.T) {
	f := &fakeStorage{}
	n := &fakeNode{}
	n.react = func(in core.Input, out *core.Output) {
		if _, ok := in.(*core.ClientRequest); ok {
			out.Events = append(out.Events, n.event())
			out.Disk = append(out.Disk, core.DiskOp{ID: 1, Kind: core.OpLogAppend})
		}
		answerAll(in, out)
	}
	out, stop := started(t, n, f)
	addr := out.wait("broker starts")["listen"].(string)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tc := &testClient{t: t, c: c}
	tc.send(5, apiVersions())
	tc.wantCorr(5)
	if e := out.wait("stats"); e["memory"].(float64) <= 0 || e["goroutines"].(float64) <= 0 || e["descriptors"].(float64) <= 0 {
		t.Errorf("stats line %v", e)
	}
	if cut := out.wait("a torn tail was cut"); cut == nil || cut["log"] != "raft" {
		t.Errorf("cut: %v", cut)
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	tc.wantClosed()
	if !f.closed || len(f.calls) != 1 {
		t.Errorf("closed %v after %d writes", f.closed, len(f.calls))
	}
	if out.wait("broker stopped") == nil {
		t.Error("it did not say that it stopped")
	}
}

// What the core has handed to the disk is written before the directory is closed.
func TestStopWritesWhatIsQueued(t *testing.T) {
	f := &fakeStorage{gate: make(chan struct{})}
	n := &fakeNode{}
	var once sync.Once
	submitted := make(chan struct{})
	n.react = func(_ core.Input, out *core.Output) {
		once.Do(func() {
			out.Disk = []core.DiskOp{{ID: 1, Kind: core.OpRaftSave}, {ID: 2, Kind: core.OpLogAppend}}
			close(submitted)
		})
	}
	_, stop := started(t, n, f)
	<-submitted
	go func() { f.gate <- struct{}{}; f.gate <- struct{}{} }()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(f.calls) != 2 || !f.closed {
		t.Errorf("%d writes, closed %v", len(f.calls), f.closed)
	}
}

func TestFatalEndsTheNode(t *testing.T) {
	broken := errors.New("the disk is on fire")
	n := &fakeNode{}
	n.react = func(_ core.Input, out *core.Output) {
		out.Events = append(out.Events, n.event())
		out.Fatal = broken
	}
	out := newOutput()
	f := &fakeStorage{}
	err := run(context.Background(), options(t, out), fakeParts(n, f))
	out.end()
	if !errors.Is(err, broken) || !f.closed {
		t.Errorf("ended with %v, directory closed %v", err, f.closed)
	}
	if l := out.wait("fatal"); l == nil || l["level"] != "ERROR" || l["error"] != broken.Error() {
		t.Errorf("fatal line %v", l)
	}
	events := 0
	for _, l := range out.lines {
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := history.ParseEvent(b); ok {
			events++
		}
	}
	if events != 1 {
		t.Errorf("%d events written, want the one of the fatal turn", events)
	}
}

func TestAPortTakenIsAConfigurationError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	o := options(t, io.Discard)
	o.Listen = ln.Addr().String()
	opened := false
	p := fakeParts(&fakeNode{}, &fakeStorage{})
	p.open = func(vfs.FS, string, disk.Options) (storage, core.Boot, uint64, error) {
		opened = true
		return nil, core.Boot{}, 0, errors.New("not reached")
	}
	var c *ConfigError
	if err := run(context.Background(), o, p); !errors.As(err, &c) || !strings.Contains(c.Hint, "port") || opened {
		t.Errorf("got %v, directory opened %v", err, opened)
	}
}

func TestADirectoryThatDoesNotOpenIsAConfigurationError(t *testing.T) {
	p := fakeParts(&fakeNode{}, &fakeStorage{})
	p.open = func(vfs.FS, string, disk.Options) (storage, core.Boot, uint64, error) {
		return nil, core.Boot{}, 0, errors.New("locked")
	}
	var c *ConfigError
	if err := run(context.Background(), options(t, io.Discard), p); !errors.As(err, &c) || c.Hint == "" {
		t.Errorf("got %v", err)
	}
}

func TestAdmin(t *testing.T) {
	out, _ := started(t, &fakeNode{}, &fakeStorage{})
	base := "http://" + out.wait("broker starts")["admin"].(string)
	for path, want := range map[string]string{
		"/healthz":             "ok",
		"/readyz":              "ready",
		"/status":              `"term": 3`,
		"/metrics":             "soak_broker_raft_term 3",
		"/debug/pprof/cmdline": "",
	} {
		code, body := get(t, base+path)
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, code, body)
		}
	}
}

func TestAdminSaysWhenTheLoopHangs(t *testing.T) {
	hang, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	n := &fakeNode{}
	n.react = func(core.Input, *core.Output) { once.Do(func() { close(hang); <-let }) }
	out, _ := started(t, n, &fakeStorage{})
	<-hang
	defer close(let)
	base := "http://" + out.wait("broker starts")["admin"].(string)
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body := get(t, base+path); code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestOptionsThatCannotWork(t *testing.T) {
	good := func() Options {
		return Options{ID: 1, Data: "d", Listen: ":9092", Advertise: "h:9092", Peers: map[int32]string{1: "a:1", 2: "b:1"}, Stdout: io.Discard}
	}
	o, err := good().complete()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"127.0.0.1:9644", "[::1]:9644", "localhost:9644"} {
		o := good()
		o.FaultShim, o.AdminListen = true, addr
		if _, err := o.complete(); err != nil {
			t.Errorf("a fault shim at %s: %v", addr, err)
		}
	}
	if o.PeerListen != "a:1" || o.InitialLeader != core.InitialLeaderRaft {
		t.Errorf("defaults: %+v", o)
	}
	for name, spoil := range map[string]func(*Options){
		"no id":                  func(o *Options) { o.ID = 0 },
		"no data":                func(o *Options) { o.Data = "" },
		"not a member":           func(o *Options) { o.ID = 3 },
		"negative peer":          func(o *Options) { o.Peers[-1] = "c:1" },
		"peer without port":      func(o *Options) { o.Peers[2] = "b" },
		"listen without port":    func(o *Options) { o.Listen = "h" },
		"advertise nothing":      func(o *Options) { o.Advertise = ":9092" },
		"advertise every host":   func(o *Options) { o.Advertise = "0.0.0.0:9092" },
		"advertise port 0":       func(o *Options) { o.Advertise = "h:0" },
		"admin without port":     func(o *Options) { o.AdminListen = "h" },
		"short interval":         func(o *Options) { o.ElectionInterval = time.Millisecond },
		"negative session":       func(o *Options) { o.SessionTimeout = -time.Second },
		"initial leader":         func(o *Options) { o.InitialLeader = "anybody" },
		"no connections":         func(o *Options) { o.MaxConnections = -1 },
		"no room for a request":  func(o *Options) { o.MaxInFlightBytes = 1 },
		"requests of no size":    func(o *Options) { o.MaxRequestBytes = 10 },
		"port beyond the range":  func(o *Options) { o.Listen = ":65536" },
		"listening unadvertised": func(o *Options) { o.Advertise = "" },
		"shim without a port":    func(o *Options) { o.FaultShim = true },
		"shim for everybody":     func(o *Options) { o.FaultShim, o.AdminListen = true, ":9644" },
		"shim for the network":   func(o *Options) { o.FaultShim, o.AdminListen = true, "192.0.2.1:9644" },
	} {
		o := good()
		spoil(&o)
		var c *ConfigError
		if _, err := o.complete(); !errors.As(err, &c) || c.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStallsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newOutput()
		var behind atomic.Int64 // how far the clock has jumped, ns
		clock := func() time.Time { return time.Now().Add(time.Duration(behind.Load())) }
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			watchStalls(ctx, clock, slog.New(slog.NewJSONHandler(out, nil)))
		}()
		for _, jump := range []time.Duration{stallLate, stallLate + time.Millisecond} {
			time.Sleep(time.Second + time.Millisecond) // of the bubble
			behind.Add(int64(jump))
		}
		time.Sleep(time.Second)
		cancel()
		<-ended
		if len(out.lines) != 1 || out.lines[0]["msg"] != "stall" || out.lines[0]["nanos"] != float64(stallLate+time.Millisecond) {
			t.Errorf("got %v, want one stall, of the jump beyond the limit", out.lines)
		}
	})
}
