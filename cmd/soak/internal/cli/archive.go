package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"soak/chaos/owner"
	"soak/cmd/soak/internal/show"
	"soak/results"
	"soak/results/measure"
)

// exportSuffix is what an exported run's file is called behind its folder's name.
const exportSuffix = ".tar.zst"

func exportCommand(e *env, args []string) (int, error) {
	set := e.newFlags("export", "export RUN [--to FILE] [--out DIR]", "Write a run as one file, to attach to an issue or to take elsewhere. soak import reads it.")
	out := set.String("out", defaultOut, "the parent of run folders")
	to := set.String("to", "", "the file (default: the folder's name with "+exportSuffix+", here)")
	if err := parse(set, args, 1, 1); err != nil {
		return 0, err
	}
	f, err := results.Open(*out, set.Arg(0))
	if err != nil {
		return 0, err
	}
	run, err := f.Run()
	if err != nil {
		return 0, err
	}
	if owner.Alive(run.ID) {
		return 0, usage(f.Path()+" is still being written: its run goes on", "wait for its end, or interrupt it")
	}
	name := *to
	if name == "" {
		name = f.RealName() + exportSuffix
	}
	m, size, err := writeExport(f, name)
	if err != nil {
		return 0, err
	}
	return exitHolds, e.print("%s: %s, %s in %s\n", name, e.style().Text(described(m)), measure.Bytes.Format(float64(size)), show.Plural(int64(len(m.Files)), "file"))
}

// writeExport writes a new file, whole or not at all.
func writeExport(f *results.Folder, name string) (m *results.Manifest, size int64, err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, 0, usage(name+" is there already", "remove it, or name another file with --to")
	}
	if err != nil {
		return nil, 0, usage("making the file: "+err.Error(), "name another file with --to")
	}
	m, err = results.Export(f, file)
	if err == nil {
		size, err = file.Seek(0, 2)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, 0, errors.Join(err, os.Remove(name))
	}
	return m, size, nil
}

// described says what an export is.
func described(m *results.Manifest) string {
	words := fmt.Sprintf("run %s, %s on %s, seed %d, soak %s", m.Run, m.Scenario, m.Driver, m.Seed, m.Version)
	if len(m.Bugs) > 0 {
		words += ", planted: " + strings.Join(m.Bugs, ", ")
	}
	if m.Verdict == "" {
		return words + ", not judged"
	}
	return words + ", " + m.Verdict + " as stored"
}

// importLimit is far above what a night of runs writes, and below what fills a disk unnoticed.
const importLimit = 32 << 30

func importCommand(e *env, args []string) (int, error) {
	set := e.newFlags("import", "import FILE [--out DIR] [--max-bytes N]",
		"Unpack an exported run among the stored ones. Everything in it is checked; a run that is there already is refused.")
	out := set.String("out", defaultOut, "the parent of run folders")
	limit := set.Int64("max-bytes", importLimit, "how much it may unpack to")
	if err := parse(set, args, 1, 1); err != nil {
		return 0, err
	}
	if *limit < 1 {
		return 0, usage(fmt.Sprintf("--max-bytes %d: want at least 1", *limit), "leave it out")
	}
	file, err := os.Open(set.Arg(0))
	if err != nil {
		return 0, usage("reading the export: "+err.Error(), "name a file that soak export made")
	}
	defer file.Close()
	f, m, err := results.Import(*out, file, *limit)
	if err != nil {
		return 0, err
	}
	if err := e.print("%s: %s\n", f.Path(), e.style().Text(described(m))); err != nil {
		return 0, err
	}
	return exitHolds, e.print("judge it again: %s\n", show.Command(append(e.program(), "check", f.Path())...))
}
