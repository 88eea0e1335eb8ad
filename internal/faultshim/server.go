package faultshim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"soak/internal/vfs"
)

const (
	// tick is how often leases are looked at.
	tick = 100 * time.Millisecond

	// maxTick is the most that one look takes off a lease: where more time has passed, the process stood still.
	maxTick = 5 * tick

	// maxBody bounds a request.
	maxBody = 4 << 10
)

// Server is the broker's side.
type Server struct {
	shim *vfs.Shim
	lost func(Loss, error) // ends the process; does not return

	mu     sync.Mutex
	faults map[int]*held
}

// held is a fault with its lease.
type held struct {
	kind  string
	in    *vfs.ShimFault
	lease time.Duration // left
}

// NewServer serves a shim. lost is called once the power is gone and the run knows: it must end the process at once, without a further call to
// the file system.
func NewServer(shim *vfs.Shim, lost func(Loss, error)) *Server {
	return &Server{shim: shim, lost: lost, faults: map[int]*held{}}
}

// Run ends faults whose lease is over, until ctx ends; then it ends all.
func (s *Server) Run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			s.age(SetTime + LeaseTime)
			return
		case <-t.C:
		}
		now := time.Now()
		s.age(min(now.Sub(last), maxTick))
		last = now
	}
}

// age takes time off all leases.
func (s *Server) age(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, h := range s.faults {
		if h.lease -= d; h.lease <= 0 {
			h.in.Heal()
			delete(s.faults, id)
		}
	}
}

// refusal is an answer that is not 200.
type refusal struct {
	code int
	msg  string
}

func (r *refusal) Error() string { return r.msg }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// Handler answers on the admin port. A request must be JSON and be sent to a loopback name: so no web page that a browser on this machine shows
// can make one.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(w http.ResponseWriter, r *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			err := local(r)
			if err == nil {
				err = h(w, r)
			}
			if err != nil {
				code := http.StatusInternalServerError
				if no := (*refusal)(nil); errors.As(err, &no) {
					code = no.code
				}
				http.Error(w, err.Error(), code)
			}
		})
	}
	handle("GET "+pathStatus, func(w http.ResponseWriter, _ *http.Request) error { return answer(w, s.status()) })
	handle("POST "+pathSet, s.set)
	handle("POST "+pathRenew, func(w http.ResponseWriter, r *http.Request) error { return s.at(w, r, false) })
	handle("POST "+pathEnd, func(w http.ResponseWriter, r *http.Request) error { return s.at(w, r, true) })
	handle("POST "+pathProbe, func(w http.ResponseWriter, r *http.Request) error { return answer(w, s.probe()) })
	handle("POST "+pathPower, s.power)
	return mux
}

func local(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return refuse(http.StatusForbidden, "asked at %q: the fault shim answers at a loopback address alone", r.Host)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Method == http.MethodPost && (err != nil || kind != "application/json") {
		return refuse(http.StatusUnsupportedMediaType, "the request is not application/json")
	}
	return nil
}

func read(r *http.Request, into any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse(http.StatusBadRequest, "reading the request: %v", err)
	}
	return nil
}

// answer writes an answer whole, so that it is on its way before anything else happens.
func answer(w http.ResponseWriter, a any) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	if _, err := w.Write(b); err != nil {
		return nil // who asked is gone; the lease tells
	}
	_ = http.NewResponseController(w).Flush() // likewise
	return nil
}

func (s *Server) probe() Probe {
	p := s.shim.Probe()
	return Probe{Micros: p.Took.Microseconds(), Step: string(p.Step), Refused: p.Refused}
}

func (h *held) status(id int) Status {
	c := h.in.Counts()
	return Status{ID: id, Kind: h.kind, Refused: c.Refused, Delayed: c.Delayed, Micros: c.Delay.Microseconds(), Last: c.Last}
}

func (s *Server) status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Status{}
	for id, h := range s.faults {
		all = append(all, h.status(id))
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// set brings a fault about. The answer is a probe that met it, and is sent before the broker's own calls meet it: the broker may stop of
// the first.
func (s *Server) set(w http.ResponseWriter, r *http.Request) error {
	var f Fault
	if err := read(r, &f); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	s.mu.Lock()
	_, twice := s.faults[f.ID]
	if twice || len(s.faults) >= MaxFaults {
		s.mu.Unlock()
		return refuse(http.StatusConflict, "fault %d is there already, or %d are", f.ID, MaxFaults)
	}
	// Until the answer is ready nobody can know of the fault, and renew it: a probe of a slow disk takes as long as the disk. If who asked is gone, so is the fault.
	h := &held{kind: f.Kind, lease: SetTime + LeaseTime, in: s.shim.Inject(vfs.SimFault{Kind: kinds[f.Kind], Factor: f.Factor, Free: f.Free, Short: f.Short})}
	s.faults[f.ID] = h
	s.mu.Unlock()
	stop := context.AfterFunc(r.Context(), func() { s.drop(f.ID, h) })
	p := s.probe()
	if !stop() {
		return nil
	}
	s.mu.Lock()
	h.lease = LeaseTime
	s.mu.Unlock()
	defer h.in.Activate()
	return answer(w, p)
}

// drop ends a fault, if it is still this one.
func (s *Server) drop(id int, h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults[id] == h {
		h.in.Heal()
		delete(s.faults, id)
	}
}

// at renews the lease of a fault, or ends it; the answer is what it has done so far.
func (s *Server) at(w http.ResponseWriter, r *http.Request, end bool) error {
	var which which
	if err := read(r, &which); err != nil {
		return err
	}
	s.mu.Lock()
	h := s.faults[which.ID]
	if h == nil {
		s.mu.Unlock()
		return refuse(http.StatusNotFound, "there is no fault %d", which.ID)
	}
	h.lease = LeaseTime
	if end {
		h.in.Heal()
		delete(s.faults, which.ID)
	}
	st := h.status(which.ID)
	s.mu.Unlock()
	return answer(w, st)
}

func (s *Server) power(w http.ResponseWriter, r *http.Request) error {
	var c PowerCut
	if err := read(r, &c); err != nil {
		return err
	}
	within := time.Duration(c.Within) * time.Millisecond
	if c.Within < 0 || within > maxWithin {
		return refuse(http.StatusBadRequest, "within %d ms: want 0 to %d", c.Within, maxWithin.Milliseconds())
	}
	lost, err := s.shim.LosePower(vfs.SeededChoice(c.Seed), within)
	loss := Loss{Unsynced: lost.Unsynced, Dropped: lost.Dropped, Files: lost.Files, Names: lost.Names}
	if err == nil {
		err = answer(w, loss)
	} else {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		_ = http.NewResponseController(w).Flush() // the log has it too
	}
	s.lost(loss, err)
	return nil
}
