package scenario

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"soak/chaos"
	"soak/history"
	"soak/internal/nearest"
	"soak/workloads/gen"
)

// Bounds of what a scenario may ask for: wide enough for a soak of weeks, narrow enough to catch a slip.
const (
	minNodes, maxNodes = 3, 9
	minInterval        = 100 * time.Millisecond
	maxInterval        = time.Hour
	minSession         = 500 * time.Millisecond
	maxDuration        = 90 * 24 * time.Hour
	maxIntervals       = 1_000_000
	maxMinimum         = 1 << 40
	minLifetime        = 100 * time.Millisecond // of a producer
	maxReaders         = 64
)

// Parse reads a scenario. Every error is an *Error that names file, line and column; file is only used for that, and for
// the name of a scenario that has none.
func Parse(file string, src []byte) (*Scenario, error) {
	r := &reader{file: file}
	tree, err := parser.ParseBytes(src, 0)
	if err != nil {
		return nil, syntaxError(file, src, err)
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, &Error{File: file, Line: 1, Col: 1, Msg: "want exactly one YAML document", Hint: "start from `soak scenarios quick`"}
	}
	s := r.scenario(tree.Docs[0].Body)
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

// syntaxError takes the place out of the YAML library's error; its own text spans lines.
func syntaxError(file string, src []byte, err error) *Error {
	out := &Error{File: file, Line: 1, Col: 1, Msg: strings.SplitN(err.Error(), "\n", 2)[0]}
	var y yaml.Error
	if errors.As(err, &y) {
		out.Msg = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			out.Line, out.Col = t.Position.Line, t.Position.Column
		}
	}
	if lines := strings.Split(string(src), "\n"); out.Line <= len(lines) {
		if line := lines[out.Line-1]; strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
			out.Hint = "the line is indented with a tab, and YAML takes spaces alone"
		}
	}
	return out
}

func (r *reader) scenario(n ast.Node) *Scenario {
	o := r.object(n, "the scenario", "name", "description", "nodes", "election_interval", "session_timeout", "flush", "retention_check",
		"intervals", "duration", "steady", "topics", "workloads", "sim", "faults", "mix", "liveness", "minimums")
	base := filepath.Base(r.file)
	s := &Scenario{
		Name:             o.text("name", strings.TrimSuffix(base, filepath.Ext(base))),
		Description:      o.text("description", ""),
		Nodes:            o.number("nodes", 3, minNodes, maxNodes),
		ElectionInterval: o.duration("election_interval", 12*time.Second, minInterval, maxInterval),
		Duration:         o.duration("duration", 0, 0, maxDuration),
		Steady:           o.number("steady", 3, 0, maxIntervals),
	}
	// Said or not, what a written scenario asks for fits into its duration: an executed schedule must be a scenario again.
	fallback := fullSchedule
	if s.Duration > 0 {
		fallback = intervalsOf(s.Duration, s.ElectionInterval, fullSchedule)
	}
	s.Intervals = o.number("intervals", fallback, 0, maxIntervals)
	if s.Intervals == 0 && s.Duration == 0 {
		r.fail(o.at("intervals"), "", "the scenario: intervals: 0 needs a duration: nothing else would end the run")
	}
	if !plainName(s.Name) {
		r.fail(o.at("name"), "", "the scenario: name: %q: want letters, digits, dots, dashes and underscores", s.Name)
	}
	s.SessionTimeout = o.duration("session_timeout", defaultSession(s.ElectionInterval), minSession, maxInterval)
	if s.Flush = o.word("flush", []string{flushSync, FlushNone}); s.Flush == flushSync {
		s.Flush = ""
	}
	s.RetentionCheck = o.duration("retention_check", 0, minRetentionCheck, maxInterval)
	if !s.fits() {
		r.fail(o.at("duration"), "leave one of the two out", "the scenario: %d intervals of %s do not fit into %s", s.Intervals, s.ElectionInterval, s.Duration)
	}
	for i, item := range o.list("topics") {
		s.Topics = append(s.Topics, r.topic(item, fmt.Sprintf("topic %d", i+1), s))
	}
	if len(s.Topics) == 0 || len(s.Topics) > 64 {
		r.fail(o.at("topics"), "topics: [{name: orders, partitions: 6}]", "the scenario: topics: want between 1 and 64 record topics")
	}
	if s.RetentionCheck > 0 && !s.LetsGo() {
		r.fail(o.at("retention_check"), "give a topic retention or retention_bytes, or leave it out", "the scenario: retention_check: no topic lets anything go, so there is nothing to look for")
	}
	if w := o.get("workloads"); w != nil {
		s.Workloads = r.workloads(w)
	}
	if m := o.get("sim"); m != nil {
		s.Sim = r.sim(m, s)
	}
	for i, item := range o.list("faults") {
		s.Faults = append(s.Faults, r.fault(item, fmt.Sprintf("fault %d", i+1), s))
	}
	if l := o.get("liveness"); l != nil {
		s.Liveness = r.liveness(l, s)
	}
	if m := o.get("mix"); m != nil {
		s.Mix = r.mix(m)
	}
	s.Minimums.Intervals = s.Intervals
	if m := o.get("minimums"); m != nil {
		s.Minimums = r.minimums(m, s.Intervals)
	}
	return s
}

