package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"soak/checkers"
	"soak/history"
	"soak/internal/version"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var pageTemplate = template.Must(template.New("report").Parse(pageSource))

// page is what page.html shows.
type page struct {
	CSP        string
	Style      template.CSS
	Script     template.JS
	Patterns   template.HTML
	Title      string
	Word       string // HOLDS
	Class      string // holds, violated, inconclusive, unjudged
	Shape      string // that stands for the outcome without colour
	Sentence   string
	Because    []string // what else a stranger must know of the verdict
	Checkers   []checkerRow
	Planted    []string // bugs
	Commands   []command
	Holding    []checkerRow // checkers that need no attention
	Facts      [][2]string
	Missing    []string
	Notes      []string
	Timeline   Timeline
	Downsample []string
	Hover      template.JS
	Stories    []storyPage
	Others     []otherViolation
	OthersLeft int
	Coverage   []measureRow
	Other      []measureRow
	Matrix     matrix
	Recovery   recoveryPage
	Latency    latencyPage
	Faults     []faultRow
	Version    string
}

type checkerRow struct {
	ID, What, Class, Word, Shape, Reason, Checked string
	Story                                         int  // number of its first story, 0 if it has none
	Open                                          bool // neither holds nor is out of place: what it makes sure of is told
}

// command is one that takes a reader further.
type command struct{ Line, What string }

// Draw draws a run. What cannot be read is named on the page; an error is one of the drawing itself.
func Draw(in Input) (out []byte, err error) {
	// A picture that fails must not take its caller down: it draws beside a verdict.
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("drawing the report: %v", r)
		}
	}()
	c := collect(in)
	for c.squeeze = 1; ; c.squeeze *= 2 {
		var b bytes.Buffer
		if err := pageTemplate.Execute(&b, c.page()); err != nil {
			return nil, fmt.Errorf("drawing the report: %w", err)
		}
		if b.Len() <= maxPage || c.squeeze >= mostSqueezed {
			return b.Bytes(), nil
		}
	}
}

// maxPage bounds a page, in bytes. One that would be larger is drawn again with half of what it may show of each sort.
const maxPage = 2_000_000

// mostSqueezed is when a page is taken as it is: what is left of each sort is then a sixteenth.
const mostSqueezed = 16

// room is what a bound leaves on a page that was squeezed, and no less than least.
func (c *collected) room(bound, least int) int { return max(bound/max(c.squeeze, 1), least) }

// shown are the stories that the page has room for.
func (c *collected) shown() []*story { return c.stories[:min(len(c.stories), c.room(maxStories, 2))] }

func (c *collected) page() *page {
	v := version.Get()
	p := &page{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript), Patterns: patterns,
		CSP:   fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'", digest(pageStyle), digest(pageScript)),
		Title: strings.TrimSpace(c.Run.Scenario + " on " + c.Run.Driver), Planted: c.Run.Bugs, Commands: c.commands(), Facts: c.facts(), Version: v.Version,
	}
	if p.Title == "on" {
		p.Title = "a run"
	}
	p.Word, p.Class, p.Shape = "NOT JUDGED", "unjudged", "–"
	if c.Report != nil {
		p.Word, p.Class, p.Shape = outcomeWords(c.Report.Outcome)
		p.Checkers, p.Holding = c.checkerRows()
	}
	p.Sentence, p.Because = c.sentence()
	p.Timeline = drawTimeline(c)
	p.Stories = c.storyPages()
	p.Others, p.OthersLeft = c.otherViolations()
	p.Coverage, p.Other = c.measureRows()
	p.Matrix = c.matrix()
	p.Recovery = c.recoveryPage()
	p.Latency = c.latencyPage()
	p.Faults = c.faultRows()
	p.Downsample = c.downsampled(p.Timeline.Thinned)
	hover, err := json.Marshal(c.hover())
	if err != nil { // numbers alone
		panic(err)
	}
	p.Hover = template.JS(hover)
	p.Missing = append(slices.Clone(c.notes), p.Timeline.Left...)
	if c.Report != nil {
		p.Notes = c.Report.Notes
	}
	return p
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// outcomeWords are an outcome's word, its class and a shape that says it without colour.
func outcomeWords(o checkers.Outcome) (word, class, shape string) {
	text, err := o.MarshalText()
	if err != nil {
		text = []byte("inconclusive")
	}
	shape = map[checkers.Outcome]string{checkers.Holds: "✓", checkers.Violated: "✗", checkers.Inconclusive: "?", checkers.NotApplicable: "–"}[o]
	return o.String(), string(text), shape
}

