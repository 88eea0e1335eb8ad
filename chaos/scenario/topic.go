package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"soak/history"
)

// Topic is a record topic. It is replicated to every node, so that the drain can read each replica.
type Topic struct {
	Name              string
	Partitions        int32
	Replication       int16
	MinInsyncReplicas int16

	// What may go from a log's beginning, segment by segment. Where neither is set, records stay for ever.
	Retention      time.Duration // what is older, in whole milliseconds; 0: nothing goes for its age
	RetentionBytes int64         // the oldest of a partition that is as large without it; 0: nothing goes for the log's size
	SegmentBytes   int64         // size to which a segment grows; 0: the brokers' own
}

// Bounds of a topic's retention.
const (
	minRetention      = 100 * time.Millisecond
	minRetentionCheck = 100 * time.Millisecond // the broker's own bound
	minTopicSegment   = 1 << 10                // the same
	maxTopicBytes     = 1 << 40
)

func (r *reader) topic(n ast.Node, what string, s *Scenario) Topic {
	o := r.object(n, what, "name", "partitions", "replication", "min_insync_replicas", "retention", "retention_bytes", "segment_bytes")
	t := Topic{
		Name:           o.text("name", ""),
		Partitions:     int32(o.number("partitions", 1, 1, 256)),
		Replication:    int16(o.number("replication", s.Nodes, 1, maxNodes)),
		Retention:      o.duration("retention", 0, minRetention, maxDuration).Truncate(time.Millisecond),
		RetentionBytes: int64(o.number("retention_bytes", 0, 1, maxTopicBytes)),
		SegmentBytes:   int64(o.number("segment_bytes", 0, minTopicSegment, maxTopicBytes)),
	}
	t.MinInsyncReplicas = int16(o.number("min_insync_replicas", min(2, int(t.Replication)), 1, int(t.Replication)))
	if !plainName(t.Name) || strings.HasPrefix(t.Name, "meta-") || strings.HasPrefix(t.Name, "auto-") || strings.HasPrefix(t.Name, "__") {
		r.fail(o.at("name"), "letters, digits, dots, dashes and underscores; meta-, auto- and __ are taken", "%s: name: %q cannot be a record topic's name", what, t.Name)
	}
	for _, other := range s.Topics {
		if other.Name == t.Name {
			r.fail(o.at("name"), "", "%s: name: there are two topics %q", what, t.Name)
		}
	}
	if int(t.Replication) != s.Nodes {
		r.fail(o.at("replication"), "leave it out", "%s: replication: %d is not the number of nodes (%d): record topics have a replica on every node in this version", what, t.Replication, s.Nodes)
	}
	return t
}

func (t Topic) yaml(p func(string, ...any)) {
	p("  - {name: %s, partitions: %d, replication: %d, min_insync_replicas: %d", strconv.Quote(t.Name), t.Partitions, t.Replication, t.MinInsyncReplicas)
	if t.Retention > 0 {
		p(", retention: %s", t.Retention)
	}
	if t.RetentionBytes > 0 {
		p(", retention_bytes: %d", t.RetentionBytes)
	}
	if t.SegmentBytes > 0 {
		p(", segment_bytes: %d", t.SegmentBytes)
	}
	p("}\n")
}

// Configs are the topic's configurations, as Kafka names them.
func (t Topic) Configs() map[string]string {
	out := map[string]string{"min.insync.replicas": strconv.Itoa(int(t.MinInsyncReplicas))}
	if t.Retention > 0 {
		out["retention.ms"] = strconv.FormatInt(t.Retention.Milliseconds(), 10)
	}
	if t.RetentionBytes > 0 {
		out["retention.bytes"] = strconv.FormatInt(t.RetentionBytes, 10)
	}
	if t.SegmentBytes > 0 {
		out["segment.bytes"] = strconv.FormatInt(t.SegmentBytes, 10)
	}
	return out
}

// Info is the topic as a run describes it, with a replica on each of the nodes.
func (t Topic) Info(nodes []int32) history.TopicInfo {
	return history.TopicInfo{Name: t.Name, Partitions: t.Partitions, Replicas: nodes,
		RetentionMillis: t.Retention.Milliseconds(), RetentionBytes: t.RetentionBytes, SegmentBytes: t.SegmentBytes}
}

func (t Topic) words() string {
	text := fmt.Sprintf("topic %s: %d partitions, %d replicas, at least %d in sync", t.Name, t.Partitions, t.Replication, t.MinInsyncReplicas)
	if goes := t.Goes(); goes != "" {
		text += "; " + goes
		if t.SegmentBytes > 0 {
			text += fmt.Sprintf(", by whole segments of %d bytes", t.SegmentBytes)
		} else {
			text += ", by whole segments of the broker's own size, 64 MiB"
		}
	}
	return text
}

// LetsGo reports whether a topic asks that records may go.
func (s *Scenario) LetsGo() bool {
	return slices.ContainsFunc(s.Topics, func(t Topic) bool { return t.Goes() != "" })
}

// Goes says in words which records the topic lets go, "" if it keeps all.
func (t Topic) Goes() string {
	switch {
	case t.Retention > 0 && t.RetentionBytes > 0:
		return fmt.Sprintf("records older than %s may go, and the oldest while %d bytes of a partition stay", t.Retention, t.RetentionBytes)
	case t.Retention > 0:
		return fmt.Sprintf("records older than %s may go", t.Retention)
	case t.RetentionBytes > 0:
		return fmt.Sprintf("the oldest records may go while %d bytes of a partition stay", t.RetentionBytes)
	}
	return ""
}
