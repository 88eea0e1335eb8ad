package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// all is a folder's whole history in memory.
type all struct {
	Faults     []*Fault
	Operations []*Operation
	Events     []*Event
	Metrics    []*Metric
	Order      []string
}

func readAll(dir string) (all, Notes, error) {
	var a all
	n, err := ReadFolder(dir, Handler{
		Fault: func(f *Fault) error { a.Faults = append(a.Faults, f); a.Order = append(a.Order, "fault"); return nil },
		Operation: func(o *Operation) error {
			a.Operations = append(a.Operations, o)
			a.Order = append(a.Order, "op")
			return nil
		},
		Event: func(e *Event) error { a.Events = append(a.Events, e); a.Order = append(a.Order, "event"); return nil },
		Metric: func(m *Metric) error {
			a.Metrics = append(a.Metrics, m)
			a.Order = append(a.Order, "metric")
			return nil
		},
	})
	return a, n, err
}

func TestRecordsAreReadBack(t *testing.T) {
	dir := t.TempDir()
	r, err := NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	event := Event{Node: 1, Boot: 1, Seq: 1, Time: 5, Body: &Started{Version: "x", Nodes: []int32{1, 2}}}
	fault := Fault{ID: 1, Kind: "kill", Nodes: []int32{1}, Asked: 1, Effective: 2, Evidence: []Evidence{{Time: 2, Phase: "during", What: "gone"}}}
	op := Operation{ID: "p1", Outcome: OK, Produce: &ProduceOp{Topic: "orders", Count: 2, Offsets: []int64{0, -1}, Acked: -1, Acks: -1}}
	metric := Metric{Time: 9, Acked: 2, Nodes: []NodeMetric{{Node: 1, Up: true}}}
	r.Metric(metric)
	r.Event(event)
	r.Operation(&op)
	r.Fault(fault)
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	got, notes, err := readAll(dir)
	if err != nil || len(notes.Lines()) != 0 {
		t.Fatalf("after Flush: %v, %v", notes, err)
	}
	want := all{[]*Fault{&fault}, []*Operation{&op}, []*Event{&event}, []*Metric{&metric}, []string{"fault", "op", "event", "metric"}}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Event(event); r.Err() == nil {
		t.Error("recording after Close went unnoticed")
	}
	if _, err := NewRecorder(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second recorder in the folder: %v; want fs.ErrExist", err)
	}
}

func TestRecorderIsSafeForConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	r, err := NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				r.Event(Event{Node: int32(g), Boot: 1, Seq: uint64(i + 1), Body: &LogLine{Line: strings.Repeat("x", i)}})
				r.Operation(&Operation{ID: fmt.Sprint(g, i), Outcome: Unknown, Create: &AutoCreateOp{Topic: "a"}})
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, notes, err := readAll(dir)
	if err != nil || len(notes.Lines()) != 0 || len(got.Events) != 2000 || len(got.Operations) != 2000 {
		t.Fatalf("%d events, %d operations, %v, %v", len(got.Events), len(got.Operations), notes, err)
	}
}

func TestRecorderKeepsTheFirstError(t *testing.T) {
	r, err := NewRecorder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r.events.file.Close() // stands in for a disk that fails
	r.Event(Event{Node: 1, Boot: 1, Seq: 1, Body: &Stall{}})
	first := r.Flush()
	if first == nil || !strings.Contains(first.Error(), EventsFile) {
		t.Fatalf("Flush = %v; want an error that names the file", first)
	}
	r.Event(Event{Node: 1, Boot: 1, Seq: 2, Body: &Stall{}})
	if err := r.Err(); err == nil || err.Error() != first.Error() {
		t.Errorf("Err = %v; want the first error, %v", err, first)
	}
	r.Metric(Metric{Time: 1})
	if err := r.Close(); err == nil || err.Error() != first.Error() {
		t.Errorf("Close = %v; want the first error", err)
	}
}