// sentence is the verdict for somebody who knows nothing of the checkers.
func (c *collected) sentence() (string, []string) {
	var because []string
	if c.Run.HarnessError != "" {
		because = append(because, "The harness failed: "+c.Run.HarnessError)
	}
	if c.Run.Interrupted != "" {
		because = append(because, "The run was ended early by "+c.Run.Interrupted+".")
	}
	if c.Report == nil {
		return "Nobody has judged this run yet: it ended, or was ended, before the checkers had read it.", append(because, "soak check judges it.")
	}
	switch c.Report.Outcome {
	case checkers.Violated:
		if text := c.lostInAll(); text != "" {
			because = append(because, text)
		}
		return c.violatedSentence(), because
	case checkers.Holds:
		return c.holdsSentence(), because
	}
	return "This run proves nothing yet: " + c.Report.Sentence + ".", append(because, "Nothing wrong was found, but not enough was seen to say that all is well.")
}

func (c *collected) violatedSentence() string {
	broken, total := 0, int64(0)
	var first *checkers.Verdict
	for i := range c.Report.Verdicts {
		v := &c.Report.Verdicts[i]
		if v.Outcome != checkers.Violated {
			continue
		}
		if broken++; first == nil {
			first = v
		}
		total += max(int64(len(v.Violations)), measure(v, "violations"))
	}
	if first == nil || len(first.Violations) == 0 {
		return "The cluster broke a promise: " + c.Report.Sentence + "."
	}
	x := first.Violations[0]
	about := concernOf(first.Checker, map[string]bool{violationKey(&x): true})
	text := "The cluster broke a promise: " + strings.TrimSuffix(shortIDs(x.Sentence), ".") + "."
	if x.Time != 0 && !strings.Contains(text, " at "+seconds(x.Time-c.from)) {
		text += " That was " + seconds(x.Time-c.from) + " after the start."
	}
	if names := c.faultWords(x.Faults, about); names != "" {
		text += " It was during " + names + "."
	} else if x.Time != 0 {
		text += " " + upper(c.noFaultWords(x.Time, about)) + "."
	}
	if total > 1 {
		text += fmt.Sprintf(" %s in all, found by %s.", plural(total, "violation"), plural(int64(broken), "checker"))
	}
	return text
}

func measure(v *checkers.Verdict, name string) int64 {
	for _, m := range v.Measures {
		if m.Name == name {
			return m.Seen
		}
	}
	return 0
}

// concern is what a reader is told about: partitions and topics by their names, and whether the leaders of partitions have a part in it at all.
type concern struct {
	keys    map[string]bool
	without bool // of the metadata log, or of raft's leadership: who leads partitions has no part in it
}

func concernOf(checker string, keys map[string]bool) concern {
	switch checker {
	case checkers.LinearizableMetadata, checkers.MetadataAgreement, checkers.SingleLeaderProposing, checkers.ZeroProposalErrors:
		return concern{keys, true}
	}
	return concern{keys, false}
}

// faultWords are the faults of a violation.
func (c *collected) faultWords(ids []int, about concern) string {
	var out []string
	for _, id := range ids {
		for i := range c.faults {
			if c.faults[i].ID == id {
				out = append(out, fmt.Sprintf("fault %d: %s", id, c.says(&c.faults[i], about)))
			}
		}
	}
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("%d other faults", len(out)-3))
	}
	return strings.Join(out, ", ")
}

