package results

import (
	"errors"
	"fmt"

	"soak/checkers"
	"soak/history"
	"soak/results/report"
)

// writeBeside writes all that stands beside the verdict. Each part is tried, whatever became of the others.
func (f *Folder) writeBeside(run *history.Run, rep *checkers.Report, pictures checkers.Pictures) error {
	var errs []error
	for _, name := range sortedKeys(pictures) {
		if !pictureName(name) {
			errs = append(errs, fmt.Errorf("a checker's picture has a name that is not allowed: %q", name))
			continue
		}
		errs = append(errs, f.write(name, pictures[name]))
	}
	junit, err := JUnit(run, rep)
	if err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, f.write(JUnitFile, junit))
	}
	facts, err := f.Facts(run)
	if err != nil {
		errs = append(errs, err) // the summary is written all the same, without what the records would add
	}
	errs = append(errs, f.write(SummaryFile, Summary(run, rep, facts)))
	errs = append(errs, f.draw(report.Input{Dir: f.path, Run: run, Report: rep}))
	return errors.Join(errs...)
}
