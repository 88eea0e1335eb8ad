package gate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"soak/checkers"
	"soak/history"
	"soak/internal/nearest"
	"soak/results"
	"soak/results/measure"
)

// Bounds of a gate file: wide enough for any release, narrow enough to catch a slip.
const (
	maxFile        = 1 << 20
	maxRepetitions = 1000
	maxRetry       = 10
)

// drivers that a gate may name. auto is none: what it would choose depends on the machine, and a gate must not go on testing less.
var drivers = []string{"docker", "process", "sim"}

// Load reads a gate file. Every error is a *results.Problem that names the line. now is what known failures are held against.
func Load(path string, now time.Time) (*Plan, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, &results.Problem{Msg: "reading the gate file", Err: err, Hint: "docs/gate.md shows one"}
	case !info.Mode().IsRegular() || info.Size() > maxFile:
		return nil, &results.Problem{Msg: path + " is no gate file", Hint: "docs/gate.md shows one"}
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, &results.Problem{Msg: "reading the gate file", Err: err, Hint: "docs/gate.md shows one"}
	}
	return Parse(path, src, now)
}

func problem(file string, line, col int, msg, hint string) *results.Problem {
	at := file + ": "
	if line > 0 {
		at = fmt.Sprintf("%s:%d:%d: ", file, line, col)
	}
	return &results.Problem{Msg: at + msg, Hint: hint}
}

// Parse reads a gate file's text.
func Parse(file string, src []byte, now time.Time) (*Plan, error) {
	tree, err := parser.ParseBytes(src, 0)
	if err != nil {
		return nil, syntax(file, err)
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, problem(file, 1, 1, "want exactly one YAML document", "docs/gate.md shows one")
	}
	r := &reader{file: file, now: now}
	p := r.plan(tree.Docs[0].Body)
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

func syntax(file string, err error) error {
	msg, line, col := strings.SplitN(err.Error(), "\n", 2)[0], 1, 1
	var y yaml.Error
	if errors.As(err, &y) {
		msg = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			line, col = t.Position.Line, t.Position.Column
		}
	}
	hint := "docs/gate.md shows a gate file"
	if strings.Contains(msg, "cannot start any token") { // what the parser says of a tab
		hint = "indent by spaces, not by tabs; " + hint
	}
	return problem(file, line, col, msg, hint)
}

func (r *reader) plan(n ast.Node) *Plan {
	o := r.object(n, "the gate", "name", "scenarios", "drivers", "repetitions", "seeds", "thresholds", "time_budget", "retry_inconclusive", "known_failures")
	base := filepath.Base(r.file)
	p := &Plan{
		File: r.file, Name: o.text("name", strings.TrimSuffix(base, filepath.Ext(base))),
		Budget: o.duration("time_budget"), budgetLine: line(o.get("time_budget")), Retry: o.number("retry_inconclusive", 0, 0, maxRetry),
	}
	common := Entry{Drivers: r.drivers(o), Repetitions: o.number("repetitions", 0, 1, maxRepetitions), Seeds: r.seeds(o), Thresholds: r.thresholds(o)}
	items := o.list("scenarios")
	for i, item := range items {
		p.Entries = append(p.Entries, r.entry(item, fmt.Sprintf("scenario %d", i+1), common))
	}
	if len(items) == 0 {
		r.fail(o.at("scenarios"), "scenarios: [quick]", "the gate: scenarios: want at least one")
	}
	for i, item := range o.list("known_failures") {
		p.Known = append(p.Known, r.known(item, fmt.Sprintf("known failure %d", i+1)))
	}
	return p
}

// entry is a scenario's name, or an object with more.
func (r *reader) entry(n ast.Node, what string, common Entry) Entry {
	e := common
	e.Line = line(n)
	if s, ok := n.(*ast.StringNode); ok {
		e.Scenario = s.Value
		return r.settle(e, n, what)
	}
	o := r.object(n, what, "scenario", "drivers", "repetitions", "seeds", "bugs", "intervals", "duration", "minimums", "thresholds")
	e.Scenario = o.text("scenario", "")
	if o.get("drivers") != nil {
		e.Drivers = r.drivers(o)
	}
	if o.get("repetitions") != nil {
		e.Repetitions = o.number("repetitions", 0, 1, maxRepetitions)
		if o.get("seeds") == nil && len(e.Seeds) != e.Repetitions {
			e.Seeds = nil // the file's are not for it
		}
	}
	if o.get("seeds") != nil {
		e.Seeds = r.seeds(o)
		if o.get("repetitions") == nil {
			e.Repetitions = len(e.Seeds)
		}
	}
	e.Bugs = o.words("bugs")
	e.Intervals, e.Duration = o.number("intervals", 0, 1, 1_000_000), o.duration("duration")
	if m := o.get("minimums"); m != nil {
		e.Minimums = r.minimums(m, what)
	}
	e.Thresholds = merged(common.Thresholds, r.thresholds(o))
	return r.settle(e, n, what)
}

// settle checks an entry as a whole.
func (r *reader) settle(e Entry, n ast.Node, what string) Entry {
	if e.Repetitions == 0 {
		e.Repetitions = max(1, len(e.Seeds))
	}
	switch {
	case e.Scenario == "":
		r.fail(n, "scenario: quick", "%s: it names no scenario", what)
	case len(e.Drivers) == 0:
		r.fail(n, "drivers: [process]; known: "+strings.Join(drivers, ", "), "%s: no driver is named, neither here nor for all", what)
	case len(e.Seeds) > 0 && len(e.Seeds) != e.Repetitions:
		r.fail(n, "give one seed a repetition, or leave one of the two out", "%s: %d seeds for %d repetitions", what, len(e.Seeds), e.Repetitions)
	}
	for _, t := range e.Thresholds {
		if slices.Contains(e.Drivers, "sim") && measure.OfMachines(t.Measure.Name) {
			r.fail(n, "give it to scenarios on docker or process alone", "%s: threshold on %s: a run on sim has no machine to measure, and so could never meet it", what, t.Measure.Name)
		}
	}
	return e
}

