package results

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"soak/checkers"
	"soak/history"
)

// summaryShown bounds the violations in a summary: it is for a page in a browser; verdict.json has them all.
const summaryShown = 10

// Summary gives a run in Markdown, for a build server's page: the verdict, what was violated, what holds, what was
// seen, and the faults. facts may be nil or incomplete.
func Summary(run *history.Run, rep *checkers.Report, facts *Facts) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s: %s on %s\n\n%s\n\n", rep.Outcome, cell(run.Scenario), cell(run.Driver), rep.Sentence)
	fmt.Fprintf(&b, "Run %s, %d nodes, seed %d, election interval %s, session %s, soak %s", run.ID, run.Nodes, run.Seed,
		time.Duration(run.ElectionInterval), time.Duration(run.SessionTimeout), run.Version)
	if len(run.Bugs) > 0 {
		fmt.Fprintf(&b, ", with the planted bugs %s", strings.Join(run.Bugs, ", "))
	}
	b.WriteString(".\n\n")
	if run.HarnessError != "" {
		fmt.Fprintf(&b, "**The harness failed:** %s\n\n", run.HarnessError)
	}
	if run.Interrupted != "" {
		fmt.Fprintf(&b, "Ended early by %s.\n\n", run.Interrupted)
	}
	summaryViolations(&b, run, rep)
	b.WriteString("## Checkers\n\n| checker | outcome | checked | why |\n|---|---|---|---|\n")
	for _, v := range rep.Verdicts {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.Checker, v.Outcome, cell(fmt.Sprintf("%d %s", v.Checked, v.CheckedWhat)), cell(v.Reason))
	}
	summaryMeasures(&b, rep)
	if facts != nil {
		summaryFaults(&b, run, facts)
	}
	for i, n := range rep.Notes {
		if i == 0 {
			b.WriteString("\n## Notes\n\n")
		}
		fmt.Fprintf(&b, "- %s\n", n)
	}
	return b.Bytes()
}

func summaryViolations(b *bytes.Buffer, run *history.Run, rep *checkers.Report) {
	shown, total := 0, 0
	for _, v := range rep.Verdicts {
		for _, x := range v.Violations {
			if total == 0 {
				b.WriteString("## Violations\n\n")
			}
			total++
			if shown == summaryShown {
				continue
			}
			shown++
			fmt.Fprintf(b, "- **%s**, %s: %s", v.Checker, x.Kind, x.Sentence)
			if at, ok := SinceStart(run, x.Time); ok {
				fmt.Fprintf(b, " (%.1f s after the start)", at.Seconds())
			}
			b.WriteByte('\n')
		}
	}
	if total > shown {
		fmt.Fprintf(b, "- and %d more, in %s\n", total-shown, VerdictFile)
	}
	if total > 0 {
		b.WriteByte('\n')
	}
}

func summaryMeasures(b *bytes.Buffer, rep *checkers.Report) {
	first := true
	for _, v := range rep.Verdicts {
		for _, m := range v.Measures {
			if m.Needed == 0 {
				continue
			}
			if first {
				b.WriteString("\n## Seen and needed\n\n| what | seen | needed |\n|---|---|---|\n")
				first = false
			}
			fmt.Fprintf(b, "| %s | %d | %d |\n", cell(m.Name), m.Seen, m.Needed)
		}
	}
}

func summaryFaults(b *bytes.Buffer, run *history.Run, facts *Facts) {
	if len(facts.Faults) == 0 {
		return
	}
	b.WriteString("\n## Faults\n\n| id | fault | asked at | lasted | proven |\n|---|---|---|---|---|\n")
	for i := range facts.Faults {
		x := &facts.Faults[i]
		at, lasted, proven := "", "", "no"
		if d, ok := SinceStart(run, x.Asked); ok {
			at = fmt.Sprintf("%.1f s", d.Seconds())
		}
		if x.Healed != 0 {
			lasted = fmt.Sprintf("%.1f s", time.Duration(x.Healed-x.Asked).Seconds())
		}
		if x.Proven() {
			proven = "yes"
		}
		if x.Error != "" {
			proven += ": " + x.Error
		}
		fmt.Fprintf(b, "| %d | %s | %s | %s | %s |\n", x.ID, cell(x.Words()), at, lasted, cell(proven))
	}
}

// cell makes text fit into a table's cell.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(s)
}
