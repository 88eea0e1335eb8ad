package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"soak/chaos"
	"soak/chaos/knock"
	"soak/chaos/owner"
	"soak/chaos/process/proxy"
	"soak/history"
)

// sink remembers what the driver says of its nodes.
type sink struct {
	mu     sync.Mutex
	events []history.Event
}

func (s *sink) Event(e history.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *sink) Stats(history.NodeMetric) {}

// exits tells the exits that were observed, in words.
func (s *sink) exits() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var words []string
	for _, e := range s.events {
		if x, ok := e.Body.(*history.Exit); ok {
			words = append(words, fmt.Sprintf("n%d code %d signal %q asked %v", x.Of, x.Code, x.Signal, x.Asked))
		}
	}
	slices.Sort(words)
	return words
}

// logLines tells the lines of a kind that were observed.
func (s *sink) logLines(what string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, e := range s.events {
		if l, ok := e.Body.(*history.LogLine); ok && l.What == what {
			lines = append(lines, l.Line)
		}
	}
	return lines
}

// fixture is a cluster of fake nodes in a state directory of its own.
type fixture struct {
	*cluster
	sink *sink
	cfg  chaos.Config
	ctx  context.Context
}

func build(t *testing.T, id string, bugs ...string) fixture {
	t.Helper()
	s := &sink{}
	cfg := chaos.Config{
		RunID: id, Nodes: 3, Dir: t.TempDir(), Work: filepath.Join(t.TempDir(), "work"),
		ElectionInterval: time.Second, SessionTimeout: time.Second, Bugs: bugs, Seed: 7, Sink: s, Logf: t.Logf,
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(func() {
		if err := c.Close(ctx); err != nil {
			t.Errorf("closing: %v", err)
		}
		cancel()
	})
	return fixture{cluster: c.(*cluster), sink: s, cfg: cfg, ctx: ctx}
}

func start(t *testing.T, bugs ...string) fixture {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	f := build(t, "run-"+strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")), bugs...)
	if err := f.Start(f.ctx); err != nil {
		t.Fatal(err)
	}
	return f
}

// inject expects evidence of before and during.
func (f fixture) inject(t *testing.T, s chaos.Spec) []history.Evidence {
	t.Helper()
	e, err := f.Inject(f.ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	expectPhases(t, e, "before", "during")
	return e
}

// heal expects evidence of after, and none the second time.
func (f fixture) heal(t *testing.T, id int) {
	t.Helper()
	e, err := f.Heal(f.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	expectPhases(t, e, "after")
	if e, err := f.Heal(f.ctx, id); len(e) != 0 || err != nil {
		t.Errorf("healing again: %v, %v; want nothing", e, err)
	}
}

func expectPhases(t *testing.T, evidence []history.Evidence, want ...string) {
	t.Helper()
	var phases []string
	for _, e := range evidence {
		t.Logf("%s: %s", e.Phase, e.What)
		if e.Time == 0 {
			t.Errorf("no time: %+v", e)
		}
		if !slices.Contains(phases, e.Phase) {
			phases = append(phases, e.Phase)
		}
	}
	if !slices.Equal(phases, want) {
		t.Errorf("evidence of %q, want %q", phases, want)
	}
}

// answers reports whether a node answers a client within half a second.
func (f fixture) answers(id int32) bool {
	return knock.Answered(f.ctx, f.Addr(id)) == nil
}

func TestStartServesAndCloseLeavesNothing(t *testing.T) {
	f := start(t)
	for id := int32(1); id <= 3; id++ {
		if !f.answers(id) {
			t.Errorf("n%d does not answer", id)
		}
		host, _, err := net.SplitHostPort(f.Addr(id))
		if err != nil || host != "127.0.0.1" {
			t.Errorf("n%d is at %s, want loopback", id, f.Addr(id))
		}
	}
	if !owner.Alive(f.cfg.RunID) {
		t.Error("the run holds no lock")
	}
	_, processes, err := owner.Recorded(f.cfg.RunID)
	if err != nil || len(processes) != 3 {
		t.Errorf("recorded %v, %v; want three processes", processes, err)
	}
	for range 2 {
		if err := f.Close(f.ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range processes {
		if p.Running() {
			t.Errorf("process %d runs on", p.PID)
		}
	}
	if _, err := os.Stat(f.cfg.Work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the work folder: %v, want it gone", err)
	}
	if ids, _ := owner.Leftovers(); len(ids) != 0 || owner.Alive(f.cfg.RunID) {
		t.Errorf("leftovers %v, alive %v", ids, owner.Alive(f.cfg.RunID))
	}
	want := []string{`n1 code 0 signal "" asked true`, `n2 code 0 signal "" asked true`, `n3 code 0 signal "" asked true`}
	if got := f.sink.exits(); !slices.Equal(got, want) {
		t.Errorf("exits %q, want %q", got, want)
	}
	log, err := os.ReadFile(filepath.Join(f.cfg.Dir, "logs", "n1.log"))
	if err != nil || !strings.Contains(string(log), `"started"`) {
		t.Errorf("the log of n1: %q, %v", log, err)
	}
}

func TestKillAndStartAgainOnTheSameDataAndAddress(t *testing.T) {
	f := start(t)
	addr := f.Addr(2)
	e := f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Kill, Nodes: []int32{2}})
	if last := e[len(e)-1]; last.What != "n2 ended: signal: killed" {
		t.Errorf("evidence %q", last.What)
	}
	if f.answers(2) {
		t.Error("n2 answers after it was killed")
	}
	if _, err := f.Inject(f.ctx, chaos.Spec{ID: 2, Kind: chaos.Pause, Nodes: []int32{2}}); err == nil {
		t.Error("a node that is down was paused")
	}
	if e, err := f.Probe(f.ctx, 1); err != nil || len(e) != 1 || e[0].Phase != "during" {
		t.Errorf("probe: %v, %v", e, err)
	}
	f.heal(t, 1)
	if f.Addr(2) != addr || !f.answers(2) {
		t.Errorf("n2 at %s, was %s, answers %v", f.Addr(2), addr, f.answers(2))
	}
	// The log goes on in the same file; the first life's last, cut line does not swallow the second's first.
	if boot := f.node(2).collector.Boot(); boot != 2 {
		t.Errorf("boot %d, want 2", boot)
	}
	if got := f.sink.exits(); !slices.Equal(got, []string{`n2 code -1 signal "killed" asked true`}) {
		t.Errorf("exits %q", got)
	}
}

func TestRestartAll(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.RestartAll})
	for _, n := range f.nodes {
		if _, up := n.running(); up {
			t.Errorf("n%d runs", n.id)
		}
	}
	f.heal(t, 1)
	for id := int32(1); id <= 3; id++ {
		if boot := f.node(id).collector.Boot(); boot != 2 || !f.answers(id) {
			t.Errorf("n%d: boot %d, answers %v", id, boot, f.answers(id))
		}
	}
}

func TestPause(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Pause, Nodes: []int32{1}})
	if f.answers(1) || !f.answers(2) {
		t.Error("n1 answers while it is paused, or n2 does not")
	}
	if e, err := f.Probe(f.ctx, 1); err != nil || len(e) != 1 {
		t.Errorf("probe: %v, %v", e, err)
	}
	f.heal(t, 1)
	if !f.answers(1) {
		t.Error("n1 does not answer afterwards")
	}
	if got := f.sink.exits(); len(got) != 0 {
		t.Errorf("exits %q", got)
	}
}

