package compare

import (
	"bytes"
	"fmt"
	"strings"
)

// Markdown is the result for a pull request or a build server's page.
func (r *Result) Markdown() []byte {
	var b bytes.Buffer
	old, now := r.Sides()
	fmt.Fprintf(&b, "# Comparison: %s\n\n", cell(r.Sentence()))
	if len(r.Differences) > 0 {
		b.WriteString("**Not the same on both sides:**\n\n| what | old | new |\n|---|---|---|\n")
		for _, d := range r.Differences {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(d.What), cell(strings.Join(d.Old, "; ")), cell(strings.Join(d.New, "; ")))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "Old: %s: %s.\nNew: %s: %s.\n\n", cell(old), Words(r.Verdicts.Old), cell(now), Words(r.Verdicts.New))
	if len(r.Verdicts.Findings) > 0 {
		b.WriteString("| finding | signature | old runs | new runs | first |\n|---|---|---|---|---|\n")
		for _, f := range r.Verdicts.Findings {
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %s |\n", f.Status, cell(f.Signature.String()), f.Old, f.New, cell(f.Sentence))
		}
		b.WriteString("\n")
	}
	if len(r.Verdicts.Checkers) > 0 {
		b.WriteString("| checker | old | new | why |\n|---|---|---|---|\n")
		for _, c := range r.Verdicts.Checkers {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.Checker, c.Old, c.New, cell(c.Reason))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(Headings(), " | "), strings.Repeat("---|", len(Headings())))
	for i := range r.Rows {
		cells := r.Rows[i].Cells()
		for k := range cells {
			cells[k] = cell(cells[k])
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	if len(r.Verdicts.Coverage) > 0 {
		b.WriteString("\n| coverage | old | new | needed |\n|---|---|---|---|\n")
		for _, c := range r.Verdicts.Coverage {
			fmt.Fprintf(&b, "| %s | %s | %s | %d |\n", cell(c.Name), seen(c.Old), seen(c.New), c.Needed)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", Explanation(r.Threshold))
	return b.Bytes()
}

// Explanation says how the table is to be read.
func Explanation(threshold float64) string {
	return fmt.Sprintf("Rank test: Mann-Whitney U, two-sided, p corrected for the number of measures (Holm); effect: how probably a new value is the larger one. "+
		"A regression is worse by more than %.4g %% with p below %g.", threshold*100, significance)
}

func seen(n int64) string {
	if n < 0 {
		return "missing"
	}
	return fmt.Sprint(n)
}

// cell makes text fit into a table's cell; what Markdown or HTML would read as more than text stays text.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "\\`").Replace(s)
}
