// Package metrics serves what a run that is under way knows to Prometheus: `soak run --metrics-addr`. It shows the same numbers as
// metrics.jsonl and the live view, and decides nothing. The command line starts it before the first run and closes it after the last.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"soak/chaos/runloop"
	"soak/history"
)

// Bounds of what a client of the endpoint can hold up.
const (
	headerTime = 5 * time.Second
	closeTime  = time.Second
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

// Server is the endpoint. Its methods may be called from any goroutine; those of a nil Server do nothing.
type Server struct {
	listener net.Listener
	http     *http.Server
	served   chan struct{}

	mu     sync.Mutex
	run    *history.Run // nil before the first; what is used of it does not change
	found  func() int
	status runloop.Status
	metric history.Metric // the last second's
	total  history.Metric // its counters, added up since the run's start
}

// Listen opens the endpoint at an address that Addr gave.
func Listen(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, served: make(chan struct{})}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: headerTime}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(l) // ends with Close
	}()
	return s, nil
}

// URL is where it can be asked.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/metrics" }

// Close ends the endpoint. What is being answered may still be, for a second.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.served
	return err
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