// A fault that somebody else has ended is not taken for one in effect.
func TestAFaultThatEndedByItselfIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		spec chaos.Spec
		end  func(t *testing.T, f fixture)
	}{
		"pause": {chaos.Spec{ID: 1, Kind: chaos.Pause, Nodes: []int32{1}}, func(t *testing.T, f fixture) {
			p, _ := f.node(1).running()
			if err := resume(p.cmd.Process); err != nil {
				t.Fatal(err)
			}
		}},
		"kill": {chaos.Spec{ID: 1, Kind: chaos.Kill, Nodes: []int32{1}}, func(t *testing.T, f fixture) {
			if err := f.launch(f.ctx, f.node(1)); err != nil {
				t.Fatal(err)
			}
		}},
		"partition": {chaos.Spec{ID: 1, Kind: chaos.Partition, Nodes: []int32{1}}, func(_ *testing.T, f fixture) {
			f.links[pair{1, 2}].Resume(proxy.Both)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.inject(t, c.spec)
			if _, err := f.Probe(f.ctx, 1); err != nil {
				t.Fatalf("while it lasts: %v", err)
			}
			c.end(t, f)
			for {
				_, err := f.Probe(f.ctx, 1)
				if errors.Is(err, chaos.ErrLapsed) {
					break
				}
				if err := sleep(f.ctx, lookEvery); err != nil {
					t.Fatalf("nobody saw it: %v", err)
				}
			}
			f.heal(t, 1)
		})
	}
}

func TestAPausedNodeCanBeKilled(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Pause, Nodes: []int32{1}})
	f.inject(t, chaos.Spec{ID: 2, Kind: chaos.Kill, Nodes: []int32{1}})
	if e, err := f.Probe(f.ctx, 1); err != nil || len(e) != 1 {
		t.Errorf("probing the pause: %v, %v; want that the node is down", e, err)
	}
	if err := f.HealAll(f.ctx); err != nil {
		t.Fatal(err)
	}
	if !f.answers(1) {
		t.Error("n1 does not answer after HealAll")
	}
}