// merged puts an entry's own thresholds in the place of the file's on the same measure.
func merged(common, own []Threshold) []Threshold {
	var out []Threshold
	for _, t := range common {
		if !slices.ContainsFunc(own, func(o Threshold) bool { return o.Measure.Name == t.Measure.Name }) {
			out = append(out, t)
		}
	}
	return append(out, own...)
}

func (r *reader) drivers(o object) []string {
	var out []string
	for _, n := range o.list("drivers") {
		d := r.word(n, o.what+": drivers")
		switch {
		case d == "auto":
			r.fail(n, "known: "+strings.Join(drivers, ", "), "%s: drivers: auto is refused: what it chooses depends on the machine, and a gate that lost its engine must not test less", o.what)
		case !slices.Contains(drivers, d):
			r.fail(n, "known: "+strings.Join(drivers, ", "), "%s: unknown driver %q", o.what, d)
		case slices.Contains(out, d):
			r.fail(n, "name it once; repetitions says how often", "%s: driver %s is named twice", o.what, d)
		}
		out = append(out, d)
	}
	return out
}

func (r *reader) seeds(o object) []uint64 {
	var out []uint64
	for _, n := range o.list("seeds") {
		out = append(out, r.unsigned(n, o.what+": seeds"))
	}
	return out
}

// thresholds are a mapping of measures to a condition, or to several.
func (r *reader) thresholds(o object) []Threshold {
	n := o.get("thresholds")
	if n == nil {
		return nil
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.fail(n, `thresholds: {latency_p99: "<250ms"}`, "%s: thresholds: want measures and their conditions", o.what)
		return nil
	}
	var out []Threshold
	for _, field := range m.Values {
		name := r.word(field.Key, o.what+": thresholds")
		d, known := measure.Find(name)
		if !known {
			hint := "measures: " + strings.Join(measure.Names(), ", ")
			if near := nearest.Word(name, measure.Names()); near != "" {
				hint = fmt.Sprintf("did you mean %q? docs/compare.md lists the measures", near)
			}
			r.fail(field.Key, hint, "%s: unknown measure %q", o.what, name)
			return nil
		}
		conditions := []ast.Node{field.Value}
		if s, several := field.Value.(*ast.SequenceNode); several {
			conditions = s.Values
		}
		for _, c := range conditions {
			t, err := parseThreshold(d, r.word(c, name))
			if err != nil {
				r.fail(c, fmt.Sprintf("write it as %s", example(d)), "%s: threshold on %s: %v", o.what, name, err)
			}
			out = append(out, t)
		}
	}
	return out
}

func example(d measure.Definition) string {
	op := "<"
	if d.Better == measure.Higher {
		op = ">"
	}
	value := map[measure.Unit]string{measure.Seconds: "250ms", measure.Bytes: "256MiB", measure.Share: "1%"}[d.Unit]
	if value == "" {
		value = "400"
	}
	return fmt.Sprintf(`%s: "%s%s"`, d.Name, op, value)
}

func (r *reader) minimums(n ast.Node, what string) history.Minimums {
	o := r.object(n, what+": minimums", "intervals", "faults", "long_faults", "leader_faults", "leader_changes", "acked_records", "metadata_operations", "metadata_overlaps", "auto_created")
	at := func(name string) int { return o.number(name, 0, 1, 1<<40) }
	return history.Minimums{Intervals: at("intervals"), Faults: at("faults"), LongFaults: at("long_faults"), LeaderFaults: at("leader_faults"), LeaderChanges: at("leader_changes"),
		AckedRecords: at("acked_records"), MetaOps: at("metadata_operations"), MetaOverlaps: at("metadata_overlaps"), AutoCreated: at("auto_created")}
}

func (r *reader) known(n ast.Node, what string) Known {
	o := r.object(n, what, "signature", "owner", "expires", "why")
	k, err := parseSignature(o.text("signature", ""))
	if err != nil {
		r.fail(o.at("signature"), "signature: no-crash/panic @ kill, as soak list --findings and verdicts show it; without a place it matches any", "%s: %v", what, err)
		return k
	}
	var ids []string
	for _, c := range checkers.List() {
		ids = append(ids, c.ID)
	}
	if !slices.Contains(ids, k.Checker) {
		hint := "soak checkers lists them"
		if near := nearest.Word(k.Checker, ids); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		r.fail(o.at("signature"), hint, "%s: unknown checker %q", what, k.Checker)
	}
	k.Owner, k.Why = o.text("owner", ""), o.text("why", "")
	if k.Owner == "" {
		r.fail(n, "owner: who answers for it", "%s: it has no owner", what)
	}
	day, err := time.Parse("2006-01-02", o.text("expires", ""))
	switch {
	case err != nil:
		r.fail(o.at("expires"), "expires: 2026-12-31", "%s: expires: want a day", what)
	case !r.now.Before(day.AddDate(0, 0, 1)):
		r.fail(o.at("expires"), "mend what fails, or let its owner set another day", "%s: %s expired on %s (owner: %s)", what, k.Signature(), day.Format("2006-01-02"), k.Owner)
	}
	k.Until = day.AddDate(0, 0, 1)
	return k
}