// defaultSession is the broker's own default: half the election interval.
func defaultSession(interval time.Duration) time.Duration {
	return max(interval/2, minSession)
}

// plainName reports whether a name can stand in a topic's or a folder's name.
func plainName(name string) bool {
	ok := name != "" && len(name) <= 100 && name != "." && name != ".."
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}
	return ok
}

func (r *reader) workloads(n ast.Node) Workloads {
	var w Workloads
	o := r.object(n, "workloads", "produce", "metadata", "autocreate", "consume")
	if f := o.get("produce"); f != nil {
		p := r.object(f, "produce", "rate", "producers", "batch", "value_bytes", "idempotent", "lifetime")
		w.Produce = Produce{
			Rate:       p.number("rate", 500, 0, 1_000_000),
			Producers:  p.number("producers", 4, 1, 256),
			Batch:      p.number("batch", 5, 1, 1000),
			ValueBytes: p.number("value_bytes", 256, gen.HeaderSize, gen.MaxValue),
			Idempotent: p.flag("idempotent"),
			Lifetime:   p.duration("lifetime", 0, minLifetime, maxDuration),
		}
		if w.Produce.Lifetime > 0 && !w.Produce.Idempotent {
			r.fail(p.at("lifetime"), "idempotent: true", "produce: lifetime: only idempotent producers come and go")
		}
	}
	if f := o.get("metadata"); f != nil {
		m := r.object(f, "metadata", "rate", "clients", "names")
		w.Metadata = Metadata{
			Rate:    m.number("rate", 12, 0, 10_000),
			Clients: m.number("clients", 6, 2, 64),
			Names:   m.number("names", 4, 1, 64),
		}
	}
	if f := o.get("autocreate"); f != nil {
		a := r.object(f, "autocreate", "per_minute")
		w.Autocreate = Autocreate{PerMinute: a.number("per_minute", 60, 0, 6000)}
	}
	if f := o.get("consume"); f != nil {
		c := r.object(f, "consume", "readers")
		w.Consume = Consume{Readers: c.number("readers", DefaultSim.Readers, 1, maxReaders)}
	}
	return w
}

func (r *reader) fault(n ast.Node, what string, s *Scenario) Fault {
	o := r.object(n, what, "kind", "target", "at", "when", "for", "brief", "clients", "way", "every", "factor", "by", "ppm", "files", "jitter", "bytes_per_second", "overlap", "nodes", "role")
	f := Fault{
		Kind:    o.word("kind", kinds),
		Target:  o.text("target", ""),
		At:      o.span("at"),
		When:    o.word("when", whens),
		For:     o.span("for"),
		Brief:   o.flag("brief"),
		Clients: o.flag("clients"),
		Parameters: chaos.Parameters{
			Way:    o.word("way", ways),
			Every:  o.duration("every", 0, 10*time.Millisecond, maxInterval),
			Factor: int64(o.number("factor", 0, 1, 1_000_000)),
			By:     o.duration("by", 0, -maxInterval, maxInterval),
			PPM:    int64(o.number("ppm", 0, -500_000, 500_000)),
			Files:  o.word("files", fileClasses),

			Jitter:         o.duration("jitter", 0, 0, maxInterval),
			BytesPerSecond: int64(o.number("bytes_per_second", 0, 1000, 1<<40)),
		},
		Overlap: o.flag("overlap"),
		Role:    o.text("role", ""),
	}
	if f.Kind == "" {
		r.fail(o.at("kind"), "kinds: "+strings.Join(kinds, ", "), "%s: kind is missing", what)
	}
	if o.get("at") == nil && f.When == "" {
		r.fail(n, "at: 3.3 (intervals), or when: leader_check", "%s: says neither at nor when", what)
	}
	if f.Target == "" && (f.Kind == chaos.RestartAll || f.Kind == chaos.AllApart || f.Kind == chaos.Rolling) {
		f.Target = TargetAll
	}
	for _, item := range o.list("nodes") {
		nodes := object{r: r, node: item, what: what, fields: nil}
		id, err := nodeID(item)
		if err != nil || id < 1 || id > int32(s.Nodes) {
			r.fail(nodes.node, "", "%s: nodes: want ids between 1 and %d", what, s.Nodes)
		}
		f.Nodes = append(f.Nodes, id)
	}
	r.checkFault(o, f, what, s)
	return f
}

func nodeID(n ast.Node) (int32, error) {
	v, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, errors.New("not a number")
	}
	var id int32
	_, err := fmt.Sscan(v.GetToken().Value, &id)
	return id, err
}

