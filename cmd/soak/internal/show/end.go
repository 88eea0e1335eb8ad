package show

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"soak/checkers"
	"soak/history"
	"soak/results"
)

// EndLines is how many lines the end of a run takes at most: one screen.
const EndLines = 40

// Ending is what the end of a run tells of. Facts may be nil.
type Ending struct {
	Run       *history.Run
	Report    *checkers.Report
	Facts     *results.Facts
	Folder    string   // as a person would type it; "" if there is none
	Reproduce []string // the command that does the run again
}

// End prints the end of a run, in at most EndLines lines: the verdict, what was violated, what holds, what was seen of
// what was needed, the faults, and how to do it again. Lists are cut here; the run folder has them in full.
func End(w io.Writer, s Style, e Ending) error {
	head := headline(s, e)
	tail := tailLines(s, e)
	open := inconclusiveLines(s, e.Report)
	holds := outcomeLines(s, e.Report, checkers.Holds, "holds")
	apart := outcomeLines(s, e.Report, checkers.NotApplicable, "not applicable")
	cover := coverageLines(s, e.Report)
	notes := noteLines(s, e.Report)

	room := EndLines - len(head) - len(tail) - len(open) - len(holds) - len(apart) - len(cover) - len(notes)
	// What was violated matters most. With many checkers the lists of those that hold give way, never below it.
	const least = 10
	if v := violationCount(e.Report); v > 0 && room < least {
		apart, notes = nil, nil
		holds = cutList(holds, max(2, EndLines-len(head)-len(tail)-len(open)-len(cover)-least))
		room = EndLines - len(head) - len(tail) - len(open) - len(holds) - len(cover)
	}
	var lines []string
	for _, part := range [][]string{head, violationLines(s, e, room), open, holds, apart, cover, notes, tail} {
		lines = append(lines, part...)
	}
	if over := len(lines) - EndLines; over > 0 {
		keep := EndLines - len(tail)
		lines = append(append([]string{}, lines[:keep]...), tail...)
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	if err != nil {
		return fmt.Errorf("printing the end of the run: %w", err)
	}
	return nil
}

// Headline is the verdict in one line, as -q prints it.
func Headline(s Style, r *checkers.Report) string {
	return s.paint(outcomeColour(r.Outcome)+";"+bold, r.Outcome.String()) + "  " + s.Text(r.Sentence)
}

func headline(s Style, e Ending) []string {
	lines := []string{Headline(s, e.Report)}
	if e.Run.HarnessError != "" {
		lines = append(lines, s.paint(red, "the harness failed:")+" "+s.Text(Cut(e.Run.HarnessError, 300)))
	}
	if e.Run.Interrupted != "" {
		lines = append(lines, "ended early by "+s.Text(e.Run.Interrupted))
	}
	return lines
}

func outcomeColour(o checkers.Outcome) string {
	switch o {
	case checkers.Holds:
		return green
	case checkers.Violated:
		return red
	}
	return yellow
}

// group is the violations of one kind that one checker found: the first, in the order in which they were found as in the verdict's
// sentence, is shown, the others counted.
type group struct {
	checker string
	first   checkers.Violation
	more    int
}

func groups(r *checkers.Report) []group {
	var out []group
	for _, v := range r.Verdicts {
		at := make(map[string]int)
		for _, x := range v.Violations {
			i, ok := at[x.Kind]
			if !ok {
				at[x.Kind] = len(out)
				out = append(out, group{checker: v.Checker, first: x})
				continue
			}
			out[i].more++
		}
	}
	return out
}

func violationCount(r *checkers.Report) int {
	n := 0
	for _, v := range r.Verdicts {
		n += len(v.Violations)
	}
	return n
}

// violationLines gives two lines to a kind of violation (what and who; when and under which fault), as many as there is room for.
func violationLines(s Style, e Ending, room int) []string {
	gs := groups(e.Report)
	if len(gs) == 0 {
		return nil
	}
	lines := []string{s.paint(bold, "violated")}
	for i, g := range gs {
		if len(lines)+3 > room && i < len(gs)-1 || len(lines)+2 > room {
			lines = append(lines, fmt.Sprintf("  and %s of violation, in %s", Plural(int64(len(gs)-i), "more kind"), results.VerdictFile))
			break
		}
		lines = append(lines, "  "+s.paint(red, g.checker)+"  "+s.Text(Cut(g.first.Sentence, 240)), "      "+s.Text(circumstances(e, g)))
	}
	return lines
}

func circumstances(e Ending, g group) string {
	var parts []string
	if at, ok := results.SinceStart(e.Run, g.first.Time); ok {
		parts = append(parts, Seconds(at)+" after the start")
	}
	if names := results.NodeNames(g.first.Nodes); names != "" {
		parts = append(parts, "on "+names)
	}
	if e.Facts != nil {
		parts = append(parts, faultsOf(e.Facts, g.first.Faults))
	}
	if g.more > 0 {
		parts = append(parts, Count(int64(g.more))+" more like it")
	}
	return strings.Join(parts, "; ")
}

func faultsOf(facts *results.Facts, ids []int) string {
	var words []string
	for _, id := range ids {
		if f := facts.ByID(id); f != nil {
			words = append(words, fmt.Sprintf("fault %d, %s", id, f.Words()))
		}
	}
	switch len(words) {
	case 0:
		return "no fault was active"
	case 1, 2:
		return "during " + strings.Join(words, ", and ")
	}
	return fmt.Sprintf("during %s, and %d other faults", words[0], len(words)-1)
}

// outcomeLines lists the checkers of one outcome, a line each: how much was checked, or why not. An inconclusive
// coverage is among them: its reason names what was missed.
func outcomeLines(s Style, r *checkers.Report, o checkers.Outcome, title string) []string {
	var rows [][]string
	for _, v := range r.Verdicts {
		if v.Outcome != o {
			continue
		}
		what := strings.TrimSpace(Count(v.Checked) + " " + v.CheckedWhat)
		if o != checkers.Holds {
			what = Cut(v.Reason, 240)
		}
		rows = append(rows, []string{"  " + v.Checker, what})
	}
	if len(rows) == 0 {
		return nil
	}
	colour := outcomeColour(o)
	if o == checkers.NotApplicable {
		colour = dim
	}
	return append([]string{s.paint(colour, title)}, Table(s, rows)...)
}

// inconclusiveLines are those checkers whose reason the headline has not told already.
func inconclusiveLines(s Style, r *checkers.Report) []string {
	lines := outcomeLines(s, r, checkers.Inconclusive, "inconclusive")
	if r.Outcome != checkers.Inconclusive || len(lines) != 2 {
		return lines
	}
	for _, v := range r.Verdicts {
		if v.Outcome == checkers.Inconclusive && strings.Contains(r.Sentence, v.Reason) {
			return nil
		}
	}
	return lines
}

// coverageWidth is the width that the measures of coverage are wrapped at, where a terminal is not narrower.
const coverageWidth = 100

// coverageLines gives every measure that has a minimum as seen/needed; one that was missed is marked with an
// exclamation mark, so that colour never carries it alone.
func coverageLines(s Style, r *checkers.Report) []string {
	var items []string
	for _, v := range r.Verdicts {
		for _, m := range v.Measures {
			if m.Needed == 0 {
				continue
			}
			item := s.Text(fmt.Sprintf("%s %s/%s", m.Name, Count(m.Seen), Count(m.Needed)))
			if m.Seen < m.Needed {
				item += " (!)"
			}
			if !slices.Contains(items, item) { // two checkers may count the same thing
				items = append(items, item)
			}
		}
	}
	if len(items) == 0 {
		return nil
	}
	const title = "seen/needed  "
	width := coverageWidth
	if s.Columns > 0 {
		width = min(width, s.Columns)
	}
	var lines []string
	line := title
	for i, it := range items {
		if i > 0 && utf8.RuneCountInString(line)+utf8.RuneCountInString(it)+2 > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line = strings.Repeat(" ", len(title))
		}
		line += it
		if i < len(items)-1 {
			line += ", "
		}
	}
	return append(lines, line)
}

