// Package show prints: the end of a run, tables, and the lines of a run that is under way. It decides how things
// look (colour, characters, how many lines) and nothing else.
package show

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Style says what the place that is written to can show.
type Style struct {
	Colour   bool
	ASCII    bool // nothing beyond ASCII may be written
	Terminal bool // lines can be redrawn
	Columns  int  // of a terminal; 0: no bound
}

// StyleOf finds out what w can show. Colour is for terminals only, and off with NO_COLOR or TERM=dumb; characters
// beyond ASCII are for UTF-8 locales only.
func StyleOf(w io.Writer, env func(string) string) Style {
	var s Style
	if f, ok := w.(*os.File); ok {
		s.Terminal = term.IsTerminal(int(f.Fd())) && env("TERM") != "dumb"
		if columns, _, err := term.GetSize(int(f.Fd())); s.Terminal && err == nil {
			s.Columns = columns
		}
	}
	s.Colour = s.Terminal && env("NO_COLOR") == ""
	s.ASCII = !utf8Locale(env)
	return s
}

// utf8Locale follows POSIX: the first of the three that is set decides.
func utf8Locale(env func(string) string) bool {
	for _, k := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(k); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// ANSI colours.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
	dim    = "2"
)

func (s Style) paint(code, text string) string {
	if !s.Colour || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// asciiOf holds what stands for the characters that Soak's own sentences use.
var asciiOf = strings.NewReplacer("→", "->", "←", "<-", "…", "...", "–", "-", "—", "-", "≥", ">=", "≤", "<=", "×", "x",
	"µ", "u", "“", "\"", "”", "\"", "‘", "'", "’", "'", "·", "-", "−", "-", "─", "-", "╳", "x", "█", "#", "░", ".", "○", "o", "●", "*", "✗", "x")

// Text makes a text fit for the place: one line, no control characters (a broker's log may hold anything), and ASCII
// where that is asked.
func (s Style) Text(t string) string {
	if s.ASCII {
		t = asciiOf.Replace(t)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0):
			return -1
		case s.ASCII && r > 0x7e:
			return '?'
		}
		return r
	}, t)
}

// Violation marks a violation as it is found.
func (s Style) Violation(checker string) string {
	return s.paint(red+";"+bold, "VIOLATED") + " " + s.Text(checker)
}

// Bold makes a text stand out where colours are shown.
func (s Style) Bold(t string) string { return s.paint(bold, t) }

// Bad marks a text as telling of a violation, where colours are shown.
func (s Style) Bad(t string) string { return s.paint(red+";"+bold, t) }

// Size is how many characters a line of the terminal w holds, and how many lines it has; 80 and 24 where that cannot be known.
func Size(w io.Writer) (columns, rows int) {
	if f, ok := w.(*os.File); ok {
		if c, r, err := term.GetSize(int(f.Fd())); err == nil && c > 0 && r > 0 {
			return c, r
		}
	}
	return 80, 24
}

// Columns is how much of a line a text takes, colours left out.
func Columns(t string) int {
	n, in := 0, false
	for _, r := range t {
		switch {
		case in:
			in = r != 'm'
		case r == '\x1b':
			in = true
		default:
			n++
		}
	}
	return n
}
