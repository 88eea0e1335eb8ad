package broker

import (
	"context"
	"testing"
)

// waitSnapshot returns the first event of a snapshot that was taken, restored or installed, nil once the node has ended without one.
func (o *output) waitSnapshot(what string) map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for _, l := range o.lines {
			if l["event"] == "snapshot" && l["what"] == what {
				return l
			}
		}
		if o.ended {
			return nil
		}
		o.some.Wait()
	}
}

// On a real disk: a node that has taken a snapshot starts from it.
func TestANodeStartsFromItsSnapshot(t *testing.T) {
	o := options(t, nil)
	o.SnapshotEntries = 1
	var taken map[string]any
	for _, what := range []string{"taken", "restored"} {
		out := newOutput()
		o.Stdout = out
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() {
			err := Run(ctx, o)
			out.end()
			result <- err
		}()
		event := out.waitSnapshot(what)
		cancel()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if event == nil {
			t.Fatalf("no snapshot was %s", what)
		}
		if what == "taken" {
			taken = event
		} else if event["index"].(float64) < taken["index"].(float64) || event["term"].(float64) < 1 {
			t.Errorf("restored %v, taken before was %v", event, taken)
		}
	}
}
