package vfs_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"soak/internal/vfs"
)

// refFile is a file of the reference: its contents since it was made, and which of them was synced last.
type refFile struct {
	states [][]byte
	synced int
}

func (f *refFile) now() []byte { return f.states[len(f.states)-1] }

// reference is what a directory of files may be found as: it keeps every state, and knows nothing of journals.
type reference struct {
	names map[string][]*refFile // versions since the last sync of the directory, nil for no file
}

func (r *reference) at(name string) *refFile {
	vs := r.names[name]
	if len(vs) == 0 {
		return nil
	}
	return vs[len(vs)-1]
}

func (r *reference) put(name string, f *refFile) {
	if len(r.names[name]) == 0 {
		r.names[name] = []*refFile{nil}
	}
	r.names[name] = append(r.names[name], f)
}

// call is one call, as the reference does it, with the time at which it took effect.
type call struct {
	stamp int64
	what  string
	do    func(r *reference)
}

// allowed says whether found is what a loss of power may leave of the file.
func (f *refFile) allowed(found []byte) bool {
	states := f.states[f.synced:]
	size := false
	for i, s := range states {
		size = size || len(found) == len(s) ||
			i > 0 && len(found)%vfs.SectorBytes == 0 && len(states[i-1]) < len(found) && len(found) < len(s)
	}
	if !size {
		return false
	}
	for at := 0; at < len(found); at += vfs.SectorBytes {
		end := min(at+vfs.SectorBytes, len(found))
		if !slices.ContainsFunc(states, func(s []byte) bool {
			sector := make([]byte, end-at)
			if at < len(s) {
				copy(sector, s[at:])
			}
			return bytes.Equal(sector, found[at:end])
		}) {
			return false
		}
	}
	return true
}

var simNames = []string{"a", "b", "c"}

// drawCalls does random calls on the file system and answers what they were.
func drawCalls(t *rapid.T, s *vfs.Sim, serial *int) []call {
	var calls []call
	note := func(what string, do func(r *reference)) { calls = append(calls, call{s.End(), what, do}) }
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range rapid.IntRange(1, 12).Draw(t, "calls") {
		name := rapid.SampledFrom(simNames).Draw(t, "name")
		_, err := s.Stat(name)
		exists := err == nil
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		if !exists && kind != 9 {
			_, err := s.Create(name)
			check(err)
			note("create "+name, func(r *reference) { r.put(name, &refFile{states: [][]byte{nil}}) })
			continue
		}
		switch {
		case kind < 4:
			*serial++
			p := bytes.Repeat([]byte{byte(*serial%250 + 1)}, rapid.IntRange(1, 1200).Draw(t, "bytes"))
			f, err := s.OpenAppend(name)
			check(err)
			_, err = f.Write(p)
			check(err)
			note(fmt.Sprintf("write %d to %s", len(p), name), func(r *reference) {
				f := r.at(name)
				f.states = append(f.states, slices.Concat(f.now(), p))
			})
		case kind < 6:
			f, err := s.OpenAppend(name)
			check(err)
			check(f.Sync())
			note("sync "+name, func(r *reference) { f := r.at(name); f.synced = len(f.states) - 1 })
		case kind == 6:
			f, err := s.OpenAppend(name)
			check(err)
			n, err := f.Size()
			check(err)
			size := rapid.Int64Range(0, n).Draw(t, "size")
			check(f.Truncate(size))
			note(fmt.Sprintf("cut %s to %d", name, size), func(r *reference) {
				if f := r.at(name); int(size) < len(f.now()) {
					f.states = append(f.states, f.now()[:size:size])
				}
			})
		case kind == 7:
			to := rapid.SampledFrom(simNames).Draw(t, "to")
			if to == name {
				continue
			}
			check(s.Rename(name, to))
			note("rename "+name+" to "+to, func(r *reference) { f := r.at(name); r.put(to, f); r.put(name, nil) })
		case kind == 8:
			check(s.Remove(name))
			note("remove "+name, func(r *reference) { r.put(name, nil) })
		default:
			check(s.SyncDir("/"))
			note("sync names", func(r *reference) {
				for name, vs := range r.names {
					r.names[name] = vs[len(vs)-1:]
				}
			})
		}
	}
	return calls
}

// adopt goes on from what was found, which is durable now if power was lost.
func (r *reference) adopt(t *rapid.T, s *vfs.Sim) {
	r.names = map[string][]*refFile{}
	for _, name := range simNames {
		if b, ok := simContent(t, s, name); ok {
			r.names[name] = []*refFile{{states: [][]byte{b}}}
		}
	}
}