// faultKinds are names of faults that would be mistaken: a topic has partitions, too.
var faultKinds = map[string]string{
	"partition": "network partition", "partition-one-way": "one-way network partition", "partition-clients": "network partition (clients only)",
	"flapping-partition": "flapping network partition",
}

// faultWords say what a fault was.
func faultWords(f *history.Fault) string {
	words := f.Plain()
	if kind := faultKinds[f.Kind]; kind != "" {
		words = kind + strings.TrimPrefix(words, f.Kind)
	}
	return words
}

// withoutPartitions is a fault whose target is not named by the partitions that it leads, but as raft's leader where it was that.
func withoutPartitions(f *history.Fault) *history.Fault {
	g := *f
	switch {
	case f.OnRaftLeader && len(f.Nodes) == 1:
		g.Target = "raft-leader"
	case len(f.Nodes) > 0 && (f.Target == "partition-leader" || strings.HasPrefix(f.Target, "leader(")):
		g.Target = ""
	}
	return &g
}

// says adds the partitions that a node led when the fault hit it, those first that the reader is told about.
func (c *collected) says(f *history.Fault, about concern) string {
	if about.without {
		return faultWords(withoutPartitions(f))
	}
	words := faultWords(f)
	if len(f.Nodes) != 1 || f.Asked == 0 {
		return words
	}
	var leads []string
	more := 0
	for p, list := range c.states.placings {
		if leaderAt(list, f.Asked) == f.Nodes[0] {
			leads = append(leads, p.String())
		}
	}
	if len(leads) == 0 || len(leads) == 1 && f.Target == "leader("+leads[0]+")" {
		return words
	}
	slices.SortFunc(leads, func(a, b string) int {
		return cmp.Or(cmp.Compare(btoi(about.keys[b]), btoi(about.keys[a])), strings.Compare(a, b))
	})
	if len(leads) > 3 {
		leads, more = leads[:3], len(leads)-3
	}
	words += ", which led " + strings.Join(leads, ", ")
	if more > 0 {
		words += fmt.Sprintf(" and %d more", more)
	}
	return words
}

// upper begins a sentence.
func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// aftermath is how long after a fault's end it is still named beside what goes wrong.
const aftermath = int64(10e9)

// noFaultWords say that no fault was active at an instant, and which one had just ended: what breaks often breaks as a fault ends.
func (c *collected) noFaultWords(at int64, about concern) string {
	if at == 0 {
		return "not tied to a fault"
	}
	words := "no fault was active"
	var last *history.Fault
	for i := range c.faults {
		f := &c.faults[i]
		if f.Proven() && f.Healed != 0 && f.Healed <= at && at-f.Healed <= aftermath && (last == nil || f.Healed > last.Healed) {
			last = f
		}
	}
	if last != nil {
		words += fmt.Sprintf(" (fault %d, %s, had ended %s before)", last.ID, c.says(last, about), lengthWords(at-last.Healed))
	}
	return words
}

func (c *collected) holdsSentence() string {
	holds := 0
	for _, v := range c.Report.Verdicts {
		if v.Outcome == checkers.Holds {
			holds++
		}
	}
	proven := 0
	for i := range c.faults {
		if c.faults[i].Proven() {
			proven++
		}
	}
	disturbed := "left alone"
	if proven > 0 {
		disturbed = fmt.Sprintf("disturbed by %s", plural(int64(proven), "proven fault"))
	}
	text := fmt.Sprintf("For %s this cluster of %s, %s, kept every promise that was checked: %s found nothing wrong", lengthWords(c.to-c.from),
		plural(int64(len(c.nodes)), "node"), disturbed, plural(int64(holds), "checker"))
	if c.acked > 0 {
		text += fmt.Sprintf(" in %s", plural(c.acked, "acknowledged record"))
	}
	text += "."
	var missed []string
	if c.failed > 0 {
		missed = append(missed, count(c.failed)+" failed")
	}
	if c.unknown > 0 {
		missed = append(missed, count(c.unknown)+" of unknown outcome")
	}
	if len(missed) > 0 {
		text += " Other records were not acknowledged (" + strings.Join(missed, ", ") + "): an operation may fail, or stay without an answer, while faults are on; what was acknowledged must not be lost."
	}
	return text
}

