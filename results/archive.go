package results

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// An export is a tar archive, compressed by zstd. Its first entry is a manifest that names every file with its size and hash; the files follow in the manifest's
// order, under the run folder's name. Only regular files are in it.

// ManifestFile is the name of an export's first entry.
const ManifestFile = "soak-export.json"

// exportFormat is the version of exports.
const exportFormat = 1

// Bounds of what an import believes.
const (
	maxManifest = 16 << 20
	maxFiles    = 100_000
)

// Manifest says what an export holds.
type Manifest struct {
	Format   int            `json:"format"`
	Folder   string         `json:"folder"` // name of the run folder
	Run      string         `json:"run"`    // its id
	Scenario string         `json:"scenario"`
	Driver   string         `json:"driver"`
	Seed     uint64         `json:"seed,string"`
	Bugs     []string       `json:"bugs,omitempty"`
	Version  string         `json:"version"`           // of soak that made the run
	Verdict  string         `json:"verdict,omitempty"` // as stored
	Sentence string         `json:"sentence,omitempty"`
	Files    []ManifestItem `json:"files"`
}

// ManifestItem is one file.
type ManifestItem struct {
	Name   string `json:"name"` // within the folder, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Bytes is what the files hold together.
func (m *Manifest) Bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// Export writes a run as one file, and gives what it holds. The same folder gives the same bytes.
func Export(f *Folder, w io.Writer) (*Manifest, error) {
	m, err := f.manifest()
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	t := tar.NewWriter(z)
	head, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	if err := add(t, ManifestFile, int64(len(head)), strings.NewReader(string(head))); err != nil {
		return nil, err
	}
	for _, item := range m.Files {
		if err := f.export(t, m.Folder, item); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	return m, nil
}

// manifest looks at every file once.
func (f *Folder) manifest() (*Manifest, error) {
	run, err := f.Run()
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(f.path) // latest is a link
	if err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	m := &Manifest{Format: exportFormat, Folder: f.RealName(), Run: run.ID, Scenario: run.Scenario, Driver: run.Driver, Seed: run.Seed, Bugs: run.Bugs, Version: run.Version}
	if rep, err := f.Report(); err == nil {
		text, _ := rep.Outcome.MarshalText() // of a report that was read
		m.Verdict, m.Sentence = string(text), rep.Sentence
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		size, sum, err := hash(p)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, ManifestItem{Name: filepath.ToSlash(rel), Size: size, SHA256: sum})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the run to export: %w", err)
	}
	return m, nil
}

func hash(path string) (size int64, sum string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	h := sha256.New()
	size, err = io.Copy(h, file)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

func (f *Folder) export(t *tar.Writer, folder string, item ManifestItem) error {
	file, err := os.Open(filepath.Join(f.path, filepath.FromSlash(item.Name)))
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	defer file.Close()
	return add(t, path.Join(folder, item.Name), item.Size, file)
}

// add writes a file with a header that says nothing of the machine that it came from.
func add(t *tar.Writer, name string, size int64, r io.Reader) error {
	err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
	if err == nil {
		_, err = io.Copy(t, io.LimitReader(r, size))
	}
	if err != nil {
		return fmt.Errorf("exporting %s: %w", name, err)
	}
	return nil
}