func simContent(t *rapid.T, s *vfs.Sim, name string) ([]byte, bool) {
	if _, err := s.Stat(name); err != nil {
		return nil, false
	}
	f, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if k, err := f.ReadAt(b, 0); k < len(b) {
		t.Fatal(err)
	}
	return b, true
}

// hashChoose chooses by a hash of the choice, mostly at random, sometimes leaning to the oldest or the newest.
func hashChoose(seed uint64) vfs.Choose {
	return func(c vfs.SimChoice) int {
		h := seed*0x9e3779b97f4a7c15 ^ uint64(c.Offset)<<8 ^ uint64(c.What)
		for _, b := range []byte(c.Path) {
			h = (h ^ uint64(b)) * 0x100000001b3
		}
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 32
		switch {
		case seed%4 == 1 && h%4 != 0:
			return 0
		case seed%4 == 2 && h%4 != 0:
			return c.N - 1
		}
		return int(h>>3) % c.N
	}
}

// Whatever is called and whenever the process or the power goes: what is found is what the reference allows.
func TestSimCrashAgainstReference(t *testing.T) {
	outOfOrder := 0
	rapid.Check(t, func(t *rapid.T) {
		s := vfs.NewSim(func(_ vfs.Op, _ string, bytes int) int64 { return 1 + int64(bytes)/100 })
		ref := &reference{names: map[string][]*refFile{}}
		serial := 0
		for range rapid.IntRange(1, 5).Draw(t, "lives") {
			var calls []call
			start := s.End()
			for range rapid.IntRange(1, 3).Draw(t, "operations") {
				start = max(start, s.End()) + rapid.Int64Range(0, 3).Draw(t, "pause")
				s.Begin(start)
				calls = append(calls, drawCalls(t, s, &serial)...)
			}
			at := rapid.Int64Range(start, max(start, s.End())).Draw(t, "crash")
			for _, c := range calls {
				if c.stamp <= at {
					c.do(ref)
				}
			}
			if rapid.Bool().Draw(t, "kill first") {
				s.Crash(at)
				for _, name := range simNames {
					got, ok := simContent(t, s, name)
					if f := ref.at(name); (f != nil) != ok || f != nil && !bytes.Equal(f.now(), got) {
						t.Fatalf("%s: found %v, %d bytes; the calls by then say otherwise", name, ok, len(got))
					}
				}
				at = s.End()
				if rapid.Bool().Draw(t, "power stays") {
					continue
				}
			}
			s.PowerLoss(at, hashChoose(rapid.Uint64().Draw(t, "loss")))
			for _, name := range simNames {
				got, ok := simContent(t, s, name)
				versions := ref.names[name]
				if len(versions) == 0 {
					versions = []*refFile{nil}
				}
				if !slices.ContainsFunc(versions, func(f *refFile) bool { return (f != nil) == ok && (f == nil || f.allowed(got)) }) {
					t.Fatalf("%s: found %v, %d bytes: none of its %d versions allows that", name, ok, len(got), len(versions))
				}
				if f := ref.at(name); ok && f != nil && len(got) == len(f.now()) && !bytes.Equal(got, f.now()) {
					outOfOrder++
				}
			}
			ref.adopt(t, s)
		}
	})
	if outOfOrder == 0 {
		t.Error("no file was ever found with its length but without its bytes: the test proves too little")
	}
}

// The same calls and choices give the same bytes.
func TestSimIsDeterministic(t *testing.T) {
	run := func() string {
		s := vfs.NewSim(perCall)
		var asked bytes.Buffer
		for i := range 40 {
			s.Begin(s.End())
			f, err := s.Create(fmt.Sprintf("f%d", i%13))
			must(t, err)
			for j := range 5 {
				write(t, f, string(bytes.Repeat([]byte{byte(i*j + 1)}, 100*j)))
			}
			if i%3 == 0 {
				must(t, f.Sync())
			}
			if i%7 == 0 {
				must(t, s.SyncDir("/"))
			}
		}
		pick := hashChoose(8)
		s.PowerLoss(s.End(), func(c vfs.SimChoice) int {
			fmt.Fprintln(&asked, c)
			if c.What == vfs.LossName {
				return c.N - 1
			}
			return pick(c)
		})
		fmt.Fprintln(&asked, s.Files())
		return asked.String()
	}
	if a, b := run(), run(); a != b || len(a) < 300 {
		t.Errorf("two runs differ, or asked little: %d and %d bytes", len(a), len(b))
	}
}
