// Package bugs is the catalogue of historical bugs that can be switched on in the reference broker, each at
// one named decision point of broker/core or broker/disk. A bug that is off costs one test of a bit.
//
// It is here to prove the checkers: a planted bug that a checker does not find is a hole in the checker. The catalogue
// entry of each names its source, mechanism, trigger, symptom and the checkers that must find it.
package bugs

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Bug names one planted bug.
type Bug uint8

const (
	ElectorGateHasLeader Bug = iota
	AutocreateGateHasLeader
	StartupGateHasLeader
	ForwardHidesError
	CachedIsLeader
	SetLeaderNoCAS
	ElectISR0Blind
	ElectedBeforeCommit
	ConcentrateLeaders
	ApplyUsesLocalState
	AcksBeforeReplication
	HWIsLeaderLEO
	ISRShrinkBeforeCommit
	SnapshotOmitsField
	CompactBeforeSnapshotDurable
	NoProducerStateOnFollowers
	PIDCounterVolatile
	PipelinedReorder
	AckBeforeFsync
	TornTailFatal
	LostWakeup
	WaiterLeak
	RetentionAboveHW
	RetentionByFirstRecord
)

// Name is the bug's name for --bug.
func (b Bug) Name() string { return Catalogue[b].Name }

// Set is a set of bugs. The zero value is the sound broker.
type Set uint64

// Has reports whether b is switched on.
func (s Set) Has(b Bug) bool { return s&(1<<b) != 0 }

// With returns s with b switched on.
func (s Set) With(b Bug) Set { return s | 1<<b }

// Names of the bugs that are on, in catalogue order.
func (s Set) Names() []string {
	var out []string
	for _, e := range Catalogue {
		if s.Has(e.Bug) {
			out = append(out, e.Name)
		}
	}
	return out
}

// Entry documents one bug.
type Entry struct {
	Bug       Bug
	Name      string   // for --bug
	Source    string   // where it happened
	Mechanism string   // what the code gets wrong
	Trigger   string   // what brings it out
	Symptom   string   // what is seen
	Checkers  []string // ids of those that must report it
	May       []string // ids of those that may report it as well
	// Needs is the kind of fault without which the bug cannot show, "" if any run may show it. A run without such a fault has proven nothing about it.
	Needs string
	// RealOnly: only a cluster of real processes shows it. Nobody measures what the simulator's nodes take.
	RealOnly bool
	// Retains: the bug shows only where a topic lets records go.
	Retains bool
}

