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

	"github.com/klauspost/compress/zstd"
)

// importing is what a folder is called until all that it holds has been checked.
const importing = ".importing-"

// Import puts an exported run under parent. What it reads was written by someone else: every name, size and hash is checked against the manifest, at most
// limit bytes are written, and nothing outside a new folder, which takes its name only when all of it is right. A run that is there already is refused. latest
// stays where it is. The errors are *Problem, but for those of writing.
func Import(parent string, r io.Reader, limit int64) (*Folder, *Manifest, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, nil, notAnExport(err)
	}
	defer z.Close()
	t := tar.NewReader(z)
	m, err := readManifest(t)
	if err != nil {
		return nil, nil, err
	}
	if err := m.check(limit); err != nil {
		return nil, m, err
	}
	if err := refuseKnown(parent, m); err != nil {
		return nil, m, err
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, m, &Problem{Msg: "making the folder for results " + parent, Err: err, Hint: "choose another with --out DIR"}
	}
	dir, err := os.MkdirTemp(parent, importing)
	if err != nil {
		return nil, m, fmt.Errorf("making a folder for the run: %w", err)
	}
	f, err := unpack(t, m, dir, filepath.Join(parent, m.Folder))
	if err != nil {
		return nil, m, errors.Join(err, os.RemoveAll(dir))
	}
	return f, m, nil
}

func notAnExport(err error) error {
	return &Problem{Msg: "the file is not an exported run, or is damaged", Err: err, Hint: "soak export RUN makes one; compare its size with where it came from"}
}

func damaged(format string, args ...any) error {
	return &Problem{Msg: "the export is damaged or was changed: " + fmt.Sprintf(format, args...), Hint: "get the file again from where it came from; nothing of it was kept"}
}

func readManifest(t *tar.Reader) (*Manifest, error) {
	h, err := t.Next()
	if err != nil {
		return nil, notAnExport(err)
	}
	if h.Name != ManifestFile || h.Typeflag != tar.TypeReg || h.Size > maxManifest {
		return nil, notAnExport(fmt.Errorf("it does not begin with %s", ManifestFile))
	}
	var m Manifest
	d := json.NewDecoder(io.LimitReader(t, maxManifest))
	if err := d.Decode(&m); err != nil {
		return nil, notAnExport(err)
	}
	if m.Format > exportFormat {
		return nil, &Problem{Msg: fmt.Sprintf("the export has format %d, and this version reads up to %d", m.Format, exportFormat), Hint: "use the version of soak that wrote it, or a newer one"}
	}
	return &m, nil
}

// check refuses a manifest that no export has.
func (m *Manifest) check(limit int64) error {
	if !validFolder(m.Folder) {
		return damaged("%q is no name of a run folder", m.Folder)
	}
	if len(m.Files) > maxFiles {
		return damaged("it names %d files", len(m.Files))
	}
	var total int64
	seen := map[string]bool{}
	for _, f := range m.Files {
		switch {
		case !filepath.IsLocal(filepath.FromSlash(f.Name)) || path.Clean(f.Name) != f.Name || strings.Contains(f.Name, `\`) || f.Name == ".":
			return damaged("it names the file %q, which is not within the run's folder", f.Name)
		case seen[f.Name]:
			return damaged("it names the file %q twice", f.Name)
		case f.Size < 0 || f.Size > limit-total:
			return &Problem{Msg: fmt.Sprintf("the run is larger than %d bytes", limit), Hint: "--max-bytes allows more, if it comes from where you trust it to come from"}
		}
		seen[f.Name] = true
		total += f.Size
	}
	return nil
}

// validFolder takes names such as Create gives, and those that people give to folders that they keep.
func validFolder(name string) bool {
	if len(name) > 200 || strings.HasPrefix(name, ".") || name == Latest {
		return false
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			return false
		}
	}
	return name != ""
}

// refuseKnown refuses a run that is there already, by its name or by its id.
func refuseKnown(parent string, m *Manifest) error {
	known := func(at string) error {
		return &Problem{Msg: fmt.Sprintf("the run %s is there already: %s", m.Run, at), Hint: "remove that one first, or import into another place with --out DIR"}
	}
	if _, err := os.Lstat(filepath.Join(parent, m.Folder)); err == nil {
		return known(filepath.Join(parent, m.Folder))
	}
	entries, err := List(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Run != "" && e.Run == m.Run {
			return known(e.Folder.path)
		}
	}
	return nil
}

// unpack writes the files into dir, makes sure that they are the run which the manifest names, and gives the folder its name.
func unpack(t *tar.Reader, m *Manifest, dir, final string) (*Folder, error) {
	for _, item := range m.Files {
		h, err := t.Next()
		if err != nil {
			return nil, damaged("%s is missing: %v", item.Name, err)
		}
		if h.Typeflag != tar.TypeReg || h.Name != path.Join(m.Folder, item.Name) || h.Size != item.Size {
			return nil, damaged("where %s should be stands %q", item.Name, h.Name)
		}
		if err := unpackOne(t, item, filepath.Join(dir, filepath.FromSlash(item.Name))); err != nil {
			return nil, err
		}
	}
	if h, err := t.Next(); err == nil {
		return nil, damaged("it holds %q, which its manifest does not name", h.Name)
	} else if !errors.Is(err, io.EOF) {
		return nil, damaged("its end: %v", err)
	}
	f := &Folder{path: dir}
	run, err := f.Run()
	if err != nil {
		return nil, err
	}
	if run.ID != m.Run {
		return nil, damaged("it says that it holds the run %s, and holds %s", m.Run, run.ID)
	}
	if err := os.MkdirAll(f.Logs(), 0o755); err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // MkdirTemp makes it private
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	if _, err := os.Lstat(final); !errors.Is(err, fs.ErrNotExist) {
		return nil, &Problem{Msg: final + " has come into being meanwhile", Hint: "import into another place with --out DIR"}
	}
	if err := os.Rename(dir, final); err != nil {
		return nil, fmt.Errorf("giving the run folder its name: %w", err)
	}
	return &Folder{path: final}, nil
}

func unpackOne(r io.Reader, item ManifestItem, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, h), io.LimitReader(r, item.Size))
	switch {
	case DiskFull(err):
		return fmt.Errorf("unpacking: %w", err)
	case err != nil || n != item.Size:
		return damaged("%s ends after %d of %d bytes", item.Name, n, item.Size)
	case hex.EncodeToString(h.Sum(nil)) != item.SHA256:
		return damaged("%s is not what was exported: its hash differs", item.Name)
	}
	return nil
}