func TestPartition(t *testing.T) {
	f := start(t)
	e := f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Partition, Nodes: []int32{1}})
	for _, link := range []string{"n1→n2", "n2→n1", "n1→n3", "n3→n1"} {
		if !slices.ContainsFunc(e, func(e history.Evidence) bool {
			return e.Phase == "during" && strings.HasPrefix(e.What, link) && e.Count > 0
		}) {
			t.Errorf("no evidence that %s is cut", link)
		}
	}
	// Clients still reach it, and the others each other.
	if !f.answers(1) || !f.answers(2) {
		t.Error("a client is cut off")
	}
	open := f.links[pair{2, 3}]
	was, cut := open.Counters().Forwarded(proxy.Both), f.links[pair{1, 2}].Counters().Forwarded(proxy.Both)
	for deadline := time.Now().Add(5 * time.Second); open.Counters().Forwarded(proxy.Both) == was; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("n2→n3 is cut too")
		}
	}
	if now := f.links[pair{1, 2}].Counters().Forwarded(proxy.Both); now != cut {
		t.Errorf("%d bytes passed n1→n2", now-cut)
	}
	if e, err := f.Probe(f.ctx, 1); err != nil || len(e) != 4 {
		t.Errorf("probe: %v, %v; want four links", e, err)
	}
	f.heal(t, 1)
}

func TestPartitionFromClientsToo(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Partition, Nodes: []int32{1}, Clients: true})
	if f.answers(1) || !f.answers(2) {
		t.Error("n1 answers clients, or n2 does not")
	}
	f.heal(t, 1)
	if !f.answers(1) {
		t.Error("n1 does not answer afterwards")
	}
}

func TestPartitionsThatShareALink(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Partition, Nodes: []int32{1}})
	f.inject(t, chaos.Spec{ID: 2, Kind: chaos.Partition, Nodes: []int32{2}})
	f.heal(t, 1)
	shared := f.links[pair{1, 2}]
	was := shared.Counters()
	for deadline := time.Now().Add(5 * time.Second); shared.Counters().Held(proxy.Both) == was.Held(proxy.Both); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing more is held on n1→n2")
		}
	}
	if shared.Counters().Forwarded(proxy.Both) != was.Forwarded(proxy.Both) {
		t.Error("healing one partition opened a link of the other")
	}
	f.heal(t, 2)
}

func TestAKillInsideAPartitionComesBackInsideIt(t *testing.T) {
	f := start(t)
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Partition, Nodes: []int32{1}})
	f.inject(t, chaos.Spec{ID: 2, Kind: chaos.Kill, Nodes: []int32{1}})
	f.heal(t, 2)
	if e, err := f.Probe(f.ctx, 1); err != nil || len(e) != 4 {
		t.Errorf("probe: %v, %v; want four links still cut", e, err)
	}
	f.heal(t, 1)
}

func TestFaultsThatAreNone(t *testing.T) {
	f := start(t)
	for name, s := range map[string]chaos.Spec{
		"unknown kind": {ID: 10, Kind: "meteor", Nodes: []int32{1}},
		"other driver": {ID: 11, Kind: chaos.Loss, Nodes: []int32{1}},
		"no target":    {ID: 12, Kind: chaos.Kill},
		"unknown node": {ID: 13, Kind: chaos.Kill, Nodes: []int32{4}},
		"no other side": {ID: 14, Kind: chaos.Partition,
			Nodes: []int32{1, 2, 3}},
	} {
		if e, err := f.Inject(f.ctx, s); err == nil || len(e) != 0 {
			t.Errorf("%s: evidence %v, no error", name, e)
		}
	}
	if _, err := f.Heal(f.ctx, 99); err == nil {
		t.Error("an unknown fault was healed")
	}
	for id := int32(1); id <= 3; id++ {
		if !f.answers(id) {
			t.Errorf("n%d does not answer", id)
		}
	}
}

func TestAnExitThatNobodyAskedFor(t *testing.T) {
	f := start(t)
	p, _ := f.node(3).running()
	if _, err := p.ident.Kill(f.ctx); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if got := f.sink.exits(); !slices.Equal(got, []string{`n3 code -1 signal "killed" asked false`}) {
		t.Errorf("exits %q", got)
	}
	if tail := f.sink.logLines("tail"); len(tail) != 1 || !strings.Contains(tail[0], "cut by the next k") {
		t.Errorf("tail %q", tail)
	}
}

