package measure

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// People write these names into gate files: each is documented, with its own sentence.
func TestEveryMeasureIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/compare.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range List() {
		if row := fmt.Sprintf("| `%s` | %s | %s | %s |", d.Name, d.Unit, d.Better, d.What); !strings.Contains(string(text), row) {
			t.Errorf("docs/compare.md lacks the row %s", row)
		}
	}
}