// checkerRows are the checkers that need attention, all of them where none does, and the others.
func (c *collected) checkerRows() (rows, others []checkerRow) {
	for _, v := range c.Report.Verdicts {
		r := checkerRow{ID: v.Checker, What: explains(v.Checker), Reason: shortIDs(v.Reason), Checked: count(v.Checked) + " " + v.CheckedWhat}
		r.Word, r.Class, r.Shape = outcomeWords(v.Outcome)
		r.Word = strings.ToLower(r.Word)
		for _, s := range c.shown() {
			if s.checker == v.Checker || s.cause != nil && slices.ContainsFunc(s.cause.list, func(m causeMember) bool { return m.checker == v.Checker }) {
				r.Story = s.number
				break
			}
		}
		r.Open = v.Outcome == checkers.Violated || v.Outcome == checkers.Inconclusive
		rows = append(rows, r)
	}
	// What needs attention first; within an outcome the order is that of every report.
	order := map[string]int{"violated": 0, "inconclusive": 1, "holds": 2, "not-applicable": 3}
	slices.SortStableFunc(rows, func(a, b checkerRow) int { return cmp.Compare(order[a.Class], order[b.Class]) })
	if n := slices.IndexFunc(rows, func(r checkerRow) bool { return !r.Open }); n > 0 {
		return rows[:n], rows[n:]
	}
	return rows, nil
}

// commands are those to type next: the run again, and of a simulated failure the least that it takes.
func (c *collected) commands() []command {
	line := c.reproduce()
	if line == "" {
		return nil
	}
	what := "does the run again: the same schedule of faults, though not the same instants in between"
	switch {
	case strings.HasPrefix(line, "soak replay"):
		what = "does the run again, bit for bit; --trace all shows each step"
	case c.Run.Driver == "sim":
		what = "does the run again"
	}
	out := []command{{line, what}}
	if c.Report == nil || c.Report.Outcome != checkers.Violated || c.Dir == "" {
		return out
	}
	out = append(out, command{"soak shrink " + quote(c.Dir), "looks for the fewest faults that still break it, and tells them as a story"})
	if c.Run.Driver != "sim" {
		out[1].What = "looks in the simulator for the fewest faults that still break it, where the simulator knows all that the schedule holds"
	}
	return out
}

// reproduce is the command that does the run again.
func (c *collected) reproduce() string {
	r := c.Run
	whole := false
	for _, p := range r.Phases {
		whole = whole || p.Name == "drain" && p.End != 0
	}
	if r.ID == "" && r.Scenario == "" {
		return ""
	}
	if r.SimHash != 0 && whole {
		return "soak replay " + quote(c.Dir)
	}
	words := []string{"soak", "run"}
	switch {
	case whole && c.hasSchedule():
		words = append(words, quote(c.Dir+"/schedule.yaml"))
	case len(r.Command) > 2 && r.Command[1] == "run":
		// Ended early: its schedule holds what the end cut off, so it is asked for as it was the first time.
		for _, w := range r.Command[2:] {
			words = append(words, quote(w))
		}
		line := strings.Join(words, " ")
		if !strings.Contains(line, "--seed") {
			line += fmt.Sprintf(" --seed %d", r.Seed)
		}
		return line
	default:
		words = append(words, quote(r.Scenario))
	}
	if r.Driver != "" {
		words = append(words, "--driver", quote(r.Driver))
	}
	words = append(words, "--seed", fmt.Sprint(r.Seed))
	for _, b := range r.Bugs {
		words = append(words, "--bug", quote(b))
	}
	return strings.Join(words, " ")
}

