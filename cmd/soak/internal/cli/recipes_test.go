package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Recipes are copied by hand into other people's machines: each command and flag in them must be one.
func TestRecipesSayWhatThereIs(t *testing.T) {
	files, err := filepath.Glob("../../../../docs/recipes/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	command := regexp.MustCompile(`(?:/bin/|bin/)soak ([a-z]+)([^#\n` + "`" + `]*)`)
	flag := regexp.MustCompile(`(?:^|\s)(--?[a-z][a-z-]*)`)
	seen := 0
	for _, f := range append(files, "../../../../docs/recipes.md") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			if m[1] == "to" || strings.HasPrefix(m[2], "/") { // the program's path, in a sentence
				continue
			}
			seen++
			var help, said bytes.Buffer
			if code := Main([]string{"soak", m[1], "--help"}, &help, &said, os.Getenv); code != exitHolds {
				t.Errorf("%s: soak %s%s: %s", filepath.Base(f), m[1], m[2], said.String())
			}
			for _, x := range flag.FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(help.String(), x[1]+" ") && !strings.Contains(help.String(), x[1]+",") {
					t.Errorf("%s: soak %s has no flag %s", filepath.Base(f), m[1], x[1])
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d commands seen: the test looks for something else", seen)
	}
}
