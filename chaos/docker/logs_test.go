package docker

import (
	"context"
	"fmt"
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
	"soak/history"
)

// brokenEngine is an engine that is restarted while a node's log is followed: its stream ends in the middle of a line, then nobody answers, then the log is
// there again, longer than it was.
type brokenEngine struct {
	mu     sync.Mutex
	asked  []string // since, of each request for the log
	lines  []string // "TIME text\n"
	begin  time.Time
	caught chan struct{} // closed when the last line has been sent
}

func (e *brokenEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	if !strings.HasSuffix(r.URL.Path, "/logs") {
		fmt.Fprint(w, "{}")
		return
	}
	e.mu.Lock()
	e.asked = append(e.asked, r.URL.Query().Get("since"))
	nth := len(e.asked)
	e.mu.Unlock()
	if nth == 2 { // while it starts again
		http.Error(w, "the engine is starting", http.StatusServiceUnavailable)
		return
	}
	to := len(e.lines)
	if nth == 1 {
		to = 3
	}
	var since time.Time
	if s := r.URL.Query().Get("since"); s != "" {
		var seconds, nanos int64
		if _, err := fmt.Sscanf(s, "%d.%d", &seconds, &nanos); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		since = time.Unix(seconds, nanos)
	}
	for i, line := range e.lines[:to] {
		if at := e.begin.Add(time.Duration(i) * time.Second); at.Before(since) {
			continue
		}
		w.Write(frame(stderr, line))
	}
	if nth == 1 { // and it dies in the middle of the next
		half := frame(stderr, e.lines[to])
		w.Write(half[:len(half)/2])
		return
	}
	w.(http.Flusher).Flush()
	close(e.caught)
	<-r.Context().Done()
}

// told remembers which events it was given.
type told struct {
	deaf
	mu  sync.Mutex
	seq []uint64
	of  []string
}

func (s *told) Event(e history.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := e.Body.(*history.LogLine); ok {
		s.of = append(s.of, l.What)
		return
	}
	s.seq = append(s.seq, e.Seq)
}

// A log whose stream breaks off is opened again from its newest line on: nothing is missing, and nothing is told or kept twice.
func TestALogIsFollowedOverARestartOfTheEngine(t *testing.T) {
	for _, short := range []bool{false, true} {
		t.Run(fmt.Sprintf("short=%v", short), func(t *testing.T) {
			e := &brokenEngine{begin: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), caught: make(chan struct{})}
			for i := range 6 {
				event := history.Event{Node: 1, Boot: 1, Seq: uint64(i + 1), Time: 1, Body: &history.Session{Broker: 1, State: "live"}}
				text := string(history.AppendLogLine(nil, &event))
				if i == 2 || i == 4 {
					text = fmt.Sprintf("panic: %d", i)
				}
				e.lines = append(e.lines, e.begin.Add(time.Duration(i)*time.Second).Format(time.RFC3339Nano)+" "+text+"\n")
			}
			server := httptest.NewServer(e)
			defer server.Close()
			api, err := client.New(client.WithHost("tcp://" + server.Listener.Addr().String()))
			if err != nil {
				t.Fatal(err)
			}
			defer api.Close()
			var said []string
			c := laidOut(1)
			c.cfg.ShortLogs = short
			c.cfg.Logf = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
			c.engine = &engine{DockerClient: &testcontainers.DockerClient{Client: api}}
			heard := &told{}
			n := &node{
				id: 1, log: filepath.Join(t.TempDir(), "n1.log"), collector: chaos.NewCollector(1, heard), wake: make(chan struct{}, 1),
				container: &testcontainers.DockerContainer{ID: "n1"}, current: &life{ended: make(chan struct{})},
			}
			var end context.CancelFunc
			c.ended, end = context.WithCancel(t.Context())
			defer end()
			done := make(chan struct{})
			go func() { defer close(done); c.follow(n) }()
			<-e.caught
			// The last line is behind the flush; what is told of it comes soon after.
			for range 1000 {
				heard.mu.Lock()
				all := slices.Contains(heard.seq, 6)
				heard.mu.Unlock()
				if all {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			end()
			<-done
			if want := []uint64{1, 2, 4, 6}; !slices.Equal(heard.seq, want) {
				t.Errorf("told of the events %v, want %v", heard.seq, want)
			}
			if want := []string{"panic", "panic"}; !slices.Equal(heard.of, want) {
				t.Errorf("told of the lines %v, want %v", heard.of, want)
			}
			kept, err := os.ReadFile(n.log)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(string(kept), "\n"), "\n")
			if want := 6; short {
				if !slices.Equal(lines, []string{"panic: 2", "panic: 4"}) {
					t.Errorf("kept %q", lines)
				}
			} else if len(lines) != want {
				t.Errorf("kept %d lines, want %d: %q", len(lines), want, lines)
			}
			if len(said) == 0 || !strings.Contains(said[0], "broke off") {
				t.Errorf("it was said: %q", said)
			}
			if len(e.asked) != 3 || e.asked[2] == "" {
				t.Errorf("asked for the log since %q", e.asked)
			}
		})
	}
}

// An engine that goes away may take its containers along. That is no crash of a node, and Close names it.
func TestANodeThatItsEngineTookAlongHasNotCrashed(t *testing.T) {
	for name, c := range map[string]struct {
		away        bool
		code        int
		asked, told bool
	}{
		"taken along":               {away: true, code: 143, asked: true, told: true},
		"killed with it":            {away: true, code: 137, asked: true, told: true},
		"crashed while it was away": {away: true, code: 2},
		"killed by somebody else":   {code: 137},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			waits := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Api-Version", "1.41")
				if !strings.HasSuffix(r.URL.Path, "/wait") {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if waits++; waits == 1 && c.away {
					http.Error(w, "the engine is going down", http.StatusServiceUnavailable)
					return
				}
				fmt.Fprintf(w, `{"StatusCode":%d}`, c.code)
			}))
			defer server.Close()
			api, err := client.New(client.WithHost("tcp://" + server.Listener.Addr().String()))
			if err != nil {
				t.Fatal(err)
			}
			defer api.Close()
			heard := &exits{}
			d := laidOut(1)
			d.cfg.Sink, d.cfg.Logf = heard, func(string, ...any) {}
			d.ended, d.end = context.WithCancel(t.Context())
			defer d.end()
			d.engine = &engine{DockerClient: &testcontainers.DockerClient{Client: api}}
			n := d.nodes[0]
			n.container = &testcontainers.DockerContainer{ID: "n1"}
			n.current = &life{boot: 7, ended: make(chan struct{})}
			d.await(n, n.current)
			if len(heard.exits) != 1 || heard.exits[0].Asked != c.asked {
				t.Errorf("told of %+v", heard.exits)
			}
			if told := len(d.troubles) == 1; told != c.told {
				t.Errorf("Close would say %v", d.troubles)
			}
		})
	}
}

// exits remembers the ends of nodes that it was told of.
type exits struct {
	deaf
	exits []*history.Exit
}

func (s *exits) Event(e history.Event) {
	if x, ok := e.Body.(*history.Exit); ok {
		s.exits = append(s.exits, x)
	}
}
