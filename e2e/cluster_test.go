package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// byHand runs `soak cluster` commands with a state directory of their own. Its path is short: the owner's socket lies in it.
type byHand struct {
	t     *testing.T
	env   []string
	state string
}

func newByHand(t *testing.T) *byHand {
	t.Helper()
	state, err := os.MkdirTemp("", "soak")
	if err != nil {
		t.Fatal(err)
	}
	b := &byHand{t: t, state: state, env: append(os.Environ(), "XDG_STATE_HOME="+state)}
	t.Cleanup(func() {
		for _, args := range [][]string{{"cluster", "down"}, {"clean"}} { // of a test that has failed
			cmd := exec.Command(binary, args...)
			cmd.Env = b.env
			_ = cmd.Run()
		}
		os.RemoveAll(state)
	})
	return b
}

// try gives the standard output of a command, and what is wrong with it.
func (b *byHand) try(args ...string) ([]byte, string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = b.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), err.Error() + "\n" + stderr.String()
	}
	return stdout.Bytes(), ""
}

func (b *byHand) soak(args ...string) []byte {
	b.t.Helper()
	out, problem := b.try(args...)
	if problem != "" {
		b.t.Fatalf("soak %s: %s", strings.Join(args, " "), problem)
	}
	return out
}

type handInfo struct {
	ID        string
	PID       int
	Home      string
	Bootstrap []string
}

func (b *byHand) up(driver string) (i handInfo) {
	b.t.Helper()
	if err := json.Unmarshal(b.soak("cluster", "up", "-d", "--json", "--driver", driver, "--election-interval", "500ms"), &i); err != nil {
		b.t.Fatal(err)
	}
	if len(i.Bootstrap) != 3 || i.PID == 0 {
		b.t.Fatalf("up says %+v", i)
	}
	return i
}

type handStatus struct {
	Leader int32
	State  []struct {
		Node    int32
		State   string
		Answers bool
	}
	Partitions []struct {
		Topic  string
		Leader int32
		ISR    []int32
	}
	Faults []struct {
		ID       int
		Kind     string
		Nodes    []int32
		State    string
		Evidence []struct{ Phase string }
	}
}

func (b *byHand) status() (s handStatus) {
	b.t.Helper()
	if err := json.Unmarshal(b.soak("cluster", "status", "--json"), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// nothingOf waits until nothing of a cluster is there: nodes, folders, records.
func (b *byHand) nothingOf(i handInfo, driver string) {
	b.t.Helper()
	eventually(b.t, 20*time.Second, "the nodes to be gone", func() bool { return !leftover(b.t, driver, &background{id: i.ID[:8]}) })
	var left []string
	for _, pattern := range []string{
		i.Home, filepath.Join(os.TempDir(), "soak-"+i.ID[:8]),
		filepath.Join(b.state, "soak", "*", i.ID+"*"),
	} {
		found, _ := filepath.Glob(pattern)
		left = append(left, found...)
	}
	if left != nil {
		b.t.Fatalf("left behind: %v", left)
	}
}

// A cluster by hand is produced to, has its raft leader killed, shows it, heals, and leaves nothing when it is down.
func TestAClusterByHand(t *testing.T) {
	eachDriver(t, func(t *testing.T, driver string) {
		b := newByHand(t)
		i := b.up(driver)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cl, err := kgo.NewClient(kgo.SeedBrokers(i.Bootstrap...), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"),
			kgo.MetadataMinAge(50*time.Millisecond), kgo.DialTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		produce := func() {
			t.Helper()
			if err := cl.ProduceSync(ctx, kgo.StringRecord("by hand")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		produce()
		eventually(t, 20*time.Second, "the raft leader to be known", func() bool { return b.status().Leader != 0 })
		before := b.status()
		if before.Leader == 0 || len(before.Faults) != 0 || len(before.State) != 3 {
			t.Fatalf("the status at the beginning is %+v", before)
		}

		b.soak("cluster", "fault", "kill", "raft-leader")
		s := b.status()
		if len(s.Faults) != 1 || s.Faults[0].Kind != "kill" || s.Faults[0].Nodes[0] != before.Leader || s.Faults[0].State != "active" || len(s.Faults[0].Evidence) < 2 {
			t.Fatalf("with its raft leader n%d killed the status is %+v", before.Leader, s)
		}
		if n := s.State[before.Leader-1]; n.State != "down" || n.Answers {
			t.Fatalf("the killed node is %+v", n)
		}
		if _, problem := b.try("cluster", "fault", "pause", "n"+string('0'+before.Leader)); !strings.Contains(problem, "exit status 2") {
			t.Fatalf("a dead node could be paused: %s", problem)
		}
		eventually(t, 20*time.Second, "another raft leader", func() bool { l := b.status().Leader; return l != 0 && l != before.Leader })
		produce()

		b.soak("cluster", "heal")
		eventually(t, 20*time.Second, "all nodes to answer, and to be in sync", func() bool {
			s := b.status()
			whole := len(s.Faults) == 0 && len(s.Partitions) > 0
			for _, n := range s.State {
				whole = whole && n.State == "up" && n.Answers
			}
			for _, p := range s.Partitions {
				whole = whole && p.Leader > 0 && len(p.ISR) == 3
			}
			return whole
		})

		// A fault with a length heals by itself; one without stays, and the end of the cluster ends it.
		b.soak("cluster", "fault", "power-loss", "follower", "--for", "1s")
		eventually(t, 20*time.Second, "the power to be back", func() bool { return len(b.status().Faults) == 0 })
		b.soak("cluster", "fault", "pause", "n3")
		b.soak("cluster", "down", i.ID[:4])
		b.nothingOf(i, driver)
	})
}

// An owner that is killed takes its nodes with it, and soak clean removes the rest; until then nobody touches it.
func TestAKilledOwnerLeavesNothingBehind(t *testing.T) {
	b := newByHand(t)
	victim, other := b.up("process"), b.up("process")
	if _, problem := b.try("cluster", "status"); !strings.Contains(problem, victim.ID) || !strings.Contains(problem, other.ID) {
		t.Fatalf("with two clusters up, a status without an id says %s", problem)
	}
	b.soak("cluster", "fault", "pause", "n2", "--cluster", victim.ID)
	if out := b.soak("clean"); bytes.Contains(out, []byte(victim.ID)) {
		t.Fatalf("soak clean touched a living cluster:\n%s", out)
	}
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the nodes to end with their owner", func() bool { return !leftover(t, "process", &background{id: victim.ID[:8]}) })
	if out := b.soak("clean"); !bytes.Contains(out, []byte(victim.ID)) || bytes.Contains(out, []byte(other.ID)) {
		t.Fatalf("soak clean says:\n%s", out)
	}
	b.nothingOf(victim, "process")
	b.soak("cluster", "down") // the one that is up
	b.nothingOf(other, "process")
}
