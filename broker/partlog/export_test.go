package partlog

// Bases are the first offsets of the log's segments.
func (l *Log) Bases() (out []int64) {
	for _, s := range l.segs {
		out = append(out, s.base)
	}
	return out
}
