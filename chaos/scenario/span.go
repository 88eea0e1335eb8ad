package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a length of time: so many election intervals, or a fixed duration. The zero value is no time at all.
type Span struct {
	Milli int64         // thousandths of an election interval; integers, so that every machine computes the same schedule
	Fixed time.Duration // added to it; one of the two is zero in anything that Parse returns
}

// Intervals is a span of thousandths of an election interval.
func Intervals(milli int64) Span { return Span{Milli: milli} }

// Fixed is a span that does not depend on the election interval.
func Fixed(d time.Duration) Span { return Span{Fixed: d} }

// maxMilli bounds what can be written: a million intervals.
const maxMilli = 1_000_000 * 1000

// In is the span's length when an election interval lasts that long.
func (s Span) In(interval time.Duration) time.Duration {
	// Microseconds keep the product within 63 bits for a million intervals of an hour.
	return s.Fixed + time.Duration(s.Milli)*(interval/time.Microsecond)/1000*time.Microsecond
}

// String is the span as the YAML form has it: "3.3 intervals" or "6.5s".
func (s Span) String() string {
	if s.Fixed != 0 || s.Milli == 0 {
		return s.Fixed.String()
	}
	return milliString(s.Milli) + " intervals"
}

func milliString(m int64) string {
	t := strings.TrimRight(fmt.Sprintf("%d.%03d", m/1000, m%1000), "0")
	return strings.TrimSuffix(t, ".")
}

// parseSpan reads "3", "3.3", "3.3 intervals", "1 interval" or a Go duration. Not negative.
func parseSpan(text string) (Span, error) {
	word := strings.TrimSpace(text)
	for _, suffix := range []string{"intervals", "interval"} {
		if rest, ok := strings.CutSuffix(word, suffix); ok {
			word = strings.TrimSpace(rest)
			break
		}
	}
	if milli, err := parseMilli(word); err == nil {
		return Span{Milli: milli}, nil
	}
	if d, err := time.ParseDuration(word); err == nil && word == strings.TrimSpace(text) && d >= 0 {
		return Span{Fixed: d}, nil
	}
	return Span{}, fmt.Errorf("%q is neither a number of election intervals (2.5) nor a duration (5s)", text)
}

// parseMilli reads a decimal with at most three places, as thousandths.
func parseMilli(text string) (int64, error) {
	whole, frac, dot := strings.Cut(text, ".")
	if whole == "" || dot && frac == "" || len(frac) > 3 || len(whole) > 7 {
		return 0, fmt.Errorf("%q is not a decimal with at most three places", text)
	}
	n, err := strconv.ParseUint(whole+frac+"000"[len(frac):], 10, 63)
	if err != nil || n > maxMilli {
		return 0, fmt.Errorf("%q is out of range", text)
	}
	return int64(n), nil
}
