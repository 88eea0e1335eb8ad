package metrics

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of what a client of an endpoint can hold up.
const (
	headerTime = 5 * time.Second
	closeTime  = time.Second
)

// endpoint answers with what one collector knows.
type endpoint struct {
	listener net.Listener
	http     *http.Server
	served   chan struct{}
}

func listen(addr string, c prometheus.Collector) (*endpoint, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	e := &endpoint{listener: l, served: make(chan struct{})}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	e.http = &http.Server{Handler: mux, ReadHeaderTimeout: headerTime}
	go func() {
		defer close(e.served)
		_ = e.http.Serve(l) // ends with close
	}()
	return e, nil
}

// URL is where it can be asked.
func (e *endpoint) URL() string { return "http://" + e.listener.Addr().String() + "/metrics" }

func (e *endpoint) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := e.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.http.Close()
	}
	<-e.served
	return err
}
