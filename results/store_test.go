package results

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"soak/checkers"
	"soak/history"
)

// stored makes a run folder with a verdict, or without one if it is "".
func stored(t *testing.T, parent, id, scenario, outcome string, at time.Time) *Folder {
	t.Helper()
	run := exampleRun(id)
	run.Scenario = scenario
	f, err := create(parent, scenario, run, at)
	if err != nil {
		t.Fatal(err)
	}
	if outcome == "" {
		return f
	}
	var o checkers.Outcome
	if err := o.UnmarshalText([]byte(outcome)); err != nil {
		t.Fatal(err)
	}
	b, err := encodeReport(&checkers.Report{Format: 1, Run: id, Outcome: o, Sentence: "as made up"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.write(VerdictFile, b); err != nil {
		t.Fatal(err)
	}
	return f
}

func names(t *testing.T, parent string) string {
	t.Helper()
	entries, err := List(parent)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return strings.Join(out, " ")
}

func TestPrune(t *testing.T) {
	id := func(i int) string { return strings.Repeat(string(rune('a'+i)), 16) }
	make := func(t *testing.T) string {
		parent := t.TempDir()
		for i, x := range []struct{ scenario, outcome string }{
			{"quick", "holds"}, {"quick", "violated"}, {"quick", ""}, {"quick", "inconclusive"}, {"story", "holds"}, {"quick", "holds"}, {"quick", "holds"},
		} { // g is the newest
			stored(t, parent, id(i), x.scenario, x.outcome, noon.Add(time.Duration(i)*time.Minute))
		}
		return parent
	}
	alive := func(string) bool { return false }
	for _, c := range []struct {
		name string
		o    PruneOptions
		left string // ids that are there afterwards, newest first
	}{
		{"the newest two stay, and what is evidence", PruneOptions{Keep: 2}, "gggggggg ffffffff eeeeeeee cccccccc bbbbbbbb"},
		{"violated ones where asked for", PruneOptions{Keep: 2, Violated: true}, "gggggggg ffffffff eeeeeeee cccccccc"},
		{"a dry run removes nothing", PruneOptions{Keep: 1, Violated: true, DryRun: true}, "gggggggg ffffffff eeeeeeee dddddddd cccccccc bbbbbbbb aaaaaaaa"},
		{"of one scenario", PruneOptions{Keep: 1, Scenario: "story"}, "gggggggg ffffffff eeeeeeee dddddddd cccccccc bbbbbbbb aaaaaaaa"},
		{"what is under way stays", PruneOptions{Keep: 1, UnderWay: func(run string) bool { return run == id(3) }}, "gggggggg eeeeeeee dddddddd cccccccc bbbbbbbb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := make(t)
			if c.o.UnderWay == nil {
				c.o.UnderWay = alive
			}
			pruned, err := Prune(parent, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, parent); got != c.left {
				t.Errorf("%q is left, want %q", got, c.left)
			}
			for _, p := range pruned {
				if _, err := os.Stat(p.Entry.Folder.Path()); (err == nil) != (p.Left != "" || c.o.DryRun) || p.Bytes == 0 {
					t.Errorf("%s: said %q and %d bytes, and %v", p.Entry.ID, p.Left, p.Bytes, err)
				}
			}
		})
	}
}

// A removal that was cut short leaves nothing that looks like a run, and the next one finishes it; latest never points at nothing.
func TestPruneAfterACut(t *testing.T) {
	parent := t.TempDir()
	stored(t, parent, "aaaaaaaaaaaaaaaa", "quick", "holds", noon.Add(time.Hour))
	old := stored(t, parent, "bbbbbbbbbbbbbbbb", "quick", "holds", noon) // made later, so latest points at it
	half := filepath.Join(parent, pruning+"20260101T000000Z-quick-cccccccc")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, history.RunFile), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := names(t, parent); got != "aaaaaaaa bbbbbbbb" {
		t.Errorf("the list shows %q", got)
	}
	if _, err := Prune(parent, PruneOptions{Keep: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left of a removal is still there: %v", err)
	}
	if f, err := Open(parent, Latest); err != nil || f.Name() == old.Name() {
		t.Errorf("latest is %v, %v", f, err)
	}
}

func TestStripsAndFlakes(t *testing.T) {
	parent := t.TempDir()
	for i, o := range []string{"holds", "violated", "inconclusive", "", "holds"} {
		stored(t, parent, strings.Repeat(string(rune('a'+i)), 16), "quick", o, noon.Add(time.Duration(i)*time.Minute))
	}
	stored(t, parent, "ffffffffffffffff", "story", "holds", noon)
	entries, err := List(parent)
	if err != nil {
		t.Fatal(err)
	}
	strips := Strips(entries)
	if len(strips) != 2 || strips[0].Marks(10) != ".V?-." || strips[0].Marks(2) != "-." {
		t.Fatalf("the strips are %+v", strips)
	}
	if k, n := strips[0].Flakes(); k != 1 || n != 3 {
		t.Errorf("violated %d of %d, want 1 of 3", k, n)
	}
	no := false
	for want, f := range map[int]Filter{5: {Scenario: "quick"}, 1: {Verdict: "violated"}, 6: {Bugs: &no}, 2: {Last: 2}, 0: {Driver: "sim"}} {
		if got := f.Take(entries); len(got) != want {
			t.Errorf("%+v takes %d, want %d", f, len(got), want)
		}
	}
}

// Reference values: Wilson's interval as in Newcombe (1998), table I.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}, {0, 0, 0, 1}, {3, 3, 0.4385, 1}} {
		if r := Wilson(c.k, c.n); math.Abs(r.Low-c.low) > 1e-4 || math.Abs(r.High-c.high) > 1e-4 {
			t.Errorf("%d of %d: from %.4f to %.4f, want %.4f to %.4f", c.k, c.n, r.Low, r.High, c.low, c.high)
		}
	}
}

