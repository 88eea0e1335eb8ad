package process

import "runtime"

// starter runs functions on one thread of the system. The parent-death signal comes when the thread that started a
// child ends, not the process, so nodes are started from a thread that lives until all of them are gone.
type starter chan func()

func newStarter() starter {
	s := make(starter)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, as it should
		for f := range s {
			f()
		}
	}()
	return s
}

// do runs f on the thread and waits for it.
func (s starter) do(f func()) {
	done := make(chan struct{})
	s <- func() {
		defer close(done)
		f()
	}
	<-done
}

// stop ends the thread. Children that still live are killed by it, on Linux.
func (s starter) stop() { close(s) }
