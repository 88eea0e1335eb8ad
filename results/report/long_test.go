package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"soak/checkers"
	"soak/history"
)

// long is a run of hours to be written: a fault every 20 s, leaders that follow, a check every 12 s.
type long struct {
	hours     int
	perSecond int // sends
	batch     int // records of each
	packed    bool
}

// write generates the folder of a long run, line by line. One send of all, in the middle of it, takes 42 s.
func (l long) write(tb testing.TB, dir string) (*history.Run, *checkers.Report) {
	tb.Helper()
	end := base + int64(l.hours)*3600*second
	run := &history.Run{ID: "0123456789abcdef", Scenario: "nightly", Driver: "docker", Nodes: 3, Phases: []history.Phase{{Name: "start", Start: base, End: base + second}, {Name: "faults", Start: base + second, End: end}},
		RecordTopics: []history.TopicInfo{{Name: "orders", Partitions: 12, Replicas: []int32{1, 2, 3}}}}
	file := func(name string) (*bufio.Writer, func()) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			tb.Fatal(err)
		}
		w := bufio.NewWriterSize(f, 1<<20)
		return w, func() {
			if err := w.Flush(); err != nil {
				tb.Fatal(err)
			}
			f.Close()
		}
	}
	faults, closeFaults := file(history.FaultsFile)
	events, closeEvents := file(history.EventsFile)
	metrics, closeMetrics := file(history.MetricsFile)
	ops, closeOps := file(history.HistoryFile)
	var packed *history.Recorder
	if l.packed {
		for _, name := range []string{history.FaultsFile, history.EventsFile, history.MetricsFile, history.HistoryFile} {
			os.Remove(filepath.Join(dir, name))
		}
		var err error
		if packed, err = history.NewPackedRecorder(dir); err != nil {
			tb.Fatal(err)
		}
		defer func() {
			if err := packed.Close(); err != nil {
				tb.Fatal(err)
			}
		}()
	}
	put := func(w *bufio.Writer, v any) {
		if packed != nil {
			switch v := v.(type) {
			case history.Fault:
				packed.Fault(v)
			case history.Metric:
				packed.Metric(v)
			case *history.Operation:
				packed.Operation(v)
			}
			return
		}
		b, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		w.Write(append(b, '\n'))
	}
	event := func(node int32, at int64, body history.Body) {
		e := history.Event{Node: node, Boot: 1, Seq: uint64(at-base)/1000 + 1, Time: at, Body: body}
		if packed != nil {
			packed.Event(e)
			return
		}
		events.Write(append(history.AppendEvent(nil, &e), '\n'))
	}
	index := uint64(1)
	for n := int32(1); n <= 3; n++ {
		event(n, base+1000, &history.Started{})
	}
	for i := 0; ; i++ {
		at := base + 2*second + int64(i)*20*second
		if at+20*second > end {
			break
		}
		node := int32(i%3 + 1)
		put(faults, history.Fault{ID: i + 1, Kind: []string{"kill", "pause", "partition"}[i%3], Target: "raft-leader", Role: "raft-leader", Nodes: []int32{node}, Trigger: "at 3 intervals",
			Asked: at, Effective: at + 1e6, HealAsked: at + 8*second, Healed: at + 8*second + 1e6,
			Evidence: []history.Evidence{{Time: at, Phase: "before", What: "the process 4711 runs, boot 3"}, {Time: at + 1e6, Phase: "during", What: "ended: signal: killed"}, {Time: at + 8*second, Phase: "after", What: "up again, boot 4"}}})
		event(node%3+1, at+second, &history.RoleChange{Term: uint64(i + 2), Role: history.RoleLeader, Leader: node%3 + 1})
		event(node%3+1, at+2*second, &history.LeaderCheck{Term: uint64(i + 2), Role: history.RoleLeader, Cause: "interval"})
		for p := range int32(12) {
			index++
			for n := int32(1); n <= 3; n++ {
				event(n, at+2*second, &history.Apply{Index: index, Term: uint64(i + 2), Command: "set_partition_leader", Key: fmt.Sprintf("orders-%d", p), Outcome: history.Applied,
					Changes: []history.PartitionChange{{Topic: "orders", Partition: p, Leader: (p+node)%3 + 1, LeaderEpoch: int32(i), ISR: []int32{1, 2}, Replicas: []int32{1, 2, 3}}}})
			}
			index++
			event(1, at+10*second, &history.Apply{Index: index, Term: uint64(i + 2), Command: "change_isr", Key: fmt.Sprintf("orders-%d", p), Outcome: history.Applied,
				Changes: []history.PartitionChange{{Topic: "orders", Partition: p, Leader: (p+node)%3 + 1, LeaderEpoch: int32(i), ISR: []int32{1, 2, 3}, Replicas: []int32{1, 2, 3}}}})
		}
	}
	var violations []checkers.Violation
	offsets := make([]int64, 12)
	for i := range int64(l.hours) * 3600 {
		at := base + 2*second + i*second
		put(metrics, history.Metric{Time: at, Interval: second, Nodes: []history.NodeMetric{{Node: 1, Up: true, Memory: 50<<20 + i<<8}, {Node: 2, Up: true, Memory: 51 << 20}, {Node: 3, Up: true, Memory: 52 << 20}}})
		for n := int32(1); n <= 3 && l.perSecond > 1; n++ {
			for p := range int32(12) {
				event(n, at, &history.Partition{Topic: "orders", Partition: p, Role: "follower", Leader: 1, ISR: []int32{1, 2, 3}, HighWatermark: i, LogEnd: i, Cause: "periodic"})
			}
		}
		for k := range l.perSecond {
			p := int32(k) % 12
			invoke := at + int64(k)*second/int64(l.perSecond)
			op := history.Operation{ID: fmt.Sprintf("p1.%d", i*int64(l.perSecond)+int64(k)), Client: "produce-1", Invoke: invoke, Complete: invoke + 5e6, Outcome: history.OK,
				Produce: &history.ProduceOp{Topic: "orders", Partition: p, Producer: 1, Incarnation: 1, FirstSeq: uint64(offsets[p]), Count: int32(l.batch), Acked: -1, Acks: -1}}
			if i == int64(l.hours)*1800 && k == 0 {
				op.Complete = invoke + 42*second
			}
			for range l.batch {
				op.Produce.Offsets = append(op.Produce.Offsets, offsets[p])
				offsets[p]++
			}
			if k%97 == 5 && i%61 == 0 {
				op.Outcome, op.Error, op.Produce.Offsets = history.Unknown, "no answer within 3s", nil
			}
			put(ops, &op)
		}
		if i%100 == 50 {
			e := history.Event{Node: 2, Boot: 1, Seq: uint64(i), Time: at, Body: &history.LeaderCheck{Term: 3, Role: history.RoleFollower, Cause: "interval"}}
			violations = append(violations, checkers.Violation{Kind: fmt.Sprint("check-by-follower-", i%700), Sentence: "n2 ran a partition leader check in term 3 while its raft role was follower",
				Time: at, Nodes: []int32{2}, Evidence: []string{string(history.AppendEvent(nil, &e))}})
		}
	}
	closeFaults()
	closeEvents()
	closeMetrics()
	closeOps()
	return run, &checkers.Report{Format: 1, Outcome: checkers.Violated, Verdicts: []checkers.Verdict{{Checker: checkers.SingleLeaderProposing, Outcome: checkers.Violated, Violations: violations}}}
}