func TestJSONRoundTrips(t *testing.T) {
	t.Run("operation", roundTrip[Operation])
	t.Run("fault", roundTrip[Fault])
	t.Run("metric", roundTrip[Metric])
	t.Run("run", roundTrip[Run])
}

func roundTrip[T any](t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Make[T]().Draw(t, "value")
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got T
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s\n%s", data, d)
		}
	})
}

func TestRunFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadRun(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	run := &Run{ID: "a", Seed: 1<<63 + 1, Contract: Contract{Acks: -1}, RecordTopics: []TopicInfo{{Name: "orders", Partitions: 3, Replicas: []int32{1, 2}}}}
	if err := WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
	run.Scenario = "quick"
	if err := WriteRun(dir, run); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRun(dir)
	run.Format = FormatVersion
	if d := cmp.Diff(run, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	for text, want := range map[string]error{`{"format":99}`: ErrNewerFormat, `{"format":1`: ErrNotARun, `{}`: ErrNotARun, `[]`: ErrNotARun} {
		os.WriteFile(filepath.Join(dir, RunFile), []byte(text), 0o600)
		if _, err := ReadRun(dir); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", text, err, want)
		}
	}
}

// Checkers make an entry for each replica that the drain must read, at the file's word.
func TestARunOfImpossibleSizeIsNone(t *testing.T) {
	topic := func(partitions, replicas int) string {
		return fmt.Sprintf(`{"name":"o","partitions":%d,"replicas":[%s1]}`, partitions, strings.Repeat("1,", replicas-1))
	}
	for name, c := range map[string]struct {
		topics string
		fine   bool
	}{
		"large":               {topic(10_000, 100), true},
		"too many partitions": {topic(2_000_000_000, 3), false},
		"fewer than none":     {topic(-1, 3), false},
		"too many replicas":   {topic(1, 1001), false},
		"too many of both":    {topic(10_000, 200), false},
		"too many in all":     {topic(10_000, 60) + "," + topic(10_000, 60), false},
	} {
		dir := t.TempDir()
		write(t, dir, RunFile, `{"format":1,"record_topics":[`+c.topics+`],"seed":"1","run_hash":"1"}`)
		if _, err := ReadRun(dir); (err == nil) != c.fine || err != nil && !errors.Is(err, ErrNotARun) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const goodEvent = `{"event":"stall","node":1,"boot":1,"seq":1,"time":5,"nanos":7}`

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReaderTakesACutLastLine(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, EventsFile, goodEvent+"\n"+goodEvent[:30])
	got, notes, err := readAll(dir)
	if err != nil || len(got.Events) != 1 {
		t.Fatalf("%d events, %v", len(got.Events), err)
	}
	want := Notes{Missing: []string{FaultsFile, HistoryFile, MetricsFile}, Truncated: []string{EventsFile}}
	if d := cmp.Diff(want, notes); d != "" {
		t.Error(d)
	}
	// A whole last line without its newline is no loss.
	write(t, dir, EventsFile, goodEvent+"\n"+goodEvent)
	if got, notes, err := readAll(dir); err != nil || len(got.Events) != 2 || len(notes.Truncated) != 0 {
		t.Errorf("%d events, %v, %v", len(got.Events), notes, err)
	}
}

func TestReaderNamesDamage(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"cut in the middle", EventsFile, goodEvent + "\n" + goodEvent[:30] + "\n" + goodEvent + "\n", "events.jsonl:2:"},
		{"not JSON", EventsFile, "rubbish\n" + goodEvent + "\n", "events.jsonl:1:"},
		{"an outcome", HistoryFile, `{"id":"a","outcome":"fine","create":{"topic":"t"}}` + "\n", `history.jsonl:1: operation "a" has the outcome "fine"`},
		{"no kind", HistoryFile, `{"id":"a","outcome":"ok"}` + "\n", "of 0 kinds"},
		{"two kinds", HistoryFile, `{"id":"a","outcome":"ok","create":{},"meta":{}}` + "\n", "of 2 kinds"},
		{"huge batch", HistoryFile, `{"id":"a","outcome":"ok","produce":{"count":2000000000}}` + "\n", "2000000000 records"},
		{"overflow", HistoryFile, `{"id":"a","outcome":"ok","produce":{"count":2,"first_seq":18446744073709551615}}` + "\n", "overflows"},
		{"offsets", HistoryFile, `{"id":"a","outcome":"ok","produce":{"count":2,"offsets":[1]}}` + "\n", "1 offsets for 2 records"},
		{"consumed span", HistoryFile, `{"id":"a","outcome":"ok","consume":{"spans":[{"offset":4,"count":0}]}}` + "\n", "a span"},
		{"consumed backwards", HistoryFile, `{"id":"a","outcome":"ok","consume":{"from":4,"to":3}}` + "\n", "offsets from 4 to 3"},
		{"consumed partition", HistoryFile, `{"id":"a","outcome":"ok","consume":{"partition":-1}}` + "\n", "partition -1"},
		{"span", HistoryFile, `{"id":"a","outcome":"ok","drain":{"spans":[{"offset":-4,"count":1}]}}` + "\n", "a span"},
		{"fault", FaultsFile, `{"id":3}` + "\n", "fault 3 has no kind"},
		{"long line", MetricsFile, `{"time":1` + strings.Repeat(" ", maxLine) + "}\n", "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, c.file, c.text)
			_, _, err := readAll(dir)
			var damage *DamageError
			if !errors.As(err, &damage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want damage with %q", err, c.want)
			}
		})
	}
}