// notesShown bounds the harness's notes.
const notesShown = 3

func noteLines(s Style, r *checkers.Report) []string {
	var lines []string
	for i, n := range r.Notes {
		if i == notesShown {
			lines = append(lines, fmt.Sprintf("note: and %d more, in %s", len(r.Notes)-i, results.VerdictFile))
			break
		}
		lines = append(lines, "note: "+s.Text(Cut(n, 200)))
	}
	return lines
}

func tailLines(s Style, e Ending) []string {
	var lines []string
	if e.Facts != nil {
		lines = append(lines, faultLine(s, e.Facts))
		if o := e.Facts.Outage; o.Length > 0 {
			lines = append(lines, s.Text(fmt.Sprintf("recovery     worst %.2f s without an acknowledged record: %s-%d, fault %d",
				o.Length.Seconds(), o.Topic, o.Partition, o.Fault)))
		}
	}
	if l := retentionLine(e); l != "" {
		lines = append(lines, l)
	}
	if len(e.Reproduce) > 0 {
		lines = append(lines, "reproduce:   "+s.Text(Command(e.Reproduce...)))
	}
	if e.Folder != "" {
		lines = append(lines, "folder:      "+s.Text(e.Folder))
	}
	return lines
}

// retentionLine says how much had gone, where topics let records go: a run in which nothing went has not tried it. Of a run that was not
// read to its end nothing is said.
func retentionLine(e Ending) string {
	if !slices.ContainsFunc(e.Run.RecordTopics, func(t history.TopicInfo) bool { return !t.KeepsAll() }) {
		return ""
	}
	for _, v := range e.Report.Verdicts {
		if v.Checker != checkers.AckedRecords || v.Outcome == checkers.NotApplicable {
			continue
		}
		seen := make(map[string]int64)
		for _, m := range v.Measures {
			seen[m.Name] = m.Seen
		}
		if moved := seen[checkers.MeasureStartsMoved]; moved > 0 {
			return fmt.Sprintf("retention    %s moved, and %s had gone", Plural(moved, "log start"), Plural(seen[checkers.MeasureGone], "acknowledged record"))
		}
		if v.Outcome == checkers.Inconclusive {
			return ""
		}
		return "retention    nothing went: it takes a whole segment (segment_bytes) and a look (retention_check)"
	}
	return ""
}

// faultLine counts the faults asked for and proven, by kind in the order in which the kinds came.
func faultLine(s Style, f *results.Facts) string {
	if len(f.Faults) == 0 {
		return "faults       none"
	}
	var kinds []string
	asked, proven := make(map[string]int), make(map[string]int)
	for i := range f.Faults {
		x := &f.Faults[i]
		if asked[x.Kind] == 0 {
			kinds = append(kinds, x.Kind)
		}
		asked[x.Kind]++
		if x.Proven() {
			proven[x.Kind]++
		}
	}
	for i, k := range kinds {
		if proven[k] == asked[k] {
			kinds[i] = fmt.Sprintf("%s %d", k, asked[k])
		} else {
			kinds[i] = fmt.Sprintf("%s %d of %d", k, proven[k], asked[k])
		}
	}
	return s.Text(fmt.Sprintf("faults       %d asked, %d proven: %s", len(f.Faults), f.Proven(), strings.Join(kinds, ", ")))
}

// cutList shortens a titled list to n lines.
func cutList(lines []string, n int) []string {
	if len(lines) <= n {
		return lines
	}
	return append(append([]string{}, lines[:n-1]...), fmt.Sprintf("  and %d more", len(lines)-n+1))
}
