package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"soak/history"
)

// What a topic's retention is reaches the brokers as Kafka's configurations, and the checkers in the run's description. Written and read again it is the same.
func TestATopicsRetention(t *testing.T) {
	src := strings.Replace(small, "    partitions: 2\n", "    partitions: 2\n    retention: 7.5s\n    retention_bytes: 65536\n    segment_bytes: 8192\n  - name: payments\n", 1) + "retention_check: 1s\n"
	s, err := Parse("small.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if s.RetentionCheck != time.Second {
		t.Errorf("retention check every %s", s.RetentionCheck)
	}
	again, err := Parse("again.yaml", s.YAML())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, again); d != "" {
		t.Errorf("read again (-was +is):\n%s", d)
	}
	want := map[string]string{"min.insync.replicas": "2", "retention.ms": "7500", "retention.bytes": "65536", "segment.bytes": "8192"}
	if d := cmp.Diff(want, s.Topics[0].Configs()); d != "" {
		t.Errorf("configurations (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]string{"min.insync.replicas": "2"}, s.Topics[1].Configs()); d != "" {
		t.Errorf("configurations without (-want +got):\n%s", d)
	}
	info := history.TopicInfo{Name: "orders", Partitions: 2, Replicas: []int32{1, 2}, RetentionMillis: 7500, RetentionBytes: 65536, SegmentBytes: 8192}
	if d := cmp.Diff(info, s.Topics[0].Info([]int32{1, 2})); d != "" || info.KeepsAll() {
		t.Errorf("description (-want +got):\n%s", d)
	}
	if plain := s.Topics[1].Info(nil); !plain.KeepsAll() {
		t.Errorf("%+v does not keep all", plain)
	}
	words := strings.Join(s.Explain(), "\n")
	for _, want := range []string{"records older than 7.5s may go, and the oldest while 65536 bytes of a partition stay, by whole segments of 8192 bytes", "leaders look for what may go every 1s"} {
		if !strings.Contains(words, want) {
			t.Errorf("explained without %q as\n%s", want, words)
		}
	}
	s.RetentionCheck, s.Topics[0].SegmentBytes = 0, 0
	if words := strings.Join(s.Explain(), "\n"); !strings.Contains(words, "own size, 64 MiB") || !strings.Contains(words, "every 30s") {
		t.Errorf("without a word about it, the brokers' own is not explained:\n%s", words)
	}
	s.Topics[0].Retention, s.Topics[0].RetentionBytes = 0, 0
	if words := strings.Join(s.Explain(), "\n"); strings.Contains(words, "may go") {
		t.Errorf("nothing may go, and it is explained as\n%s", words)
	}
}
