package measure

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Format writes a value with its unit, as a person reads it: "12.3 ms", "26.3 MiB", "1.2 %", "412 records/s".
func (u Unit) Format(v float64) string {
	switch {
	case math.IsInf(v, 0) || math.IsNaN(v):
		return "unbounded"
	case u == Seconds:
		return seconds(v)
	case u == Bytes:
		return bytes(v)
	case u == Share:
		return digits(v*100) + " %"
	case u == Count:
		return digits(v)
	}
	return digits(v) + " " + string(u)
}

// digits keeps three digits of what is not whole.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e15:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.001:
		return strconv.FormatFloat(v, 'f', 2+int(max(0, -math.Floor(math.Log10(a))-1)), 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

func seconds(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0 s"
	case a < 1e-3:
		return digits(v*1e6) + " µs"
	case a < 1:
		return digits(v*1e3) + " ms"
	}
	return digits(v) + " s"
}

func bytes(v float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if math.Abs(v) >= u.size {
			return digits(v/u.size) + " " + u.name
		}
	}
	return digits(v) + " B"
}

// suffixes of the units that a value may be written in, the longer first.
var suffixes = map[Unit][]struct {
	name string
	size float64
}{
	Share: {{"%", 0.01}},
	Bytes: {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}},
}

// Parse reads a value of the unit: seconds as "250ms" or "1.5s", bytes as "64MiB" or "64MB", a share as "0.5%" or 0.005, everything else as a
// number. The error says how it is written.
func (u Unit) Parse(text string) (float64, error) {
	text = strings.TrimSpace(text)
	bad := func(want string) (float64, error) { return 0, fmt.Errorf("%q is not %s", text, want) }
	if u == Seconds {
		d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			return bad("a duration such as 250ms or 1.5s")
		}
		return d.Seconds(), nil
	}
	size := 1.0
	for _, s := range suffixes[u] {
		if rest, ok := strings.CutSuffix(text, s.name); ok {
			text, size = strings.TrimSpace(rest), s.size
			break
		}
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		switch u {
		case Bytes:
			return bad("a number of bytes such as 64MiB")
		case Share:
			return bad("a share such as 0.5% or 0.005")
		}
		return bad("a number")
	}
	return v * size, nil
}
