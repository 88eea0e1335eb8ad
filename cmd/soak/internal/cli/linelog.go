package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// lineLog writes lines with their time, from any goroutine.
type lineLog struct {
	mu sync.Mutex
	w  io.Writer
}

func newLineLog(w io.Writer) *lineLog { return &lineLog{w: w} }

func (l *lineLog) write(line string) {
	l.do(func() { fmt.Fprintf(l.w, "%s %s\n", time.Now().UTC().Format(time.RFC3339), line) })
}

// do runs f while nobody writes.
func (l *lineLog) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}
