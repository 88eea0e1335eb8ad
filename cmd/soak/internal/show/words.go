package show

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Count writes a number with its thousands apart: 12,345.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Plural writes a count with its noun, "1 run", "2 runs".
func Plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + one + "s"
}

// Seconds writes a duration as a person reads one: "0.35 s", "12.3 s", "2 min 5 s".
func Seconds(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	d = d.Round(time.Second)
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
}

// Quote makes a word safe for a POSIX shell.
func Quote(w string) string {
	if w == "" {
		return "''"
	}
	safe := strings.IndexFunc(w, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@+%", r))
	}) < 0
	if safe {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// Command writes words as a command for a shell.
func Command(words ...string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = Quote(w)
	}
	return strings.Join(q, " ")
}

// Cut shortens a text to at most n characters.
func Cut(t string, n int) string {
	if utf8.RuneCountInString(t) <= n {
		return t
	}
	r := []rune(t)
	return string(r[:max(0, n-3)]) + "..."
}

const (
	leastRoom = 28 // columns that a last cell is folded into at least; where there are fewer, it stands on lines of its own
	leastText = 12 // characters of a last cell that is text: a number is left for the terminal to wrap
)

// Table lays rows out in columns, two spaces apart. The last column is left as it is, or folded at spaces where a terminal is too narrow for it.
func Table(s Style, rows [][]string) []string {
	var width []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(s.Text(c)))
		}
	}
	out := make([]string, 0, len(rows))
	for _, row := range rows {
		var b strings.Builder
		at := 0 // the column that the next cell begins in
		for i, c := range row {
			c = s.Text(c)
			if i == len(row)-1 {
				c = fitted(c, at, s.Columns)
			}
			b.WriteString(c)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2))
				at += width[i] + 2
			}
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			out = append(out, strings.TrimRight(line, " "))
		}
	}
	return out
}

// Fits reports whether a table stands in the terminal as it is.
func Fits(s Style, rows [][]string) bool {
	wide := s
	wide.Columns = 0
	return s.Columns <= 0 || !slices.ContainsFunc(Table(wide, rows), func(line string) bool { return utf8.RuneCountInString(line) > s.Columns })
}

// fitted is a text that begins in column at, in lines that end before the terminal does.
func fitted(text string, at, columns int) string {
	long := utf8.RuneCountInString(text)
	switch {
	case columns <= 0 || at+long <= columns || long < leastText:
		return text
	case columns-at >= leastRoom:
		return strings.Join(Fold(text, columns-at), "\n"+strings.Repeat(" ", at))
	}
	const indent = "    "
	return "\n" + indent + strings.Join(Fold(text, columns-len(indent)), "\n"+indent)
}

// Fold breaks a text at spaces into lines of at most n characters, each indented as the first one is. A word that is longer has a line of its
// own; n < 1 folds nothing.
func Fold(text string, n int) []string {
	if n < 1 || utf8.RuneCountInString(text) <= n {
		return []string{text}
	}
	rest := strings.TrimLeft(text, " ")
	indent := text[:len(text)-len(rest)]
	var lines []string
	line := ""
	for word := range strings.SplitSeq(rest, " ") { // an empty one is a space more
		switch {
		case strings.TrimSpace(line) == "":
			line = indent + word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= n:
			line += " " + word
		default:
			lines = append(lines, strings.TrimRight(line, " "))
			line = indent + word
		}
	}
	return append(lines, line)
}
