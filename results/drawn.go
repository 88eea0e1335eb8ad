package results

import (
	"errors"
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

func (f *Folder) draw(in report.Input) error {
	page, err := report.Draw(in)
	if err != nil {
		return err
	}
	return f.write(ReportFile, page)
}
