package watch

import "strings"

// Levels of a sparkline, from nothing to the most.
var (
	blocks      = []rune("▁▂▃▄▅▆▇█")
	asciiBlocks = []rune("_.:-=+*#")
)

// spark draws the last n values, scaled from 0 to the largest of them; always n characters wide, the newest at the right.
// What is not 0 never looks like 0: the lowest level is for 0 alone.
func spark(values []int64, n int, ascii bool) string {
	levels := blocks
	if ascii {
		levels = asciiBlocks
	}
	if len(values) > n {
		values = values[len(values)-n:]
	}
	var most int64
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", n-len(values)))
	for _, v := range values {
		level := 0
		if v > 0 {
			level = 1 + int(float64(v)/float64(most)*float64(len(levels)-2)+0.5)
		}
		b.WriteRune(levels[level])
	}
	return b.String()
}

// bar draws how much of something is done.
func bar(part float64, n int, ascii bool) string {
	full, empty := "█", "░"
	if ascii {
		full, empty = "#", "."
	}
	done := int(min(max(part, 0), 1) * float64(n))
	return strings.Repeat(full, done) + strings.Repeat(empty, n-done)
}
