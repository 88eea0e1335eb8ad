// Package metrics serves what a run or a campaign that is under way knows to Prometheus: --metrics-addr of `soak run` and `soak campaign`. It shows the
// same numbers as metrics.jsonl and the progress that is printed, and decides nothing. The command line starts it before the first run and closes
// it after the last.
package metrics

import (
	"fmt"
	"net"
	"strconv"
	"sync"

	"soak/chaos/runloop"
	"soak/history"
)

// Addr is where an asked address listens. One without a host is this machine's own: an endpoint that nobody has decided to open is not open.
func Addr(asked string) (string, error) {
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		return "", fmt.Errorf("%q is no HOST:PORT", asked)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("the port %q of %q is no number from 0 to 65535", port, asked)
	} else if port = strconv.FormatUint(n, 10); host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Server is the endpoint of runs. Its methods may be called from any goroutine; those of a nil Server do nothing.
type Server struct {
	*endpoint

	mu     sync.Mutex
	run    *history.Run // nil before the first; what is used of it does not change
	found  func() int
	status runloop.Status
	metric history.Metric // the last second's
	total  history.Metric // its counters, added up since the run's start
}

// Listen opens the endpoint at an address that Addr gave.
func Listen(addr string) (*Server, error) {
	s := &Server{}
	var err error
	s.endpoint, err = listen(addr, s)
	return s, err
}

// Close ends the endpoint. What is being answered may still be, for a second.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	return s.close()
}

// Begin is a run's start. found answers how many violations the live checkers have found.
func (s *Server) Begin(run *history.Run, found func() int) {
	if s == nil {
		return
	}
	r := *run // the runner goes on filling in its own
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run, s.found = &r, found
	s.status, s.metric, s.total = runloop.Status{}, history.Metric{}, history.Metric{}
}

// Observe takes a record as the runner wrote it; all but *history.Metric are passed over.
func (s *Server) Observe(record any) {
	m, is := record.(*history.Metric)
	if s == nil || !is {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metric = *m
	s.total.Acked += m.Acked
	s.total.Failed += m.Failed
	s.total.Unknown += m.Unknown
	s.total.MetaOK += m.MetaOK
	s.total.MetaFailed += m.MetaFailed
	s.total.MetaUnknown += m.MetaUnknown
}

// Status takes how the run stands.
func (s *Server) Status(st runloop.Status) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = st
}
