package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"soak/chaos"
	"soak/chaos/owner"
	"soak/history"
)

func TestOnlyAnEngineOnThisMachineWillDo(t *testing.T) {
	for host, want := range map[string]bool{
		"unix:///var/run/docker.sock":     true,
		"npipe:////./pipe/docker_engine":  true,
		"tcp://127.0.0.1:2375":            true,
		"tcp://localhost:2375":            true,
		"tcp://[::1]:2375":                true,
		"tcp://192.0.2.7:2376":            false,
		"tcp://docker.example:2376":       false,
		"ssh://somebody@build.example:22": false,
	} {
		err := local(host)
		if (err == nil) != want {
			t.Errorf("%s: %v, want usable %v", host, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), host) {
			t.Errorf("the error does not name %s: %v", host, err)
		}
	}
}

func TestASilentEngineIsNamed(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 0, errSilent)
	defer cancel()
	<-ctx.Done()
	if err := explain(ctx, ctx.Err()); !errors.Is(err, errSilent) {
		t.Errorf("got %v", err)
	}
	// The caller's own deadline is not the engine's fault.
	mine, cancel := context.WithCancel(t.Context())
	cancel()
	if err := explain(mine, mine.Err()); errors.Is(err, errSilent) {
		t.Errorf("got %v", err)
	}
}

// fakeEngine answers what cleaning asks, and remembers what it was told to remove.
type fakeEngine struct {
	t          *testing.T
	containers []map[string]any
	networks   []map[string]any
	images     []map[string]any

	mu      sync.Mutex
	removed []string
}

// matches applies the label filters of a request; a request without any would reach everybody's things.
func (f *fakeEngine) matches(r *http.Request, all []map[string]any) []map[string]any {
	var filters map[string]map[string]bool
	if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil || len(filters["label"]) == 0 {
		f.t.Errorf("%s asks for everything: %v", r.URL, err)
	}
	found := []map[string]any{}
	for _, thing := range all {
		labels := thing["Labels"].(map[string]string)
		ok := true
		for l := range filters["label"] {
			k, v, exact := strings.Cut(l, "=")
			have, there := labels[k]
			ok = ok && there && (!exact || have == v)
		}
		if ok {
			found = append(found, thing)
		}
	}
	return found
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	path := r.URL.Path
	if i := strings.Index(path[1:], "/"); i >= 0 && strings.HasPrefix(path, "/v1.") {
		path = path[i+1:]
	}
	switch {
	case r.Method == http.MethodDelete:
		f.mu.Lock()
		f.removed = append(f.removed, path)
		f.mu.Unlock()
		fmt.Fprint(w, "[]")
	case path == "/containers/json":
		json.NewEncoder(w).Encode(f.matches(r, f.containers))
	case path == "/networks":
		json.NewEncoder(w).Encode(f.matches(r, f.networks))
	case path == "/images/json":
		json.NewEncoder(w).Encode(f.matches(r, f.images))
	default:
		fmt.Fprint(w, "{}")
	}
}

