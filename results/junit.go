package results

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"soak/checkers"
	"soak/history"
)

type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []Suite  `xml:"testsuite"`
}

// Suite is a test suite of a junit.xml.
type Suite struct {
	Name      string `xml:"name,attr"`
	Tests     int    `xml:"tests,attr"`
	Failures  int    `xml:"failures,attr"`
	Errors    int    `xml:"errors,attr"`
	Skipped   int    `xml:"skipped,attr"`
	Time      string `xml:"time,attr"`
	Timestamp string `xml:"timestamp,attr,omitempty"`
	Cases     []Case `xml:"testcase"`
}

// Case is a test case.
type Case struct {
	Name    string       `xml:"name,attr"`
	Class   string       `xml:"classname,attr"`
	Failure *CaseProblem `xml:"failure"`
	Error   *CaseProblem `xml:"error"`
	Skipped *CaseProblem `xml:"skipped"`
}

// CaseProblem is why a case failed, erred or was skipped.
type CaseProblem struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junitShown bounds the violations written out for one checker: build servers choke on large files, and
// verdict.json has them all.
const junitShown = 20

// JUnit gives a verdict in the form that build servers read: a test suite of the checkers. A violation and missing
// evidence are failures (of types "violated" and "inconclusive"), a harness that failed is an error, and a checker
// that does not apply is skipped.
func JUnit(run *history.Run, rep *checkers.Report) ([]byte, error) {
	return EncodeSuites(SuiteOf(run, rep))
}

// SuiteOf is the test suite of one verdict.
func SuiteOf(run *history.Run, rep *checkers.Report) Suite {
	start, end := Span(run)
	s := Suite{
		Name: "soak " + run.Scenario + " on " + run.Driver,
		Time: fmt.Sprintf("%.3f", time.Duration(end-start).Seconds()),
	}
	if start != 0 {
		s.Timestamp = time.Unix(0, start).UTC().Format("2006-01-02T15:04:05")
	}
	class := "soak." + run.Scenario + "." + run.Driver
	for _, v := range rep.Verdicts {
		c := Case{Name: v.Checker, Class: class}
		switch v.Outcome {
		case checkers.Violated:
			c.Failure = &CaseProblem{Type: "violated", Message: v.Reason, Text: violationText(run, v.Violations)}
		case checkers.Inconclusive:
			c.Failure = &CaseProblem{Type: "inconclusive", Message: v.Reason}
		case checkers.NotApplicable:
			c.Skipped = &CaseProblem{Message: v.Reason}
		}
		s.Cases = append(s.Cases, c)
	}
	if run.HarnessError != "" {
		s.Cases = append(s.Cases, Case{Name: "harness", Class: class,
			Error: &CaseProblem{Type: "harness", Message: run.HarnessError}})
	}
	s.Count()
	return s
}

// Count sums the cases up.
func (s *Suite) Count() {
	s.Tests, s.Failures, s.Errors, s.Skipped = len(s.Cases), 0, 0, 0
	for _, c := range s.Cases {
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
}

// EncodeSuites is a junit.xml.
func EncodeSuites(suites ...Suite) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteString(xml.Header)
	enc := xml.NewEncoder(&buf)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: suites}); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", JUnitFile, err)
	}
	buf.WriteByte('\n')
	return buf.Bytes(), nil
}

func violationText(run *history.Run, vs []checkers.Violation) string {
	var b strings.Builder
	for i, v := range vs {
		if i == junitShown {
			fmt.Fprintf(&b, "and %d more, in %s\n", len(vs)-i, VerdictFile)
			break
		}
		fmt.Fprintf(&b, "%s: %s", v.Kind, v.Sentence)
		if at, ok := SinceStart(run, v.Time); ok {
			fmt.Fprintf(&b, " (%.1f s after the start)", at.Seconds())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Span gives the first and the last time of the run's phases, in Unix nanoseconds; 0, 0 if it had none.
func Span(run *history.Run) (start, end int64) {
	for _, p := range run.Phases {
		if start == 0 || p.Start < start {
			start = p.Start
		}
		end = max(end, p.Start, p.End)
	}
	return start, end
}

// SinceStart gives a time as what a person counts in: the time since the run's start. False where either is unknown.
func SinceStart(run *history.Run, t int64) (time.Duration, bool) {
	start, _ := Span(run)
	if start == 0 || t == 0 {
		return 0, false
	}
	return time.Duration(t - start), true
}
