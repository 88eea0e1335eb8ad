package watch

import (
	"encoding/json"
	"io"
	"sync"
)

// JSON writes one object a line. A nil JSON writes nothing.
type JSON struct {
	mu  sync.Mutex
	enc *json.Encoder
	err error
}

// NewJSON returns a JSON that writes to w.
func NewJSON(w io.Writer) *JSON {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &JSON{enc: enc}
}

// Write writes v as a line. The first error is kept and given back from then on.
func (j *JSON) Write(v any) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = j.enc.Encode(v)
	}
	return j.err
}

// write is for lines of progress: that the reader has gone is found, and told, when the verdict is written.
func (j *JSON) write(v any) { _ = j.Write(v) }
