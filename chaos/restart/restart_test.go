package restart

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"soak/history"
)

// fake is a node that takes a second to end, a second to start and a second more to answer.
type fake struct {
	name  string
	say   func(string)
	fails error // of its start

	mu   sync.Mutex
	boot uint64
	up   time.Time
}

func (f *fake) Name() string { return f.name }
func (f *fake) Boot() uint64 { f.mu.Lock(); defer f.mu.Unlock(); return f.boot }

func (f *fake) Stop(ctx context.Context) (string, error) { return f.end(ctx, "stop", "exit code 0") }
func (f *fake) Kill(ctx context.Context) (string, error) { return f.end(ctx, "kill", "signal: killed") }

func (f *fake) end(ctx context.Context, what, how string) (string, error) {
	f.say(what + " " + f.name)
	return how, sleep(ctx, time.Second, nil)
}

func (f *fake) Start(ctx context.Context) error {
	f.say("start " + f.name)
	if err := sleep(ctx, time.Second, nil); err != nil || f.fails != nil {
		return errors.Join(err, f.fails)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boot, f.up = f.boot+1, time.Now().Add(time.Second)
	return nil
}

func (f *fake) Answers(context.Context) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !time.Now().Before(f.up)
}

// three nodes and what was done to them, with the second at which.
func three() (nodes []Node, diary func() string) {
	var mu sync.Mutex
	var lines []string
	begin := time.Now()
	for i := range 3 {
		nodes = append(nodes, &fake{name: fmt.Sprintf("n%d", i+1), boot: 1, say: func(what string) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, fmt.Sprintf("%d %s", int(time.Since(begin).Seconds()), what))
		}})
	}
	return nodes, func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(lines, ", ") }
}

func words(evidence []history.Evidence) (all []string) {
	for _, e := range evidence {
		all = append(all, e.Phase+": "+e.What)
	}
	return all
}

func TestARollingRestartTakesOneNodeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, diary := three()
		c := Roll(nodes, 10*time.Second)
		first, err := c.Began(t.Context())
		if got := words(first); err != nil || !slices.Equal(got, []string{"during: n1 ended: exit code 0"}) {
			t.Fatalf("%q, %v", got, err)
		}
		time.Sleep(5 * time.Second)
		got, err := c.Look()
		if want := []string{"during: n1 has started again: boot 2, was 1", "during: n1 answers clients again"}; err != nil || !slices.Equal(words(got), want) {
			t.Errorf("%q, %v", words(got), err)
		}
		time.Sleep(6 * time.Second) // n2 is under way, and n3 has another while to go
		got, err = c.Finish(t.Context())
		if err != nil || words(got)[len(got)-1] != "after: n1, n2, n3: ended 3 times, started again 3 times in all" {
			t.Errorf("%q, %v", words(got), err)
		}
		if want := "0 stop n1, 1 start n1, 10 stop n2, 11 start n2, 13 stop n3, 14 start n3"; diary() != want {
			t.Errorf("got  %s\nwant %s", diary(), want)
		}
	})
}

func TestACrashLoopKillsAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, diary := three()
		c := Crash(nodes[:1], 5*time.Second)
		if _, err := c.Began(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // it is 11, in the middle of the third restart
		got, err := c.Finish(t.Context())
		if err != nil || words(got)[len(got)-1] != "after: n1: ended 3 times, started again 3 times in all" {
			t.Errorf("%q, %v", words(got), err)
		}
		if want := "0 kill n1, 1 start n1, 5 kill n1, 6 start n1, 10 kill n1, 11 start n1"; diary() != want {
			t.Errorf("got  %s\nwant %s", diary(), want)
		}
	})
}

func TestANodeThatDoesNotComeBackEndsTheCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, diary := three()
		nodes[0].(*fake).fails = errors.New("no such file")
		c := Roll(nodes, time.Second)
		if _, err := c.Began(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := c.Look(); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("look: %v", err)
		}
		if e, err := c.Finish(t.Context()); err == nil || len(e) != 0 {
			t.Errorf("finish: %v, %v", e, err)
		}
		if strings.Contains(diary(), "n2") {
			t.Errorf("it went on: %s", diary())
		}
	})
}

func TestAnAbandonedCycleTouchesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, diary := three()
		c := Roll(nodes, time.Second)
		if _, err := c.Began(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := c.Finish(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("finish: %v", err)
		}
		was := diary()
		time.Sleep(time.Minute)
		if diary() != was {
			t.Errorf("it went on: %s", diary())
		}
	})
}
