package report

import (
	"math"
	"strings"
	"testing"
)

// Times come from a folder that may be damaged or made by somebody: whatever they are, the axis is drawn and has an end.
func TestTheAxisOfIntervalsHasAnEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		from, to int64
		drawn    bool
	}{
		"a second":                   {5e9, 6e9, true},
		"an instant":                 {5e9, 5e9, false},
		"their difference overflows": {math.MinInt64 + 1, math.MaxInt64 - 1, false},
		"to the end of time":         {0, math.MaxInt64, true},
		"backwards":                  {6e9, 5e9, false},
	} {
		s := string(intervalScale(&collected{from: 0}, tc.from, tc.to))
		if drawn := s != ""; drawn != tc.drawn {
			t.Errorf("%s: drawn: %v", name, drawn)
		}
		if n := strings.Count(s, "<text"); n > maxLabels || tc.drawn && n == 0 {
			t.Errorf("%s: %d labels", name, n)
		}
	}
}