// Catalogue lists every bug in the order of the constants.
var Catalogue = []Entry{
	{
		Bug: ElectorGateHasLeader, Name: "elector-gate-has-leader",
		Source:    "a Kafka-compatible broker, fixed in its release 2.2.3 (docs/story.md)",
		Mechanism: "the leader-election service is gated by \"a raft leader is known\", which is true on followers too",
		Trigger:   "none for the checks; a partition leader's session must expire for the proposals",
		Symptom:   "every node runs partition leader checks; followers' proposals fail with \"Cannot propose\"",
		Checkers:  []string{"single-leader-proposing", "zero-proposal-errors"},
	},
	{
		Bug: AutocreateGateHasLeader, Name: "autocreate-gate-has-leader",
		Source:    "the same broker, its attempted fix 2.2.2",
		Mechanism: "the one topic-creation path asks \"is a leader known\" where it must ask \"am I the leader\"",
		Trigger:   "a topic that is auto-created through a follower",
		Symptom:   "the follower proposes the topic itself and fails with \"Cannot propose\"",
		Checkers:  []string{"single-leader-proposing", "zero-proposal-errors"},
	},
	{
		Bug: StartupGateHasLeader, Name: "startup-gate-has-leader",
		Source:    "the same broker before 2.2.1",
		Mechanism: "the start-up initialiser proposes __meta as soon as a leader is known, on every node",
		Trigger:   "the first start of a cluster",
		Symptom:   "followers propose __meta in the first moments and fail with \"Cannot propose\"",
		Checkers:  []string{"single-leader-proposing", "zero-proposal-errors"},
	},
	{
		Bug: ForwardHidesError, Name: "forward-hides-error",
		Source:    "derived: elector-gate-has-leader with raft's default proposal forwarding left on",
		Mechanism: "followers' proposals travel to the leader and are committed; nothing refuses them, no caller sees an error",
		Trigger:   "a partition leader's session expires",
		Symptom:   "entries whose proposer is not their term's leader; three SetPartitionLeader for one election",
		Checkers:  []string{"single-leader-proposing"},
		May:       []string{"zero-proposal-errors"},
	},
	{
		Bug: CachedIsLeader, Name: "cached-is-leader",
		Source:    "etcd #12528, #15247, PR 16822: after a stall the old leader went on revoking leases",
		Mechanism: "\"am I the leader\" is a flag that is written only when raft's output is handled",
		Trigger:   "the raft leader is paused past its election time-out",
		Symptom:   "on its resume it checks and proposes once more, though raft has stepped down",
		Checkers:  []string{"single-leader-proposing"},
		May:       []string{"zero-proposal-errors", "epoch-monotonic"},
	},
	{
		Bug: SetLeaderNoCAS, Name: "set-leader-no-cas",
		Source:    "KAFKA-6082, KAFKA-14144, KAFKA-14617",
		Mechanism: "SetPartitionLeader is applied without comparing the partition epoch that it was made for",
		Trigger:   "two elections of one partition under way, or an ISR change between a proposal and its application",
		Symptom:   "late and duplicate elections win: one partition epoch is used twice",
		Checkers:  []string{"epoch-monotonic"},
		May:       []string{"single-leader-proposing", "acked-records", "claims", "record-order", "replica-agreement"},
	},
	{
		Bug: ElectISR0Blind, Name: "elect-isr0-blind",
		Source:    "the story's broker: its election took the first ISR member without asking whether it lives",
		Mechanism: "the elector takes isr[0], dead or alive, and leaves the ISR as it is",
		Trigger:   "the broker that is isr[0] dies for longer than two checks",
		Symptom:   "the dead leader is elected again at every check; its partitions take no writes",
		Checkers:  []string{"recovery", "balance"},
	},
	{
		Bug: ElectedBeforeCommit, Name: "elected-before-commit",
		Source:    "the story's broker: propose() only enqueues, and its caller logged success",
		Mechanism: "\"elected\" is said when the proposal was handed to raft, not when it was applied",
		Trigger:   "the raft leader is cut off around a check",
		Symptom:   "claims without a committed entry",
		Checkers:  []string{"claims"},
	},
	{
		Bug: ConcentrateLeaders, Name: "concentrate-leaders",
		Source:    "the story's broker, \"prefer the raft leader\" for every partition",
		Mechanism: "elections and the rebalance prefer the raft leader where they should prefer replicas[0]",
		Trigger:   "none",
		Symptom:   "the controller ends up leading everything",
		Checkers:  []string{"balance"},
	},
	{
		Bug: ApplyUsesLocalState, Name: "apply-uses-local-state",
		Source:    "etcd #11651, #11689: applying depended on the node",
		Mechanism: "applying a topic's creation rotates the replica lists by the applying node's own id",
		Trigger:   "none",
		Symptom:   "the nodes' metadata differ at the same index",
		Checkers:  []string{"metadata-agreement"},
		May:       []string{"linearizable-metadata", "balance", "epoch-monotonic", "claims", "recovery", "acked-records", "single-leader-proposing"},
	},
	{
		Bug: AcksBeforeReplication, Name: "acks-before-replication",
		Source:    "Redpanda PR 3003; Jepsen Redpanda 21.10.1, inconsistent offsets",
		Mechanism: "acks=all is answered after the leader's own append",
		Trigger:   "a partition's leader is killed or cut off",
		Symptom:   "acknowledged records are gone, or their offsets hold others",
		Checkers:  []string{"acked-records"},
		May:       []string{"phantom-read", "record-order"},
	},
	{
		Bug: HWIsLeaderLEO, Name: "hw-is-leader-leo",
		Source:    "Redpanda PR 79, PR 14794",
		Mechanism: "the high watermark is the leader's log end, not the minimum over the ISR",
		Trigger:   "a partition's leader is killed",
		Symptom:   "consumers are given records that vanish; acknowledged records with them",
		Checkers:  []string{"phantom-read", "acked-records"},
		May:       []string{"high-watermark", "record-order", "replica-agreement"},
	},
	{
		Bug: ISRShrinkBeforeCommit, Name: "isr-shrink-before-commit",
		Source:    "Jepsen Kafka 2013; KAFKA-8836",
		Mechanism: "a leader uses the smaller ISR that it has only proposed",
		Trigger:   "a partition's leader is cut off from the others with a client beside it",
		Symptom:   "it acknowledges alone what the next leader never had",
		Checkers:  []string{"acked-records"},
		May:       []string{"phantom-read", "high-watermark", "record-order", "replica-agreement"},
	},
	{
		Bug: SnapshotOmitsField, Name: "snapshot-omits-field",
		Source:    "KAFKA-13357: a snapshot without the producer ids that were given out",
		Mechanism: "a partition's leader epoch is not in the snapshot: who restores one goes on with epoch 0",
		Trigger:   "a node restarts from a snapshot, or is sent one; in a short run the threshold must be low",
		Symptom:   "its metadata differ from the others' at the same index",
		Checkers:  []string{"metadata-agreement"},
		May:       []string{"epoch-monotonic", "linearizable-metadata", "balance", "claims", "recovery", "acked-records", "phantom-read", "high-watermark", "single-leader-proposing", "no-crash", "replica-agreement"},
	},
	{
		Bug: CompactBeforeSnapshotDurable, Name: "compact-before-snapshot-durable",
		Source:    "NATS server, commit 4f202b641; KAFKA-16541",
		Mechanism: "the raft log is cut behind a snapshot that was written and not synced",
		Trigger:   "a loss of power after a snapshot",
		Symptom:   "the node cannot start: what its log begins with is torn, and the entries that it covers are gone",
		Checkers:  []string{"no-crash"},
		May:       []string{"recovery"},
		Needs:     "power-loss",
	},
	{
		Bug: NoProducerStateOnFollowers, Name: "no-prod-state-on-followers",
		Source:    "Redpanda #3039, PR 3040",
		Mechanism: "what a broker remembers of idempotent producers is noted by leaders alone, not by followers",
		Trigger:   "a partition's leader dies with requests in flight",
		Symptom:   "what is sent again to the next leader is appended again",
		Checkers:  []string{"no-duplicates"},
	},
	{
		Bug: PIDCounterVolatile, Name: "pid-counter-volatile",
		Source:    "KAFKA-15552, KAFKA-13357",
		Mechanism: "the controller gives producer ids from a counter in its memory, which starts at 0 with it",
		Trigger:   "another controller, or a new boot of it, and then new producers",
		Symptom:   "two producers have one id: the second one's records are taken for duplicates and acknowledged, but not stored",
		Checkers:  []string{"acked-records"},
		May:       []string{"record-order"},
	},
	{
		Bug: PipelinedReorder, Name: "pipelined-reorder",
		Source:    "a Kafka-compatible broker, its commits 717ed07, 19ca2c8 and b75d894",
		Mechanism: "answers on one connection leave as they are ready, not in the order of its requests",
		Trigger:   "none: several requests in flight to partitions of one leader",
		Symptom:   "clients that count on the order take an answer for another request's",
		Checkers:  []string{"record-order"},
	},
	{
		Bug: AckBeforeFsync, Name: "ack-before-fsync",
		Source:    "Jepsen NATS 2.12.1 (flushed every two minutes); KAFKA-10533, etcd #14370",
		Mechanism: "appends to partition logs are not synced before they count as replicated, though the broker promises it",
		Trigger:   "a loss of power of several nodes, or of one that leads afterwards; a killed process leaves its records to the kernel and shows nothing",
		Symptom:   "acknowledged records are gone, or their offsets hold others",
		Checkers:  []string{"acked-records"},
		May:       []string{"phantom-read", "high-watermark", "record-order", "no-duplicates"},
		Needs:     "power-loss",
	},
	{
		Bug: TornTailFatal, Name: "torn-tail-fatal",
		Source:    "etcd #6378, #4012; rabbitmq-server #10808, #2297",
		Mechanism: "a torn last record of a log is an error at the start, where it must be cut: nobody was ever told that it is durable",
		Trigger:   "a loss of power while a log is being written, or a disk that fills up in the middle of a record",
		Symptom:   "the node does not start again",
		Checkers:  []string{"no-crash"},
		May:       []string{"recovery"},
	},
	{
		Bug: LostWakeup, Name: "lost-wakeup",
		Source:    "KAFKA-14334 (a delayed request is not completed when the high watermark moves); a Kafka-compatible broker's commits that stalled until the next write",
		Mechanism: "when the high watermark passes several waiting requests at once, one of them is answered and the others are left waiting",
		Trigger:   "none but load: two writes to one partition that become safe together",
		Symptom:   "writes are answered by later ones, or by their time-out, in quiet as well",
		Checkers:  []string{"latency-quiet"},
		May:       []string{"recovery"},
	},
	{
		Bug: WaiterLeak, Name: "waiter-leak",
		Source:    "nats-server 710423a97 and cbada1b0c (waiters of proposals that are not there any more); KAFKA-9265",
		Mechanism: "who waits for a proposal that was lost with its term is told so by nobody, and stays in memory",
		Trigger:   "the raft leader is cut off or paused, again and again, with proposals of its own under way",
		Symptom:   "the number of requests that wait rises with each loss of leadership, and never falls in quiet",
		Checkers:  []string{"resources"},
		May:       []string{"recovery", "balance", "progress"},
		RealOnly:  true,
	},
	{
		Bug: RetentionAboveHW, Name: "retention-above-hw",
		Source:    "KAFKA-5634 (segments above the high watermark were deleted)",
		Mechanism: "a leader lets go what is old or behind enough bytes up to its log's end, not up to the high watermark",
		Trigger:   "a topic with retention, and a follower that is behind while the leader looks: by load alone, or by a kill or a cut",
		Symptom:   "the log start lies above the high watermark: members of the ISR can never have what was removed",
		Checkers:  []string{"high-watermark"},
		May:       []string{"acked-records", "phantom-read", "replica-agreement", "recovery"},
		Retains:   true,
	},
	{
		Bug: RetentionByFirstRecord, Name: "retention-by-first-record",
		Source:    "derived: a segment goes as a whole, so its age must be that of its last record (Kafka's largestTimestamp)",
		Mechanism: "a segment's age is taken from its first record",
		Trigger:   "a topic with retention by age",
		Symptom:   "records go that are younger than retention.ms, those of a segment that was written to until now among them",
		Checkers:  []string{"acked-records"},
		May:       []string{"phantom-read"},
		Retains:   true,
	},
}

// Retaining reports whether one of the named bugs shows only where a topic lets records go.
func Retaining(names []string) bool {
	return slices.ContainsFunc(Catalogue, func(e Entry) bool { return e.Retains && slices.Contains(names, e.Name) })
}

// Needs lists the kinds of fault that the named bugs cannot show without, each once, sorted. A name that is not in the catalogue needs nothing.
func Needs(names []string) []string {
	var out []string
	for _, e := range Catalogue {
		if e.Needs != "" && slices.Contains(names, e.Name) && !slices.Contains(out, e.Needs) {
			out = append(out, e.Needs)
		}
	}
	slices.Sort(out)
	return out
}

// Parse turns names into a set. An unknown name is an error that tells the known ones.
func Parse(names []string) (Set, error) {
	var s Set
next:
	for _, n := range names {
		for _, e := range Catalogue {
			if e.Name == n {
				s = s.With(e.Bug)
				continue next
			}
		}
		known := make([]string, 0, len(Catalogue))
		for _, e := range Catalogue {
			known = append(known, e.Name)
		}
		sort.Strings(known)
		return 0, fmt.Errorf("unknown bug %q (known: %s)", n, strings.Join(known, ", "))
	}
	return s, nil
}