func TestReaderNotesUnknownKindsAndStopsForTheHandler(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, EventsFile, `{"event":"later","time":1}`+"\n"+goodEvent+"\n")
	got, notes, err := readAll(dir)
	if err != nil || notes.Unknown != 1 || len(got.Events) != 1 {
		t.Errorf("%v, %v", notes, err)
	}
	stop := errors.New("stop")
	if _, err := ReadFolder(dir, Handler{Event: func(*Event) error { return stop }}); err != stop {
		t.Errorf("got %v; want the handler's error", err)
	}
}

func TestReaderTakesCompressedFiles(t *testing.T) {
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, `{"event":"stall","node":1,"boot":1,"seq":%d,"time":5,"nanos":%d}`+"\n", i+1, i*i)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	data := z.EncodeAll([]byte(text.String()), nil)
	dir := t.TempDir()
	write(t, dir, EventsFile+".zst", string(data))
	got, notes, err := readAll(dir)
	if err != nil || len(got.Events) != 2000 || len(notes.Truncated) != 0 {
		t.Fatalf("%d events, %v, %v", len(got.Events), notes, err)
	}
	write(t, dir, EventsFile+".zst", string(data[:len(data)/2]))
	if _, notes, err := readAll(dir); err != nil || len(notes.Truncated) != 1 {
		t.Errorf("a cut stream: %v, %v; want it noted", notes, err)
	}
	write(t, dir, EventsFile+".zst", "this is no zstd stream, however long it may be")
	if _, _, err := readAll(dir); err == nil {
		t.Error("rubbish was read as a compressed file")
	}
}

func FuzzReadFolder(f *testing.F) {
	f.Add(goodEvent+"\n", `{"id":"a","outcome":"ok","create":{"topic":"t"}}`+"\n", `{"kind":"kill"}`+"\n")
	f.Add(goodEvent[:20], `{"id":"a","outcome":"ok","drain":{"spans":[{"offset":0,"count":1}]}}`, "")
	f.Fuzz(func(t *testing.T, events, ops, faults string) {
		dir := t.TempDir()
		write(t, dir, EventsFile, events)
		write(t, dir, HistoryFile, ops)
		write(t, dir, FaultsFile, faults)
		_, _, err := readAll(dir)
		var damage *DamageError
		if err != nil && !errors.As(err, &damage) {
			t.Fatalf("an error that does not name its place: %v", err)
		}
	})
}
