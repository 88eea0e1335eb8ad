package campaign

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// JournalFile is the name of a campaign's journal in its folder.
const JournalFile = "campaign.jsonl"

// journalFormat is the version of the journal.
const journalFormat = 1

// Header is the first line of a journal: what its seeds were run with. A campaign goes on only with the same.
type Header struct {
	Format   int      `json:"format"`
	Version  string   `json:"version"`
	Commit   string   `json:"commit"`
	Bugs     []string `json:"bugs,omitempty"`
	Scenario string   `json:"scenario,omitempty"` // YAML that every seed runs; "": what it draws
}

// Problem is an error with what to do about it. It is one of configuration.
type Problem struct {
	Msg, Hint string
}

func (p *Problem) Error() string { return p.Msg }

// Journal keeps the answers of a campaign, one line a seed, so that one that was interrupted goes on where it was.
type Journal struct {
	w io.WriteCloser
}

// OpenJournal opens the journal in dir, which is made if need be, and shows each answer that it holds. A last line that is cut is taken
// away: its seed is run again.
func OpenJournal(dir string, h Header, each func(*Answer)) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the campaign's folder: %w", err)
	}
	path := filepath.Join(dir, JournalFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the campaign's journal: %w", err)
	}
	size, err := readJournal(f, path, h, each)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	j := &Journal{w: f}
	if err == nil && size == 0 {
		h.Format = journalFormat
		err = j.line(h)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// readJournal gives the length of the lines that are whole.
func readJournal(f io.Reader, path string, want Header, each func(*Answer)) (size int64, err error) {
	r := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return 0, fmt.Errorf("reading the campaign's journal: %w", err)
		}
		if n == 1 {
			err = want.check(line, path)
		} else {
			var a Answer
			if err = json.Unmarshal(line, &a); err == nil {
				each(&a)
			}
		}
		if p := (*Problem)(nil); errors.As(err, &p) {
			return 0, err
		}
		if err != nil {
			return 0, &Problem{fmt.Sprintf("%s:%d: %v", path, n, err), "the journal was edited or is damaged; restore it, or begin anew in another folder with --out DIR"}
		}
		size += int64(len(line))
	}
}

// check holds a journal's first line against this campaign.
func (h Header) check(line []byte, path string) error {
	var old Header
	dec := json.NewDecoder(bytes.NewReader(line))
	if err := dec.Decode(&old); err != nil {
		return err
	}
	another := "begin another campaign with --out DIR"
	switch {
	case old.Format > journalFormat:
		return &Problem{fmt.Sprintf("%s has the format %d; this version knows %d", path, old.Format, journalFormat), "use the version of soak that wrote it, or " + another}
	case old.Format < 1:
		return errors.New("no journal of a campaign begins like this")
	case old.Version != h.Version || old.Commit != h.Commit:
		return &Problem{fmt.Sprintf("the campaign in %s was run with soak %s (commit %s), this is %s (%s): its seeds may be other runs now", path, old.Version, old.Commit, h.Version, h.Commit),
			"git checkout " + old.Commit + " and build to go on with it, or " + another}
	case !slices.Equal(old.Bugs, h.Bugs):
		return &Problem{fmt.Sprintf("the campaign in %s had these bugs planted: %q, this one: %q", path, strings.Join(old.Bugs, ", "), strings.Join(h.Bugs, ", ")), "give the same --bug flags, or " + another}
	case old.Scenario != h.Scenario:
		return &Problem{fmt.Sprintf("the campaign in %s ran another scenario", path), "give the same one, or " + another}
	}
	return nil
}

// Add writes an answer down. After an error nothing more may be added: what was added before is whole.
func (j *Journal) Add(a *Answer) error { return j.line(a) }

func (j *Journal) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a line of the campaign's journal: %w", err)
	}
	if _, err := j.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing the campaign's journal: %w", err)
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.w.Close() }
