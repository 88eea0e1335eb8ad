package results

import (
	"errors"
	"fmt"
	"io/fs"

	"soak/results/report"
)

// ReportFile is the run drawn for people.
const ReportFile = "report.html"

// Draw draws the run and writes it as report.html into the folder, whatever state the folder is in: what is missing is named on the page. It answers
// what was found missing of run.json and verdict.json.
func (f *Folder) Draw() (missing []string, err error) {
	in := report.Input{Dir: f.path}
	if in.Run, err = f.Run(); err != nil {
		missing = append(missing, err.Error())
		in.Run = nil
	}
	if in.Report, err = f.Report(); err != nil {
		in.Report = nil
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, "there is no "+VerdictFile+": the run was not judged")
		} else {
			missing = append(missing, err.Error())
		}
	}
	in.Notes = missing
	return missing, f.draw(in)
}

// draw writes report.html. Where it cannot be drawn or written, one that is there stays as it is.
func (f *Folder) draw(in report.Input) (err error) {
	// Whatever goes wrong in a picture must not take the verdict beside it along.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("drawing %s: %v", ReportFile, p)
		}
	}()
	pen := f.pen
	if pen == nil {
		pen = report.Draw
	}
	page, err := pen(in)
	if err != nil {
		return err
	}
	return f.write(ReportFile, page)
}
