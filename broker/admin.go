package broker

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"soak/broker/core"
	"soak/internal/faultshim"
)

// statsTimeout bounds how long an admin request waits for the loop.
const statsTimeout = time.Second

// status is what /status answers with.
type status struct {
	core.Stats
	ClientConnections int           `json:"client_connections"`
	BytesInFlight     int64         `json:"bytes_in_flight"`
	PeerFramesDropped map[int32]int `json:"peer_frames_dropped"`
}

// admin answers on the admin port: /healthz (the loop turns), /readyz (registered, a leader is known), /status, /metrics,
// /debug/pprof and, of a broker with a fault shim, /fault-shim.
type admin struct {
	stats   func(context.Context) (core.Stats, error)
	clients *clients
	peers   *peers
	faults  *faultshim.Server // nil: none
}

func (a *admin) handler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), a)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.ask(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeText(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.ask(r.Context())
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case !s.Ready:
			http.Error(w, "not ready: not registered, or no leader is known", http.StatusServiceUnavailable)
		default:
			writeText(w, "ready\n")
		}
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.ask(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		st := status{Stats: s, ClientConnections: a.clients.count(), BytesInFlight: a.clients.flying.Load(), PeerFramesDropped: map[int32]int{}}
		for id, p := range a.peers.senders {
			st.PeerFramesDropped[id] = int(p.dropped.Load())
		}
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(st) // the client is gone; there is nobody to tell
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	if a.faults != nil {
		mux.Handle("/fault-shim", a.faults.Handler())
		mux.Handle("/fault-shim/", a.faults.Handler())
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func writeText(w http.ResponseWriter, s string) {
	_, _ = w.Write([]byte(s)) // the client is gone; there is nobody to tell
}

func (a *admin) ask(ctx context.Context) (core.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	return a.stats(ctx)
}