func TestExportAndImport(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "deep")
	f := makeRun(t, from, "aabb000000000000", noon)
	if _, err := Judge(f); err != nil {
		t.Fatal(err)
	}
	var first, again bytes.Buffer
	m, err := Export(f, &first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Export(f, &again); err != nil || !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Errorf("a second export differs: %v", err)
	}
	if m.Run != "aabb000000000000" || m.Verdict != "inconclusive" || m.Folder != f.Name() {
		t.Errorf("it says of itself %+v", m)
	}
	got, _, err := Import(to, bytes.NewReader(first.Bytes()), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Check(got); err != nil || !c.Stored || !c.Same {
		t.Errorf("judged again: %+v, %v", c, err)
	}
	for _, item := range m.Files {
		a, errA := os.ReadFile(filepath.Join(f.Path(), item.Name))
		b, errB := os.ReadFile(filepath.Join(got.Path(), item.Name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", item.Name, errA, errB)
		}
	}
	var p *Problem
	if _, _, err := Import(to, bytes.NewReader(first.Bytes()), 1<<20); !errors.As(err, &p) || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("imported a second time: %v", err)
	}
	if err := os.Rename(got.Path(), got.Path()+"-renamed"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Import(to, bytes.NewReader(first.Bytes()), 1<<20); !errors.As(err, &p) || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("imported beside itself under another name: %v", err)
	}
	if _, _, err := Import(t.TempDir(), bytes.NewReader(first.Bytes()), 100); !errors.As(err, &p) || !strings.Contains(err.Error(), "larger than 100") {
		t.Errorf("more bytes than allowed: %v", err)
	}
}

