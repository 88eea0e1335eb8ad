package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"soak/campaign"
	"soak/chaos/scenario"
	"soak/cmd/soak/internal/show"
	"soak/results"
)

// failure is an error with its exit code and what to do about it.
type failure struct {
	code int
	msg  string
	hint string
	err  error
}

func (f *failure) Error() string {
	if f.err != nil {
		return f.msg + ": " + f.err.Error()
	}
	return f.msg
}

func (f *failure) Unwrap() error { return f.err }

func usage(msg, hint string) error { return &failure{code: exitUsage, msg: msg, hint: hint} }

func harness(msg string, err error, hint string) error {
	return &failure{code: exitHarness, msg: msg, err: err, hint: hint}
}

// later answers what the design names and a later version brings.
func later(what string) error {
	return usage(what+" is not in this version", "soak help lists what there is; CHANGELOG.md says what each version brings")
}

// fail prints the error and its hint, and gives the exit code.
func (e *env) fail(err error) int {
	code, msg, hint := explain(err)
	st := show.StyleOf(e.stderr, e.getenv)
	fmt.Fprintf(e.stderr, "error: %s\n", st.Text(show.Cut(msg, 1000)))
	if hint != "" {
		fmt.Fprintf(e.stderr, "hint: %s\n", st.Text(hint))
	}
	return code
}

// explain finds the exit code and the hint that go with an error, whichever package it comes from.
func explain(err error) (code int, msg, hint string) {
	code, msg = exitHarness, oneLine(err)
	var f *failure
	var sc *scenario.Error
	var p *results.Problem
	var cp *campaign.Problem
	switch {
	case errors.As(err, &f):
		code, hint = f.code, f.hint
	case errors.As(err, &sc):
		code, hint = exitUsage, sc.Hint
	case errors.As(err, &p):
		code, hint = exitUsage, p.Hint
	case errors.As(err, &cp):
		code, hint = exitUsage, cp.Hint
	}
	if results.DiskFull(err) {
		return exitHarness, msg, "the disk under the results is full: free some space, or put the results elsewhere with --out DIR"
	}
	return code, msg, hint
}

// oneLine gives the errors that were joined into err as one sentence. Those that say what another has said are left out: a
// full disk makes every later write fail as well.
func oneLine(err error) string {
	var parts []string
	for _, l := range strings.Split(err.Error(), "\n") {
		known := slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(p, l) })
		if l != "" && !known {
			parts = append(parts, l)
		}
	}
	return strings.Join(parts, "; ")
}

// flagFailure puts pflag's errors into words.
func flagFailure(fs *pflag.FlagSet, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var missing *pflag.NotExistError
	if errors.As(err, &missing) {
		name := missing.GetSpecifiedName()
		written := "--" + name
		if missing.GetSpecifiedShortnames() != "" {
			return usage(fmt.Sprintf("unknown flag -%s", name), "--help shows the flags")
		}
		var known []string
		fs.VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
		return usage("unknown flag "+written, didYouMean(written, known, "--help shows the flags"))
	}
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return usage(fmt.Sprintf("--%s: %q is not %s", bad.GetFlag().Name, bad.GetValue(), wanted(bad.GetFlag().Value.Type())), "--help shows the flags")
	}
	var lacks *pflag.ValueRequiredError
	if errors.As(err, &lacks) {
		return usage(fmt.Sprintf("--%s needs a value", lacks.GetSpecifiedName()), "--help shows the flags")
	}
	return usage(strings.TrimSpace(err.Error()), "--help shows the flags")
}

// wanted says in words what a flag of a type takes.
func wanted(flagType string) string {
	switch flagType {
	case "duration":
		return "a duration such as 90s or 2m"
	case "int", "uint64":
		return "a whole number"
	case "bool":
		return "true or false"
	}
	return "what this flag takes"
}