// checkFault refuses what cannot be: targets that this cluster does not have, and parameters of other kinds.
func (r *reader) checkFault(o object, f Fault, what string, s *Scenario) {
	if r.err != nil {
		return
	}
	known := []string{TargetRaftLeader, TargetFollower, TargetPartitionLeader, TargetAll}
	t, err := ParseTarget(f.Target)
	if err != nil {
		hint := "targets: " + strings.Join(known, ", ") + ", leader(orders-0), n2, n1+n3; of client-crash: clients, produce-1"
		if near := nearest.Word(f.Target, known); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		if f.Target == "" {
			err = errors.New("it has no target")
		}
		r.fail(o.at("target"), hint, "%s: %v", what, err)
		return
	}
	if msg := s.targetProblem(t); msg != "" {
		r.fail(o.at("target"), "", "%s: target %q: %s", what, f.Target, msg)
	}
	switch {
	case f.Kind == chaos.RestartAll && t.Role != TargetAll:
		r.fail(o.at("target"), "leave target out", "%s: restart-all has the target all", what)
	case f.Kind == chaos.Partition && t.Role == TargetAll:
		r.fail(o.at("target"), "partition one node, or kind: all-apart", "%s: a partition of all nodes leaves nobody on the other side", what)
	case f.Kind == chaos.AllApart && t.Role != TargetAll:
		r.fail(o.at("target"), "leave target out, or kind: bridge for one pair", "%s: all-apart has the target all", what)
	case f.Clients && !chaos.TakesClients(f.Kind):
		r.fail(o.at("clients"), "", "%s: clients belongs to a fault of links between nodes", what)
	case (f.Kind == chaos.ClientCrash) != (t.Role == targetClient):
		if f.Kind == chaos.ClientCrash {
			r.fail(o.at("target"), "target: produce-1, metadata-1, consume-1, autocreate, or clients for all of them", "%s: a client-crash is of clients, and %q is none", what, f.Target)
		} else {
			r.fail(o.at("target"), "", "%s: %q is a client: only client-crash is of clients", what, f.Target)
		}
	case f.Kind == chaos.Bridge && len(t.Nodes) != 2:
		r.fail(o.at("target"), "target: n1+n2", "%s: a bridge cuts one pair of nodes", what)
	}
	r.checkParameters(o, f, what)
}

// targetProblem says why a target cannot be in this scenario's cluster, "" if it can.
func (s *Scenario) targetProblem(t Target) string {
	switch t.Role {
	case "node":
		if int(t.Node) > s.Nodes {
			return fmt.Sprintf("the cluster has %d nodes", s.Nodes)
		}
	case "nodes":
		if last := t.Nodes[len(t.Nodes)-1]; int(last) > s.Nodes {
			return fmt.Sprintf("the cluster has %d nodes", s.Nodes)
		}
	case "leader":
		for _, topic := range s.Topics {
			if topic.Name == t.Topic && t.Partition < topic.Partitions {
				return ""
			}
		}
		return "no record topic has that partition"
	case targetClient:
		return s.clientProblem(t.Client)
	}
	return ""
}

// clientProblem says why a client is none of this scenario's, "" if it is one.
func (s *Scenario) clientProblem(client string) string {
	kind, number, _ := gen.ParseClient(client)
	w := s.Workloads
	have := 0
	switch kind {
	case gen.AllClients:
		return ""
	case gen.AutocreateClient:
		if w.Autocreate.PerMinute == 0 {
			return "nothing is auto-created"
		}
		return ""
	case gen.ProducerClient:
		if w.Produce.Rate > 0 {
			have = w.Produce.Producers
		}
	case gen.MetadataClient:
		if w.Metadata.Rate > 0 {
			have = w.Metadata.Clients
		}
	case gen.ConsumerClient:
		have = s.Machine().Readers
	}
	if number > have {
		return fmt.Sprintf("the scenario has %d clients of that kind", have)
	}
	return ""
}

func (r *reader) minimums(n ast.Node, intervals int) history.Minimums {
	o := r.object(n, "minimums", "intervals", "faults", "long_faults", "leader_faults", "leader_changes",
		"acked_records", "metadata_operations", "metadata_overlaps", "auto_created")
	return history.Minimums{
		Intervals:     o.number("intervals", intervals, 0, maxIntervals),
		Faults:        o.number("faults", 0, 0, maxIntervals),
		LongFaults:    o.number("long_faults", 0, 0, maxIntervals),
		LeaderFaults:  o.number("leader_faults", 0, 0, maxIntervals),
		LeaderChanges: o.number("leader_changes", 0, 0, maxIntervals),
		AckedRecords:  o.number("acked_records", 0, 0, maxMinimum),
		MetaOps:       o.number("metadata_operations", 0, 0, maxMinimum),
		MetaOverlaps:  o.number("metadata_overlaps", 0, 0, maxMinimum),
		AutoCreated:   o.number("auto_created", 0, 0, maxMinimum),
	}
}
