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
	XMLName xml.Name   `xml:"testsuites"`
	Suite   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitProblem `xml:"failure"`
	Error   *junitProblem `xml:"error"`
	Skipped *junitProblem `xml:"skipped"`
}

type junitProblem struct {
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
	start, end := Span(run)
	s := junitSuite{
		Name: "soak " + run.Scenario + " on " + run.Driver,
		Time: fmt.Sprintf("%.3f", time.Duration(end-start).Seconds()),
	}
	if start != 0 {
		s.Timestamp = time.Unix(0, start).UTC().Format("2006-01-02T15:04:05")
	}
	class := "soak." + run.Scenario + "." + run.Driver
	for _, v := range rep.Verdicts {
		c := junitCase{Name: v.Checker, Class: class}
		switch v.Outcome {
		case checkers.Violated:
			s.Failures++
			c.Failure = &junitProblem{Type: "violated", Message: v.Reason, Text: violationText(run, v.Violations)}
		case checkers.Inconclusive:
			s.Failures++
			c.Failure = &junitProblem{Type: "inconclusive", Message: v.Reason}
		case checkers.NotApplicable:
			s.Skipped++
			c.Skipped = &junitProblem{Message: v.Reason}
		}
		s.Cases = append(s.Cases, c)
	}
	if run.HarnessError != "" {
		s.Errors++
		s.Cases = append(s.Cases, junitCase{Name: "harness", Class: class,
			Error: &junitProblem{Type: "harness", Message: run.HarnessError}})
	}
	s.Tests = len(s.Cases)

	var buf bytes.Buffer
	buf.WriteString(xml.Header)
	enc := xml.NewEncoder(&buf)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suite: s}); err != nil {
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
