package results

import (
	"os"
	"path/filepath"
	"strings"
)

// OpenSet finds the runs that ref names under parent: one as Open does, several with commas between them, or all the runs in a folder. At least one, each
// once. The errors are *Problem.
func OpenSet(parent, ref string) ([]*Folder, error) {
	var out []*Folder
	seen := map[string]bool{}
	for _, part := range strings.Split(ref, ",") {
		found, err := openPart(parent, strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			path, err := filepath.EvalSymlinks(f.path) // latest is a link
			if err != nil {
				path = f.path
			}
			if !seen[path] {
				seen[path] = true
				out = append(out, f)
			}
		}
	}
	return out, nil
}

func openPart(parent, ref string) ([]*Folder, error) {
	f, err := Open(parent, ref)
	if err == nil {
		return []*Folder{f}, nil
	}
	if st, statErr := os.Stat(ref); statErr != nil || !st.IsDir() {
		return nil, err
	}
	names, listErr := runNames(ref)
	if listErr != nil || len(names) == 0 {
		return nil, err
	}
	var out []*Folder
	for _, n := range names {
		out = append(out, &Folder{path: filepath.Join(ref, n)})
	}
	return out, nil
}