func TestStartFails(t *testing.T) {
	for bug, want := range map[string]struct{ text, exits, panics string }{
		"usage": {text: "error: unknown bug", exits: "[]", panics: "[]"}, // the harness's fault: no exit of a broker
		"panic": {text: "panic: as asked", exits: `["n2 code 2 signal \"\" asked false"]`, panics: `["panic: as asked"]`},
	} {
		t.Run(bug, func(t *testing.T) {
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			f := build(t, "fails", bug)
			err := f.Start(f.ctx)
			if err == nil || !strings.Contains(err.Error(), "starting n2") || !strings.Contains(err.Error(), want.text) {
				t.Errorf("got %v", err)
			}
			if got := strings.ReplaceAll(fmt.Sprintf("%q", f.sink.exits()), `\\`, `\`); got != want.exits {
				t.Errorf("exits %s, want %s", got, want.exits)
			}
			if err := f.Close(f.ctx); err != nil {
				t.Error(err)
			}
			if got := fmt.Sprintf("%q", f.sink.logLines("panic")); got != want.panics {
				t.Errorf("panics %s, want %s", got, want.panics)
			}
			if _, err := os.Stat(f.cfg.Work); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the work folder: %v, want it gone", err)
			}
		})
	}
}

func TestAPortThatIsTakenIsChosenAnew(t *testing.T) {
	f := start(t, "port")
	if !f.answers(2) {
		t.Error("n2 does not answer")
	}
	if got := f.sink.exits(); len(got) != 0 {
		t.Errorf("exits %q, want none: a taken port is no crash", got)
	}
	f.inject(t, chaos.Spec{ID: 1, Kind: chaos.Partition, Nodes: []int32{2}}) // the links lead to the new port
	f.heal(t, 1)
}

func TestCloseLeavesAnotherFolderAlone(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	f := build(t, "shared")
	if err := os.MkdirAll(f.cfg.Work, 0o755); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(f.cfg.Work, "mine")
	if err := os.WriteFile(mine, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(f.ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(f.ctx); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(f.cfg.Work)
	if err != nil || len(entries) != 1 || entries[0].Name() != "mine" {
		t.Errorf("left in the work folder: %v, %v; want mine", entries, err)
	}
}

// runner is a run in a process of its own, paused in the middle of faults until it is killed.
func runner() {
	dir := os.Getenv("PROCESS_TEST_DIR")
	c, err := New(chaos.Config{
		RunID: "killed", Nodes: 3, Dir: dir, Work: filepath.Join(dir, "work"), Sink: &sink{},
		Logf: func(string, ...any) {},
	})
	ctx := context.Background()
	if err == nil {
		err = c.Start(ctx)
	}
	if err == nil {
		_, err = c.Inject(ctx, chaos.Spec{ID: 1, Kind: chaos.Partition, Nodes: []int32{2}})
	}
	if err == nil {
		_, err = c.Inject(ctx, chaos.Spec{ID: 2, Kind: chaos.Pause, Nodes: []int32{1}})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

func TestARunnerThatIsKilledLeavesOnlyWhatCleanRemoves(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	bystander := build(t, "bystander")
	if err := bystander.Start(bystander.ctx); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := exec.Command(exe)
	run.Env = append(os.Environ(), "PROCESS_TEST_AS=runner", "PROCESS_TEST_DIR="+dir)
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer run.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the runner said %q, %v", line, err)
	}
	_, processes, err := owner.Recorded("killed")
	if err != nil || len(processes) != 3 {
		t.Fatalf("recorded %v, %v", processes, err)
	}
	if removed, err := Clean(bystander.ctx, t.Logf); len(removed) != 0 || err != nil {
		t.Fatalf("removed %q, %v while both runs live", removed, err)
	}
	run.Process.Kill()
	run.Wait()

	if _, err := Clean(bystander.ctx, t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if p.Running() {
			t.Errorf("process %d runs on", p.PID)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "work")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the work folder: %v, want it gone", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "logs", "n1.log")); err != nil {
		t.Errorf("the log was removed too: %v", err)
	}
	if ids, _ := owner.Leftovers(); len(ids) != 0 {
		t.Errorf("leftovers %v", ids)
	}
	for id := int32(1); id <= 3; id++ {
		if !bystander.answers(id) {
			t.Errorf("n%d of the other run does not answer", id)
		}
	}
}

func TestCleanLeavesAFolderThatIsNotMarked(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	r, err := owner.NewRecord("old")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := r.AddFolder(dir); err != nil {
		t.Fatal(err)
	}
	if removed, err := Clean(t.Context(), nil); len(removed) != 0 || err != nil {
		t.Errorf("removed %q, %v", removed, err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a folder without our mark: %v", err)
	}
}
