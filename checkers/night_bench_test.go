package checkers

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"soak/history"
)

var (
	nightSeconds = flag.Int("night.seconds", 1440, "length of the run that BenchmarkNight judges")
	nightRate    = flag.Int("night.rate", 500, "its records a second, in batches of five")
	nightParts   = flag.Int("night.partitions", 12, "its partitions")
	nightDir     = flag.String("night.dir", "", "keep its folder here; one that is there is judged as it is")
)

// night writes the packed folder of a long run in which nothing is wrong: batches of five of four producers, two consumers that fetch each partition five times a
// second, what three replicas of each partition tell once a second, a short outage every ten minutes, and the final read of all replicas.
func night(tb testing.TB, dir string, run *history.Run) {
	tb.Helper()
	const size, batchesInAPiece = 5, 200
	r, err := history.NewPackedRecorder(dir)
	if err != nil {
		tb.Fatal(err)
	}
	parts := *nightParts
	seqs := map[int32]uint64{}
	tell := func(node int32, at int64, b history.Body) {
		seqs[node]++
		r.Event(history.Event{Node: node, Boot: 1, Seq: seqs[node], Time: at, Body: b})
	}
	begin := int64(1_700_000_000_000_000_000)
	at := begin
	for p := range int32(parts) {
		for n := int32(1); n <= 3; n++ {
			tell(n, at, &history.Apply{Index: uint64(p + 1), Term: 1, Proposer: 1, ProposerTerm: 1, ProposerBoot: 1, Attempt: uint64(p + 1), ExpectedEpoch: -1, Command: "create_topic", Key: "orders", Outcome: history.Applied,
				Changes: []history.PartitionChange{{Topic: "orders", Partition: p, Leader: p%3 + 1, ISR: []int32{1, 2, 3}, Replicas: []int32{1, 2, 3}}}})
		}
	}
	next, fetched := make([]int64, parts), make([]int64, parts)
	by := make([][]uint32, parts) // who sent each batch
	sent := map[[2]uint32]uint64{}
	batches := max(1, *nightRate/size)
	id := 0
	span := func(p int32, batch int, seq map[[2]uint32]uint64) history.Span {
		who := [2]uint32{by[p][batch], uint32(p)}
		s := history.Span{Offset: int64(batch) * size, Producer: who[0], Incarnation: 1, Seq: seq[who], Count: size}
		seq[who] += size
		return s
	}
	given := map[[2]uint32]uint64{}
	for s := range *nightSeconds {
		at = begin + int64(s+1)*int64(time.Second)
		for i := range batches {
			p, producer := int32(id%parts), uint32(id/parts%4+1)
			who := [2]uint32{producer, uint32(p)}
			invoke := at + int64(i)*int64(time.Second)/int64(batches)
			op := &history.Operation{ID: fmt.Sprintf("produce-%d.%d", producer, id), Client: fmt.Sprintf("produce-%d", producer), Invoke: invoke, Complete: invoke + 3_000_000 + int64(id*7919%4_000_000), Outcome: history.OK,
				Produce: &history.ProduceOp{Topic: "orders", Partition: p, Producer: producer, Incarnation: 1, FirstSeq: sent[who], Count: size, Acked: next[p] - 1, Acks: -1, Idempotent: true}}
			for range size {
				op.Produce.Offsets = append(op.Produce.Offsets, next[p])
				next[p]++
			}
			sent[who] += size
			by[p] = append(by[p], producer)
			r.Operation(op)
			id++
		}
		for i := range 5 * parts {
			p := int32(i % parts)
			f := &history.ConsumeOp{Topic: "orders", Partition: p, From: fetched[p], To: next[p], High: next[p]}
			if f.From == f.To {
				continue
			}
			for k := int(f.From / size); k < len(by[p]); k++ {
				f.Spans = append(f.Spans, span(p, k, given))
			}
			fetched[p] = next[p]
			for c := range 2 {
				r.Operation(&history.Operation{ID: fmt.Sprintf("consume-%d.%d", c, s*5*parts+i), Client: fmt.Sprintf("consume-%d", c), Node: p%3 + 1, Invoke: at + int64(time.Second) - 1_000_000, Complete: at + int64(time.Second) + 8_000_000, Outcome: history.OK, Consume: f})
			}
		}
		for n := int32(1); n <= 3; n++ {
			for p := range int32(parts) {
				role := "follower"
				if p%3+1 == n {
					role = "leader"
				}
				tell(n, at+5, &history.Partition{Topic: "orders", Partition: p, Role: role, Leader: p%3 + 1, ISR: []int32{1, 2, 3}, HighWatermark: next[p], LogEnd: next[p], Cause: "periodic"})
			}
		}
		if s%600 == 300 {
			r.Fault(history.Fault{ID: s/600 + 1, Kind: "pause", Nodes: []int32{1}, Asked: at, Effective: at + 1000, HealAsked: at + 2_000_000_000, Healed: at + 2_000_001_000,
				Evidence: []history.Evidence{{Time: at + 1000, Phase: "during", What: "stopped"}, {Time: at + 2_000_001_000, Phase: "after", What: "runs"}}})
		}
	}
	at += int64(time.Minute)
	run.Phases = []history.Phase{{Name: "start", Start: begin - 1, End: begin}, {Name: "steady", Start: begin, End: at}, {Name: "drain", Start: at, End: at + int64(time.Minute)}}
	for p := range int32(parts) {
		for n := int32(1); n <= 3; n++ {
			read := map[[2]uint32]uint64{}
			for from := 0; ; from += batchesInAPiece {
				to := min(len(by[p]), from+batchesInAPiece)
				d := &history.DrainOp{Topic: "orders", Partition: p, Replica: n, From: int64(from) * size, To: int64(to) * size, LogEnd: next[p], High: next[p], End: to == len(by[p]),
					Stretches: []history.Stretch{{From: int64(from) * size, To: int64(to) * size, Hash: uint64(from)}}}
				for k := from; k < to; k++ {
					d.Spans = append(d.Spans, span(p, k, read))
				}
				id++
				r.Operation(&history.Operation{ID: fmt.Sprintf("drain-%d", id), Client: "drain", Node: n, Invoke: at, Complete: at + 1000, Outcome: history.OK, Drain: d})
				if d.End {
					break
				}
			}
		}
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := history.WriteRun(dir, run); err != nil {
		tb.Fatal(err)
	}
}

// peakMemory is the most resident memory that this process has had since it was forgotten, in bytes; 0 where the system does not tell.
func peakMemory() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// BenchmarkNight judges the packed folder of a long run and says what that took of memory at the most.
//
// Its figures in docs/benchmarks.md are those of soak check, alone, on a folder that was kept. A night takes minutes:
//
//	go test ./checkers -run xxx -bench Night -benchtime 1x -timeout 2h -night.seconds 28800 -night.rate 500 -night.dir DIR
func BenchmarkNight(b *testing.B) {
	dir := *nightDir
	if dir == "" {
		dir = b.TempDir()
	}
	run := &history.Run{Format: history.FormatVersion, ID: "0123456789abcdef", Scenario: "nightly", Driver: "docker", Nodes: 3, SessionTimeout: 6e9, ElectionInterval: 12e9,
		Contract: history.Contract{Acks: -1, Idempotent: true, ValueBytes: 256}, RecordTopics: []history.TopicInfo{{Name: "orders", Partitions: int32(*nightParts), Replicas: []int32{1, 2, 3}}}}
	if stored, err := history.ReadRun(dir); err == nil {
		run = stored
	} else {
		night(b, filepath.Clean(dir), run)
	}
	for b.Loop() {
		debug.FreeOSMemory()
		os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // forgets the peak
		report, _, err := Judge(dir, run)
		if err != nil {
			b.Fatal(err)
		}
		for _, v := range report.Verdicts {
			if v.Outcome == Violated || v.Checker == AckedRecords && v.Outcome != Holds {
				b.Fatalf("%s: %s", v.Checker, v.Reason)
			}
			if v.Checker == AckedRecords {
				b.ReportMetric(float64(v.Checked), "records")
			}
		}
	}
	b.ReportMetric(float64(peakMemory())/(1<<20), "MiB-peak")
}
