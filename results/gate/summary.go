package gate

import (
	"bytes"
	"fmt"
	"strings"
)

// summaryLimit is below what build servers show of a page (1 MiB), with room for what they put around it.
const summaryLimit = 900 << 10

// Summary is the gate in Markdown, for a build server's page. It never takes more than 900 KiB: rows that do not fit are counted.
func (r *Result) Summary() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Gate %s: %s\n\n%s\n\n", cell(r.Name), strings.ToUpper(r.Outcome), cell(r.Sentence))
	if r.Interrupted != "" {
		fmt.Fprintf(&b, "Ended early by %s.\n\n", cell(r.Interrupted))
	}
	b.WriteString("| scenario | driver | repetition | outcome | why | seed | run |\n|---|---|---|---|---|---|---|\n")
	r.rows(&b, summaryLimit/2)
	if len(r.Known) > 0 {
		b.WriteString("\n## Known failures\n\n| signature | owner | counts again from | runs that showed it | why |\n|---|---|---|---|---|\n")
		for i, k := range r.Known {
			if b.Len() > summaryLimit*6/10 {
				fmt.Fprintf(&b, "\nand %d more, in gate.json\n", len(r.Known)-i)
				break
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %d | %s |\n", cell(k.Signature()), cell(k.Owner), k.Until.Format("2006-01-02"), k.Runs, cell(k.Known.Why))
		}
	}
	r.findings(&b, summaryLimit*9/10)
	if b.Len() > summaryLimit { // one cell alone may be that long
		b.Truncate(summaryLimit - 100)
		return append(bytes.ToValidUTF8(b.Bytes(), nil), "\n\n(cut here: gate.json has the rest)\n"...)
	}
	return b.Bytes()
}

func (r *Result) rows(b *bytes.Buffer, limit int) {
	left := 0
	for i := range r.Repetitions {
		rep := &r.Repetitions[i]
		if b.Len() > limit {
			left++
			continue
		}
		outcome := rep.Outcome
		if label := r.Label(rep); label != "" {
			outcome += " (" + label + ")"
		}
		name := rep.Scenario
		if len(rep.Bugs) > 0 {
			name += " with " + strings.Join(rep.Bugs, ", ")
		}
		for k, a := range rep.Attempts {
			shown, why := outcome, rep.Why
			if k < len(rep.Attempts)-1 {
				shown, why = a.Outcome+", tried again", a.Why
			}
			fmt.Fprintf(b, "| %s | %s | %d of %d | %s | %s | %d | %s |\n", cell(name), rep.Driver, rep.Number, rep.Of, cell(shown), cell(why), a.Seed, cell(a.Folder))
		}
		if len(rep.Attempts) == 0 {
			fmt.Fprintf(b, "| %s | %s | %d of %d | %s | %s | | |\n", cell(name), rep.Driver, rep.Number, rep.Of, cell(outcome), cell(rep.Why))
		}
	}
	if left > 0 {
		fmt.Fprintf(b, "\nand %d repetitions more, in gate.json\n", left)
	}
}

// findings lists what was found, each signature once.
func (r *Result) findings(b *bytes.Buffer, limit int) {
	for i, f := range r.Found() {
		if i == 0 {
			b.WriteString("\n## Findings\n\n| signature | runs | known | first |\n|---|---|---|---|\n")
		}
		if b.Len() > limit {
			b.WriteString("\nand more, in gate.json\n")
			return
		}
		known := "no"
		if f.Known != "" {
			known = "yes"
		}
		fmt.Fprintf(b, "| %s | %d | %s | %s |\n", cell(f.Signature), f.Runs, known, cell(f.Sentence))
	}
}

// Found is a finding over all runs of the gate.
type Found struct {
	FindingUse
	Runs int
}

// Found lists the findings of all attempts by signature, in the order in which they came.
func (r *Result) Found() []Found {
	var out []Found
	at := map[string]int{}
	for i := range r.Repetitions {
		for _, a := range r.Repetitions[i].Attempts {
			for _, f := range a.Findings {
				n, known := at[f.Signature]
				if !known {
					n = len(out)
					at[f.Signature] = n
					out = append(out, Found{FindingUse: f})
				}
				out[n].Runs++
			}
		}
	}
	return out
}

// cellLimit bounds one cell's text.
const cellLimit = 2000

// cell makes text fit into a table's cell; what Markdown or HTML would read as more than text stays text.
func cell(s string) string {
	if len(s) > cellLimit {
		s = strings.ToValidUTF8(s[:cellLimit], "") + "…"
	}
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "\\`").Replace(s)
}
