package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"soak/cmd/soak/internal/show"
)

// defaultOut is where run folders go.
const defaultOut = "results"

// newFlags returns the flag set of a command; its help is printed to standard output.
func (e *env) newFlags(name, synopsis, what string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(e.stderr)
	fs.SortFlags = false
	fs.Usage = func() {
		columns := e.style().Columns
		for line := range strings.SplitSeq(what, "\n") {
			fmt.Fprintln(e.stdout, strings.Join(show.Fold(line, columns), "\n"))
		}
		fmt.Fprintf(e.stdout, "\nusage: soak %s\n", synopsis)
		if u := fs.FlagUsagesWrapped(columns); u != "" {
			fmt.Fprintf(e.stdout, "\n%s", u)
		}
	}
	if e.seen != nil {
		e.seen(fs)
	}
	return fs
}

// parse reads the flags, before and after the arguments, and checks how many arguments there are. most < 0: any number.
func parse(fs *pflag.FlagSet, args []string, least, most int) error {
	if err := fs.Parse(args); err != nil {
		return flagFailure(fs, err)
	}
	n := fs.NArg()
	switch {
	case n > 0 && n < least:
		return usage(fmt.Sprintf("soak %s needs %d arguments and has %d", fs.Name(), least, n), "soak help "+fs.Name()+" shows how it is called")
	case n < least:
		return usage("soak "+fs.Name()+" needs an argument", "soak help "+fs.Name()+" shows how it is called")
	case most >= 0 && n > most:
		return usage(fmt.Sprintf("soak %s does not take %q", fs.Name(), fs.Arg(most)), "soak help "+fs.Name()+" shows how it is called")
	}
	return nil
}

// output says how a command prints.
type output struct {
	json  bool
	quiet bool
}

func (o *output) add(fs *pflag.FlagSet, jsonHelp string) {
	fs.BoolVar(&o.json, "json", false, jsonHelp)
}

func (e *env) style() show.Style { return show.StyleOf(e.stdout, e.getenv) }

func (e *env) print(format string, args ...any) error {
	if _, err := fmt.Fprintf(e.stdout, format, args...); err != nil {
		return harness("printing", err, "")
	}
	return nil
}

// printText prints a line of text, folded at spaces where a terminal is too narrow for it.
func (e *env) printText(text string) error {
	st := e.style()
	return e.print("%s\n", strings.Join(show.Fold(st.Text(text), st.Columns), "\n"))
}

func (e *env) table(rows [][]string) error {
	for _, l := range show.Table(e.style(), rows) {
		if err := e.print("%s\n", l); err != nil {
			return err
		}
	}
	return nil
}
