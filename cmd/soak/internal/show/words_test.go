package show

import (
	"slices"
	"testing"
)

func TestTableFoldsItsLastColumn(t *testing.T) {
	rows := [][]string{{"NAME", "WHY"}, {"quick", "one two three four five six seven eight"}, {"x", "short"}}
	for _, c := range []struct {
		columns int
		want    []string
	}{
		{0, []string{"NAME   WHY", "quick  one two three four five six seven eight", "x      short"}},
		{46, []string{"NAME   WHY", "quick  one two three four five six seven eight", "x      short"}},
		{40, []string{"NAME   WHY", "quick  one two three four five six seven", "       eight", "x      short"}},
		{35, []string{"NAME   WHY", "quick  one two three four five six", "       seven eight", "x      short"}},
		{24, []string{"NAME   WHY", "quick", "    one two three four", "    five six seven eight", "x      short"}},
	} {
		if got := Table(Style{Columns: c.columns}, rows); !slices.Equal(got, c.want) {
			t.Errorf("in %d columns: %q, want %q", c.columns, got, c.want)
		}
		if got, want := Fits(Style{Columns: c.columns}, rows), len(c.want) == len(rows); got != want {
			t.Errorf("in %d columns it fits: %v, want %v", c.columns, got, want)
		}
	}
}

func TestTableLeavesNumbersWhereTheyAre(t *testing.T) {
	rows := [][]string{{"faults", "met"}, {"a kind of fault", "12"}}
	if got, want := Table(Style{Columns: 10}, rows), []string{"faults           met", "a kind of fault  12"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want []string
	}{
		{"", 5, []string{""}},
		{"a bc def", 4, []string{"a bc", "def"}},
		{"abcdefgh i", 4, []string{"abcdefgh", "i"}},
		{"é é é", 3, []string{"é é", "é"}},
		{"all on one", 0, []string{"all on one"}},
		{"  one two three", 9, []string{"  one two", "  three"}},
		{"  one  two", 10, []string{"  one  two"}},
		{"one  two  three", 9, []string{"one  two", "three"}},
	} {
		if got := Fold(c.text, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%q at %d: %q, want %q", c.text, c.n, got, c.want)
		}
	}
}
