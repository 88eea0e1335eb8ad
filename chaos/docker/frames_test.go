package docker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/chaos"
	"soak/chaos/docker/sidecar"
)

// frame packs content as the engine does.
func frame(stream byte, content string) []byte {
	b := []byte{stream, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	return append(b, content...)
}

// decode reads all lines of a log stream, with what is left unfinished in brackets.
func decode(log []byte) (lines []string, err error) {
	f := frames{bufio.NewReader(bytes.NewReader(log))}
	var l logLines
	for {
		stream, content, err := f.next(nil)
		if errors.Is(err, io.EOF) {
			for _, r := range l.rest() {
				lines = append(lines, "["+string(r)+"]")
			}
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		line, at, whole, err := l.add(stream, content)
		if err != nil {
			return lines, err
		}
		if whole {
			lines = append(lines, fmt.Sprintf("%d %s", at.Second(), line))
		}
	}
}

func TestLogLinesArePutTogether(t *testing.T) {
	at := func(second int) string {
		return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC).Format("2006-01-02T15:04:05.000000000Z07:00") + " "
	}
	var log []byte
	for _, f := range [][]byte{
		frame(stdout, at(1)+"one\n"),
		frame(stdout, at(2)+"the beginning of "), // 16 KiB and more come in pieces
		frame(stderr, at(3)+"panic: x\n"),        // of another stream in between
		frame(stdout, at(4)+"two\n"),
		frame(stdout, at(5)+"\n"),
		frame(stdout, at(6)+"cut by a kill"),
	} {
		log = append(log, f...)
	}
	got, err := decode(log)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1 one", "3 panic: x", "2 the beginning of two", "5 ", "[cut by a kill]"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDamagedStreamsAreErrors(t *testing.T) {
	for name, log := range map[string][]byte{
		"no such stream":   frame(9, "x"),
		"engine's error":   frame(3, "the log driver is gone"),
		"endless frame":    {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		"cut in a frame":   frame(1, "2026-01-01T00:00:00Z hello\n")[:12],
		"no time":          frame(1, "hello\n"),
		"nothing but time": frame(1, "2026-01-01T00:00:00Z"),
	} {
		if lines, err := decode(log); err == nil {
			t.Errorf("%s: %q and no error", name, lines)
		}
	}
}

func FuzzLogStream(f *testing.F) {
	f.Add(frame(stdout, "2026-01-01T00:00:00.5Z hello\n"))
	f.Add(frame(3, "an error"))
	f.Add([]byte{1, 0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, log []byte) {
		lines, _ := decode(log)
		if total := len(strings.Join(lines, "")); total > len(log)+8*len(lines) {
			t.Errorf("%d bytes of lines out of %d", total, len(log))
		}
	})
}

// The last report is no evidence of now: of a sidecar that is gone, of one whose lease ended, or of one that is silent.
func TestACutThatIsNotSeenIsNoEvidence(t *testing.T) {
	dropping := sidecar.Report{State: sidecar.Dropping, Packets: map[string]int64{"in n2": 7}}
	for name, c := range map[string]struct {
		cut    *cut
		lapsed bool
	}{
		"gone":      {&cut{last: dropping, lastErr: errors.New("the sidecar of n1 ended")}, true},
		"lease":     {&cut{last: sidecar.Report{State: sidecar.Removed}}, true},
		"let pass":  {&cut{last: sidecar.Report{State: sidecar.Passing}}, true},
		"is silent": {&cut{last: dropping, heard: time.Now()}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.cut.node = &node{id: 1}
			cl := laidOut(3)
			cl.faults[1] = &fault{cuts: []*cut{c.cut}}
			ctx, cancel := context.WithTimeout(t.Context(), 3*sidecar.ReportEvery)
			defer cancel()
			e, err := cl.Probe(ctx, 1)
			if err == nil || len(e) != 0 || errors.Is(err, chaos.ErrLapsed) != c.lapsed {
				t.Errorf("%v, %v; want no evidence, lapsed %t", e, err, c.lapsed)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // it goes on
		k := &cut{node: &node{id: 1}, last: dropping}
		go func() {
			time.Sleep(2 * sidecar.ReportEvery) // of the bubble
			k.mu.Lock()
			defer k.mu.Unlock()
			k.heard = time.Now()
		}()
		if e, err := k.holds(t.Context()); err != nil || len(e) != 1 {
			t.Errorf("%v, %v; want the report's count", e, err)
		}
	})
}

func TestACutHearsItsSidecar(t *testing.T) {
	k := newCut(&node{id: 1}, nil, chaosPartition)
	said := append(frame(stdout, `{"state":"passing","packets":{"in n2":1}}`+"\n"+`{"state":"drop`), frame(stdout, `ping","packets":{"in n2":7,"out n2":0}}`+"\n")...)
	err := k.hear(frames{bufio.NewReader(bytes.NewReader(append(said, frame(stderr, "error: sidecar: oh\n")...)))})
	if err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("its end: %v, want its complaint", err)
	}
	if got := k.report(); got.State != sidecar.Dropping || got.Packets["in n2"] != 7 {
		t.Errorf("last report %+v", got)
	}
	evidence := k.evidence("during")
	if len(evidence) != 1 || evidence[0].What != "7 packets dropped n2→n1" || evidence[0].Count != 7 {
		t.Errorf("evidence %+v", evidence)
	}
	if err := k.hear(frames{bufio.NewReader(bytes.NewReader(frame(stdout, "no JSON\n")))}); err == nil {
		t.Error("a report that is none was taken")
	}
}
