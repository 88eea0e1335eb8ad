package cli

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/broker"
	"soak/broker/bugs"
)

// asBroker makes the test binary a broker: what is tested is a process.
const asBroker = "SOAK_TEST_AS_BROKER"

func TestMain(m *testing.M) {
	if os.Getenv(asBroker) != "" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func noEnv(string) (string, bool) { return "", false }

func required(more ...string) []string {
	return append([]string{"--id", "1", "--data", "d", "--advertise", "h:9092"}, more...)
}

func TestFlags(t *testing.T) {
	o, owner, err := parse(required("--listen", ":1", "--peers", "1=a:1,2=b:2", "--peers=3=c:3", "--peer-listen", ":7",
		"--election-interval", "2s", "--session-timeout", "1s", "--replica-lag", "1500ms", "--initial-leader", "balanced",
		"--bug", "elector-gate-has-leader", "--bug=forward-hides-error", "--seed", "9", "--admin-listen", "", "--flush=none"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if owner != nil {
		t.Error("an owner that was not named")
	}
	o.Version = ""
	want := broker.Options{
		ID: 1, Data: "d", Listen: ":1", Advertise: "h:9092", Peers: map[int32]string{1: "a:1", 2: "b:2", 3: "c:3"}, PeerListen: ":7",
		ElectionInterval: 2 * time.Second, SessionTimeout: time.Second, ReplicaLag: 1500 * time.Millisecond,
		InitialLeader: "balanced", Flush: "none", Bugs: bugs.Set(0).With(bugs.ElectorGateHasLeader).With(bugs.ForwardHidesError), Seed: 9,
		MaxConnections: 1000, MaxRequestBytes: 8 << 20, MaxInFlightBytes: 128 << 20,
	}
	if d := cmp.Diff(want, o); d != "" {
		t.Error(d)
	}
}

func TestEnvironmentStandsForFlags(t *testing.T) {
	env := map[string]string{
		"SOAK_BROKER_ID": "3", "SOAK_BROKER_PEERS": "1=a:1,3=c:3", "SOAK_BROKER_ELECTION_INTERVAL": "5s",
		"SOAK_BROKER_BUG": "startup-gate-has-leader", "SOAK_BROKER_SEED": "11",
	}
	o, _, err := parse([]string{"--data", "d", "--election-interval", "2s"}, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if o.ID != 3 || len(o.Peers) != 2 || !o.Bugs.Has(bugs.StartupGateHasLeader) || o.Seed != 11 {
		t.Errorf("got %+v", o)
	}
	if o.ElectionInterval != 2*time.Second {
		t.Errorf("interval %v: the command line must win", o.ElectionInterval)
	}
}

func TestSeedsDifferWhenNotGiven(t *testing.T) {
	seeds := map[uint64]bool{}
	for range 4 {
		o, _, err := parse(required(), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		seeds[o.Seed] = true
	}
	if len(seeds) != 4 {
		t.Errorf("%d different seeds of 4", len(seeds))
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--no-such-flag"}, "no-such-flag"},
		{required("extra"), `unexpected argument "extra"`},
		{required("--id", "one"), "one"},
		{required("--peers", "1"), `peer "1": no address`},
		{required("--peers", "one=a:1"), `"one" is not a node id`},
		{required("--peers", "1=a:1,1=b:1"), "peer 1 is named twice"},
		{required("--bug", "nonesuch"), `unknown bug "nonesuch"`},
		{required("--flush", "never"), "--flush=never"},
		{required("--owner-fd", "987"), "descriptor 987"},
	} {
		_, _, err := parse(c.args, noEnv)
		var ce *broker.ConfigError
		if !errors.As(err, &ce) || ce.Hint == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want a configuration error with %q", c.args, err, c.want)
		}
	}
	_, _, err := parse(nil, func(k string) (string, bool) { return "x", k == "SOAK_BROKER_ID" })
	if err == nil || !strings.Contains(err.Error(), "SOAK_BROKER_ID") {
		t.Errorf("a bad variable: %v", err)
	}
}

func TestMainReportsErrorsWithHints(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"--data", "d", "--id", "0"}, &stdout, &stderr); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if got := stderr.String(); !strings.HasPrefix(got, "error: node id 0") || !strings.Contains(got, "\nhint: give --id") || stdout.Len() > 0 {
		t.Errorf("stderr %q, stdout %q", got, stdout.String())
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Main([]string{"--help"}, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
	for _, want := range []string{"--peers", "--owner-fd", "SOAK_BROKER_PEER_LISTEN"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %s", want)
		}
	}
}

// process is a broker in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *bufio.Scanner
	stderr bytes.Buffer
}

func start(t *testing.T, data string, files []*os.File, more ...string) *process {
	t.Helper()
	args := append([]string{"--id", "1", "--data", data, "--listen", "127.0.0.1:0", "--advertise", "127.0.0.1:9092", "--admin-listen", ""}, more...)
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asBroker+"=1")
	p.cmd.ExtraFiles = files
	p.cmd.Stderr = &p.stderr
	r, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Long before this the test has failed: it only keeps a broken broker from staying.
	guard := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
	t.Cleanup(func() {
		guard.Stop()
		p.cmd.Process.Kill()
	})
	p.out = bufio.NewScanner(r)
	return p
}

// line reads standard output up to a line with the text.
func (p *process) line(text string) bool {
	for p.out.Scan() {
		if strings.Contains(p.out.Text(), text) {
			return true
		}
	}
	return false
}

// exit reads the rest of the output and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	for p.out.Scan() {
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func TestANodeEndsWithItsOwner(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, t.TempDir(), []*os.File{r}, "--owner-fd", "3")
	r.Close()
	if !p.line(`"event":"started"`) {
		t.Fatalf("it did not start: %s", p.stderr.String())
	}
	w.Close() // as the kernel does when the owner dies
	if !p.line(`"msg":"broker stopped"`) {
		t.Error("it did not stop in order")
	}
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
}

func TestSigtermStopsInOrder(t *testing.T) {
	data := t.TempDir()
	p := start(t, data, nil)
	if !p.line(`"event":"started"`) {
		t.Fatalf("it did not start: %s", p.stderr.String())
	}

	// The directory is this node's alone.
	second := start(t, data, nil)
	if code := second.exit(); code != exitUsage || !strings.Contains(second.stderr.String(), "\nhint: ") {
		t.Errorf("a second broker on the same directory: exit code %d, %s", code, second.stderr.String())
	}

	for range 2 { // to the process, and to its group: one wish
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if !p.line(`"msg":"broker stopped"`) {
		t.Error("it did not stop in order")
	}
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
}

func TestAFileInPlaceOfTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, file, nil)
	if code := p.exit(); code != exitUsage || !strings.HasPrefix(p.stderr.String(), "error: ") {
		t.Errorf("exit code %d, %s", code, p.stderr.String())
	}
}