// archived is an export made by hand: what a hostile one may hold.
func archived(t *testing.T, m *Manifest, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	put := func(h tar.Header, data []byte) {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	head, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	put(tar.Header{Name: ManifestFile, Mode: 0o644}, head)
	for _, h := range entries {
		put(h, []byte("hello"))
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImportRefuses(t *testing.T) {
	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	one := func(name string) *Manifest {
		return &Manifest{Format: 1, Folder: "20260314T120000Z-quick-aabb0000", Run: "aabb000000000000", Files: []ManifestItem{{name, 5, hello}}}
	}
	with := func(name string, change func(*Manifest)) *Manifest { m := one(name); change(m); return m }
	in := func(name string) tar.Header {
		return tar.Header{Name: "20260314T120000Z-quick-aabb0000/" + name, Mode: 0o644}
	}
	for _, c := range []struct {
		name    string
		data    []byte
		problem string
	}{
		{"nothing", nil, "not an exported run"},
		{"text", []byte("hello, this is no archive"), "not an exported run"},
		{"a path that climbs", archived(t, one("../evil"), in("../evil")), "not within the run's folder"},
		{"an absolute path", archived(t, one("/tmp/evil"), in("x")), "not within the run's folder"},
		{"a path that climbs back", archived(t, one("logs/../../evil"), in("x")), "not within the run's folder"},
		{"a folder that climbs", archived(t, with("x", func(m *Manifest) { m.Folder = "../x" }), in("x")), "no name of a run folder"},
		{"the link's name", archived(t, with("x", func(m *Manifest) { m.Folder = Latest }), in("x")), "no name of a run folder"},
		{"a hidden folder", archived(t, with("x", func(m *Manifest) { m.Folder = ".git" }), in("x")), "no name of a run folder"},
		{"a link in place of a file", archived(t, one("x"), tar.Header{Typeflag: tar.TypeSymlink, Name: one("").Folder + "/x", Linkname: "/etc/passwd"}), "where x should be"},
		{"another file", archived(t, one("x"), in("y")), "where x should be"},
		{"one more file", archived(t, one("x"), in("x"), in("y")), "does not name"},
		{"one file less", archived(t, one("x")), "x is missing"},
		{"another size", archived(t, with("x", func(m *Manifest) { m.Files[0].Size = 4 }), in("x")), "where x should be"},
		{"a negative size", archived(t, with("x", func(m *Manifest) { m.Files[0].Size = -1 }), in("x")), "larger than"},
		{"sizes that overflow", archived(t, with("x", func(m *Manifest) { m.Files = append(m.Files, ManifestItem{"y", math.MaxInt64, hello}) }), in("x")), "larger than"},
		{"another hash", archived(t, with("x", func(m *Manifest) { m.Files[0].SHA256 = strings.Repeat("0", 64) }), in("x")), "its hash differs"},
		{"twice", archived(t, with("x", func(m *Manifest) { m.Files = append(m.Files, m.Files[0]) }), in("x")), "twice"},
		{"no run", archived(t, one("x"), in("x")), "has no run.json"},
		{"a newer format", archived(t, with("x", func(m *Manifest) { m.Format = 9 }), in("x")), "has format 9"},
		{"cut in the middle", archived(t, one("x"), in("x"))[:150], ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := t.TempDir()
			parent := filepath.Join(outer, "results")
			_, _, err := Import(parent, bytes.NewReader(c.data), 1<<20)
			var p *Problem
			if !errors.As(err, &p) || !strings.Contains(err.Error(), c.problem) || p.Hint == "" {
				t.Errorf("%v, want a problem with a hint: %s", err, c.problem)
			}
			var left []string
			_ = filepath.WalkDir(outer, func(path string, d os.DirEntry, err error) error {
				if err == nil && path != outer && path != parent {
					left = append(left, path)
				}
				return nil
			})
			if len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// Whatever a file holds, an import writes nowhere but into a new folder, and never panics.
func FuzzImport(f *testing.F) {
	parent := f.TempDir()
	run := exampleRun("aabb000000000000")
	folder, err := create(parent, "quick", run, noon)
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := Export(folder, &b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		outer := t.TempDir()
		into := filepath.Join(outer, "results")
		got, _, err := Import(into, bytes.NewReader(data), 1<<16)
		ents, _ := os.ReadDir(into)
		switch {
		case err != nil && len(ents) > 0:
			t.Errorf("a refused import left %v", ents)
		case err == nil && (len(ents) != 1 || ents[0].Name() != got.Name()):
			t.Errorf("an import left %v", ents)
		}
	})
}
