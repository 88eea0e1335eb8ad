// Package standin stands in for the *testing.T of somebody else's test: what it is told can be looked at, and its failures are not those of the
// test that looks. Tests and examples of package soaktest use it.
package standin

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// T is a stand-in. Of testing.TB it has what the methods here say; anything else panics.
type T struct {
	testing.TB
	name string

	mu      sync.Mutex
	logs    []string
	errors  []string
	cleanup []func()
}

func (w *T) Helper()      {}
func (w *T) Name() string { return w.name }
func (w *T) Logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, fmt.Sprintf(format, args...))
}
func (w *T) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = append(w.errors, fmt.Sprintf(format, args...))
}
func (w *T) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	runtime.Goexit()
}
func (w *T) Failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.errors) > 0
}
func (w *T) Cleanup(f func()) { w.cleanup = append(w.cleanup, f) }

func (w *T) Context() context.Context { return context.Background() }

// New is a test of that name.
func New(name string) *T { return &T{name: name} }

// Test does what a test function does, and then cleans up.
func (w *T) Test(f func(t testing.TB)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(w)
	}()
	<-done
	w.End()
}

// End cleans up, for those whose test is no function.
func (w *T) End() {
	for len(w.cleanup) > 0 {
		last := w.cleanup[len(w.cleanup)-1]
		w.cleanup = w.cleanup[:len(w.cleanup)-1]
		last()
	}
}

// Failures is what the test failed with, a line each.
func (w *T) Failures() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.errors, "\n")
}

// Logs is what it logged besides.
func (w *T) Logs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.logs, "\n")
}
