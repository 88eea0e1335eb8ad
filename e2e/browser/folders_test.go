package browser

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"soak/history"
	"soak/results"
)

// The reports of these tests are of the reference run, a real one, and of what its folder would hold had the cluster done wrong.

var (
	drawnOnce sync.Once
	drawnIn   string
	drawnErr  error
)

const hostile = `<script>window.hacked=1</script><img src=x onerror=window.hacked=1>`

// report gives the file of a report: sound, violated or hostile.
func report(t *testing.T, name string) string {
	t.Helper()
	drawnOnce.Do(func() {
		if drawnIn, drawnErr = os.MkdirTemp("", "soak-browser-"); drawnErr != nil {
			return
		}
		for name, change := range map[string]func(*history.Operation) *history.Operation{
			"sound": nil, "violated": wrong(), "hostile": renamed,
		} {
			if drawnErr = drawn(filepath.Join(drawnIn, name), change); drawnErr != nil {
				return
			}
		}
	})
	if drawnErr != nil {
		t.Fatal(drawnErr)
	}
	return filepath.Join(drawnIn, name, results.ReportFile)
}

func drawn(dir string, change func(*history.Operation) *history.Operation) error {
	if err := os.CopyFS(dir, os.DirFS("../../results/reference")); err != nil {
		return err
	}
	if change != nil {
		path := filepath.Join(dir, history.HistoryFile)
		lines, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		for line := range bytes.Lines(lines) {
			op, err := history.ParseOperation(line)
			if err != nil {
				return err
			}
			for _, op := range []*history.Operation{op, change(op)} {
				if op == nil {
					continue
				}
				b, err := json.Marshal(op)
				if err != nil {
					return err
				}
				out.Write(append(b, '\n'))
			}
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	f, err := results.Open(".", dir)
	if err != nil {
		return err
	}
	j, err := results.Judge(f)
	if err != nil {
		return err
	}
	return j.Beside
}

// wrong makes two things of a sound history that must not be: an answer that no order explains, and acknowledged records that are nowhere.
func wrong() func(*history.Operation) *history.Operation {
	reads, lost := 0, 0
	return func(op *history.Operation) *history.Operation {
		if m := op.Meta; m != nil && m.Owner == "metadata" && m.Kind == history.MetaRead && m.Code == 0 && m.Value != "" && op.Outcome == history.OK {
			if reads++; reads == 6 {
				m.Value = "77777"
			}
		}
		p := op.Produce
		if p == nil || p.Topic != "orders" || p.Partition != 0 || op.Outcome != history.OK {
			return nil
		}
		if lost++; lost%20 != 10 {
			return nil
		}
		more, send := *op, *p
		more.ID = "x" + op.ID
		send.FirstSeq += 100_000
		send.Offsets = nil
		for i := range p.Offsets {
			send.Offsets = append(send.Offsets, 5000+int64(lost)+int64(i))
		}
		more.Produce = &send
		return &more
	}
}

// renamed gives hostile names to what clients asked.
func renamed(op *history.Operation) *history.Operation {
	op.Client += hostile
	switch {
	case op.Meta != nil:
		op.Meta.Name += hostile
		op.Meta.Value += hostile
	case op.Produce != nil && op.Error != "":
		op.Error = hostile
	case op.Produce != nil && op.Produce.Partition == 0:
		op.Produce.Topic += hostile
	}
	return nil
}