// Eight hours with 1,440 faults, 12 partitions whose leaders follow them, and hundreds of violations of many kinds fit into 2 MB, and the page says what it merged.
func TestEightHoursFitOnAPage(t *testing.T) {
	dir := t.TempDir()
	run, rep := long{hours: 8, perSecond: 1, batch: 5}.write(t, dir)
	page := draw(t, Input{Dir: dir, Run: run, Report: rep})
	if len(page) > maxPage {
		t.Errorf("the page has %d bytes, want at most %d", len(page), maxPage)
	}
	for _, want := range []string{"in cells of 8.00 s", "too close to be drawn one by one", `id="violation-1"`, `<td class="num">480</td>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// The one send of 42 s in its middle is still the maximum of its cell, and of all.
	var h hover
	data := page[strings.Index(page, `id="data">`)+len(`id="data">`):]
	if err := json.Unmarshal([]byte(data[:strings.Index(data, "</script>")]), &h); err != nil {
		t.Fatal(err)
	}
	slow := 0
	for _, m := range h.Max {
		if m == 42_000_000 {
			slow++
		}
	}
	if slow != 1 {
		t.Errorf("%d cells have the slow send as their maximum", slow)
	}
	wellFormed(t, page)
}

// BenchmarkEightHours draws eight hours at 5,000 records a second in sends of 50: some 3 GB of records. It asks for room on the disk and some minutes to write
// them: go test ./results/report -run '^$' -bench EightHours -benchtime 1x
func BenchmarkEightHours(b *testing.B) { long{hours: 8, perSecond: 100, batch: 50}.bench(b) }

// BenchmarkEightHoursPacked draws the same from packed files, which is what long runs leave; writing them takes some minutes of its own.
func BenchmarkEightHoursPacked(b *testing.B) {
	long{hours: 8, perSecond: 100, batch: 50, packed: true}.bench(b)
}

func (l long) bench(b *testing.B) {
	dir := b.TempDir()
	run, rep := l.write(b, dir)
	for b.Loop() {
		peak := make(chan uint64)
		stop := make(chan struct{})
		go func() {
			var highest uint64
			for {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				highest = max(highest, m.Sys)
				select {
				case <-stop:
					peak <- highest
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		}()
		began := cpu()
		page, err := Draw(Input{Dir: dir, Run: run, Report: rep})
		took := cpu() - began
		close(stop)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(took.Seconds(), "cpu-s") // what a machine with other work to do cannot hide
		b.ReportMetric(float64(<-peak)/1e6, "MB-peak")
		b.ReportMetric(float64(len(page))/1e6, "MB-page")
	}
}

// cpu is the processor time that this process has taken.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
