package watch_test

import (
	"fmt"
	"strings"
	"testing"
)

// screen is what a terminal shows of what was written to it: as much of one as the live view uses. It fails the test on
// anything else.
type screen struct {
	t        *testing.T
	columns  int
	rows     [][]rune
	row, col int
	wrapped  int // lines that did not fit
}

func newScreen(t *testing.T, columns int) *screen {
	return &screen{t: t, columns: columns, rows: [][]rune{nil}}
}

func (s *screen) write(text string) {
	for r := []rune(text); len(r) > 0; {
		switch {
		case r[0] == '\x1b':
			r = s.escape(r)
			continue
		case r[0] == '\r':
			s.col = 0
		case r[0] == '\n':
			s.row, s.col = s.row+1, 0
			if s.row == len(s.rows) {
				s.rows = append(s.rows, nil)
			}
		default:
			s.put(r[0])
		}
		r = r[1:]
	}
}

func (s *screen) put(r rune) {
	if s.col == s.columns {
		s.wrapped++
		s.write("\n")
	}
	line := s.rows[s.row]
	for len(line) <= s.col {
		line = append(line, ' ')
	}
	line[s.col] = r
	s.rows[s.row] = line
	s.col++
}

// escape carries out one control sequence and returns what follows it.
func (s *screen) escape(r []rune) []rune {
	end := 2
	for end < len(r) && (r[end] >= '0' && r[end] <= '9' || r[end] == ';') {
		end++
	}
	if len(r) <= end || r[1] != '[' {
		s.t.Fatalf("a control sequence that the terminal does not know: %q", string(r[:min(len(r), 8)]))
	}
	n := 1
	_, _ = fmt.Sscanf(string(r[2:end]), "%d", &n)
	switch r[end] {
	case 'A':
		if n > s.row {
			s.t.Fatalf("the cursor is moved %d lines up from line %d", n, s.row)
		}
		s.row -= n
	case 'J':
		s.rows = s.rows[:s.row+1]
		s.rows[s.row] = s.rows[s.row][:min(s.col, len(s.rows[s.row]))]
	case 'm':
	default:
		s.t.Fatalf("a control sequence that the terminal does not know: %q", string(r[:end+1]))
	}
	return r[end+1:]
}

// text is what is to be seen, without blanks at the ends of lines.
func (s *screen) text() string {
	lines := make([]string, len(s.rows))
	for i, l := range s.rows {
		lines[i] = strings.TrimRight(string(l), " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}