func (f *fakeEngine) connect(t *testing.T) *engine {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c, err := client.New(client.WithHost("tcp://" + server.Listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &engine{DockerClient: &testcontainers.DockerClient{Client: c}, arch: "amd64"}
}

func TestCleanRemovesOnlyWhatLostItsOwner(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	lock, err := owner.Acquire("alive")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	labels := func(run, domain, part string) map[string]string {
		return map[string]string{labelRun: run, labelOwner: domain, labelPart: part}
	}
	thing := func(id string, l map[string]string) map[string]any { return map[string]any{"Id": id, "Labels": l} }
	old, fresh := time.Now().Add(-2*keepImages).Unix(), time.Now().Unix()
	image := func(id string, created int64, domain string) map[string]any {
		return map[string]any{"Id": id, "Created": created, "Labels": map[string]string{labelImage: "1", labelOwner: domain}}
	}
	f := &fakeEngine{t: t,
		containers: []map[string]any{
			thing("node-of-dead", labels("dead", "here", "node")),
			thing("sidecar-of-dead", labels("dead", "here", "sidecar")),
			thing("node-of-alive", labels("alive", "here", "node")),
			thing("node-of-elsewhere", labels("dead", "elsewhere", "node")), // another state directory: its locks cannot be seen
			thing("somebody's", map[string]string{"app": "shop"}),
		},
		networks: []map[string]any{
			thing("net-of-dead", labels("dead", "here", "network")),
			thing("net-of-gone", labels("gone", "here", "network")),
			thing("net-of-alive", labels("alive", "here", "network")),
		},
		images: []map[string]any{
			image("old", old, "here"), image("fresh", fresh, "here"), image("foreign", old, "elsewhere"),
		},
	}
	removed, err := f.connect(t).clean(t.Context(), "here", t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/containers/node-of-dead", "/containers/sidecar-of-dead", "/images/old", "/networks/net-of-dead", "/networks/net-of-gone",
	}
	got := slices.Sorted(slices.Values(f.removed))
	if !slices.Equal(got, want) {
		t.Errorf("removed %q, want %q", got, want)
	}
	if len(removed) != len(want) {
		t.Errorf("said %q", removed)
	}
	if s, n := slices.Index(f.removed, "/containers/sidecar-of-dead"), slices.Index(f.removed, "/containers/node-of-dead"); s > n {
		t.Error("the node went before the sidecar in its namespace")
	}
}

func TestCloseSaysWhatIsLeftWhenTheEngineIsGone(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	made, err := New(chaos.Config{RunID: "orphan", Nodes: 1, Dir: t.TempDir(), Sink: deaf{}})
	if err != nil {
		t.Fatal(err)
	}
	c := made.(*cluster)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody answers there
	api, err := client.New(client.WithHost("tcp://" + l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	c.engine = &engine{DockerClient: &testcontainers.DockerClient{Client: api}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = c.Close(ctx)
	if err == nil || !strings.Contains(err.Error(), "soak.run=orphan") || !strings.Contains(err.Error(), "soak clean") {
		t.Errorf("got %v, want the label of what is left and what removes it", err)
	}
	if again := c.Close(ctx); !errors.Is(again, err) {
		t.Errorf("the second time: %v", again)
	}
	if owner.Alive("orphan") {
		t.Error("the lock is still held: nothing could be cleaned")
	}
}

// What a node says after its follower was last heard of is looked at when its log is completed, and what was taken before is not told twice.
func TestTheLastLinesOfALogAreLookedAt(t *testing.T) {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	line := func(second int, text string) []byte {
		return frame(stderr, begin.Add(time.Duration(second)*time.Second).Format(time.RFC3339Nano)+" "+text+"\n")
	}
	log := slices.Concat(line(1, "panic: taken before"), line(2, "WARNING: DATA RACE"), line(3, "panic: at the very end"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/logs") {
			w.Write(log)
		}
	}))
	defer server.Close()
	api, err := client.New(client.WithHost("tcp://" + server.Listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	c := laidOut(1)
	c.engine = &engine{DockerClient: &testcontainers.DockerClient{Client: api}}
	heard := &listener{}
	n := &node{
		id: 1, log: filepath.Join(t.TempDir(), "n1.log"), collector: chaos.NewCollector(1, heard),
		container: &testcontainers.DockerContainer{ID: "n1"}, newest: begin.Add(time.Second),
	}
	if err := c.wholeLog(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if want := []string{"data_race", "panic"}; !slices.Equal(heard.what, want) {
		t.Errorf("told of %q, want %q", heard.what, want)
	}
	if kept, err := os.ReadFile(n.log); err != nil || bytes.Count(kept, []byte("\n")) != 3 {
		t.Errorf("the log: %q, %v", kept, err)
	}
}

// listener remembers what kinds of lines it was told of.
type listener struct {
	deaf
	what []string
}

func (l *listener) Event(e history.Event) {
	if line, ok := e.Body.(*history.LogLine); ok {
		l.what = append(l.what, line.What)
	}
}

// deaf is a sink that nobody listens to.
type deaf struct{}

func (deaf) Event(history.Event)      {}
func (deaf) Stats(history.NodeMetric) {}