// quote writes a word for a shell.
func quote(w string) string {
	plain := w != ""
	for _, r := range w {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%", r)) {
			plain = false
		}
	}
	if plain {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

func (c *collected) facts() [][2]string {
	r := c.Run
	var out [][2]string
	add := func(name, value string) {
		if strings.TrimSpace(value) != "" {
			out = append(out, [2]string{name, value})
		}
	}
	add("run", r.ID)
	add("scenario", r.Scenario)
	driver := r.Driver
	if r.DriverWhy != "" {
		driver += " (" + r.DriverWhy + ")"
	}
	add("driver", driver)
	if r.ID != "" {
		add("seed", fmt.Sprint(r.Seed))
	}
	if r.ID != "" {
		add("planted bugs", cmp.Or(strings.Join(r.Bugs, ", "), "none"))
	}
	add("soak", strings.TrimSpace(r.Version+commitWords(r.Commit)))
	if c.from > 0 {
		add("start", utc(c.from))
	}
	add("length", lengthWords(c.to-c.from))
	if len(c.nodes) > 0 {
		nodes := plural(int64(len(c.nodes)), "node")
		if r.ElectionInterval > 0 {
			nodes += fmt.Sprintf(", election interval %s, session time-out %s", time.Duration(r.ElectionInterval), time.Duration(r.SessionTimeout))
		}
		add("cluster", nodes)
	}
	add("promised", contractWords(r.Contract))
	m := r.Machine
	if m.OS != "" {
		add("machine", fmt.Sprintf("%s/%s, %s, %s, kernel %s", m.OS, m.Arch, plural(int64(m.CPUs), "core"), bytesWords(m.Memory), m.Kernel))
	}
	records := count(c.acked) + " acknowledged"
	if c.failed > 0 {
		records += ", " + count(c.failed) + " failed"
	}
	if c.unknown > 0 {
		records += ", " + count(c.unknown) + " of unknown outcome"
	}
	add("records", records)
	add("noise", strings.Join(r.Noise, ", "))
	return out
}

func commitWords(commit string) string {
	if commit == "" || commit == "unknown" {
		return ", commit not known"
	}
	return ", commit " + commit[:min(len(commit), 12)]
}

func contractWords(k history.Contract) string {
	var out []string
	switch k.Acks {
	case -1:
		out = append(out, "acks=all")
	case 1:
		out = append(out, "acks=1")
	}
	if k.MinISR > 0 {
		out = append(out, fmt.Sprintf("min.insync.replicas %d", k.MinISR))
	}
	if k.Idempotent {
		out = append(out, "idempotent producers")
	}
	if k.Flush != "" {
		out = append(out, "flush "+k.Flush)
	}
	if k.Unclean {
		out = append(out, "unclean election allowed")
	}
	return strings.Join(out, ", ")
}

func utc(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000 UTC") }

// downsampled says what was merged, and how.
func (c *collected) downsampled(thinned int) []string {
	out := []string{fmt.Sprintf("Throughput, errors, latency and memory are drawn in cells of %s: counts are sums over a cell, p50 and p99 are those of its sends (to 7 percent), maxima are exact.",
		lengthWords(c.cells.width))}
	if c.cells.width == 0 {
		out = nil
	}
	if thinned > 0 {
		out = append(out, fmt.Sprintf("%s of nodes, leaders, partitions and checks lie too close to be drawn one by one. Where they do, one mark says how many, with the smallest ISR among them; checks by nodes that did not lead are drawn first.", plural(int64(thinned), "state")))
	}
	return append(out, "Times are those that each speaker's clock told; clocks of different nodes may differ a little, and a paused node speaks late.")
}
