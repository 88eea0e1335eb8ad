package faultshim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"soak/internal/vfs"
)

// fixture is a shim with its server and a client.
type fixture struct {
	shim   *vfs.Shim
	file   vfs.File
	server *Server
	client *Client
	lost   chan Loss
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	shim, err := vfs.NewShim(vfs.NewMem(), "/")
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{shim: shim, lost: make(chan Loss, 1)}
	if f.file, err = shim.FS().Create("/a"); err != nil {
		t.Fatal(err)
	}
	f.server = NewServer(shim, func(l Loss, err error) {
		if err != nil {
			t.Error(err)
		}
		f.lost <- l
	})
	h := httptest.NewServer(f.server.Handler())
	t.Cleanup(h.Close)
	f.client = NewClient(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", h.Listener.Addr().String())
	})
	t.Cleanup(f.client.Close)
	return f
}

func TestAFaultIsSetLookedAtAndEnded(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	if p, err := f.client.Probe(ctx); err != nil || p.Refused != "" || !strings.Contains(p.Words(), "written, synced and read") {
		t.Fatalf("a sound disk: %+v, %v", p, err)
	}
	p, err := f.client.Set(ctx, Fault{ID: 7, Kind: WriteError})
	if err != nil || p.Step != "write" || !strings.Contains(p.Refused, Mark) {
		t.Fatalf("the probe of a fault: %+v, %v", p, err)
	}
	// The broker's calls meet it only after the answer has left.
	for {
		if _, err := f.file.Write([]byte("x")); err != nil {
			break
		}
	}
	all, err := f.client.Status(ctx)
	if err != nil || len(all) != 1 || all[0].ID != 7 || all[0].Kind != WriteError || all[0].Refused != 1 || all[0].Last != "write /a" {
		t.Errorf("status %+v, %v", all, err)
	}
	if st, err := f.client.Renew(ctx, 7); err != nil || st.Refused != 1 {
		t.Errorf("renew: %+v, %v", st, err)
	}
	if _, err := f.client.Set(ctx, Fault{ID: 7, Kind: WriteError}); err == nil {
		t.Error("the same fault twice")
	}
	if st, err := f.client.End(ctx, 7); err != nil || st.Refused != 1 {
		t.Errorf("end: %+v, %v", st, err)
	}
	if _, err := f.file.Write([]byte("x")); err != nil {
		t.Errorf("after the end: %v", err)
	}
	for what, ask := range map[string]func(context.Context, int) (Status, error){"renew": f.client.Renew, "end": f.client.End} {
		if _, err := ask(ctx, 7); !errors.Is(err, ErrGone) {
			t.Errorf("%s after the end = %v, want ErrGone", what, err)
		}
	}
}

func TestALossOfPowerIsToldBeforeTheEnd(t *testing.T) {
	f := newFixture(t)
	if _, err := f.file.Write([]byte("never synced")); err != nil {
		t.Fatal(err)
	}
	told, err := f.client.LosePower(t.Context(), PowerCut{Seed: 1})
	if err != nil || told.Unsynced != 12 || told.Dropped != 12 {
		t.Errorf("told %+v, %v", told, err)
	}
	if got := <-f.lost; got != told {
		t.Errorf("the process was ended with %+v", got)
	}
}

func TestBadFaultsAreRefused(t *testing.T) {
	f := newFixture(t)
	for name, bad := range map[string]Fault{
		"no id": {Kind: DiskFull}, "no kind": {ID: 1}, "another's kind": {ID: 1, Kind: "bit-rot"}, "no factor": {ID: 1, Kind: SlowDisk},
		"a large factor": {ID: 1, Kind: SlowDisk, Factor: MaxFactor + 1}, "negative room": {ID: 1, Kind: DiskFull, Free: -1},
	} {
		if _, err := f.client.Set(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.client.LosePower(t.Context(), PowerCut{Within: 60_000}); err == nil {
		t.Error("a loss of power may wait for a minute")
	}
	for id := range MaxFaults {
		if _, err := f.client.Set(t.Context(), Fault{ID: id + 1, Kind: ReadError}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.client.Set(t.Context(), Fault{ID: MaxFaults + 1, Kind: ReadError}); err == nil {
		t.Errorf("%d faults at a time", MaxFaults+1)
	}
}

// A page that a browser shows can send a form to a port of this machine, or reach it by a name of its own. Neither is answered.
func TestOnlyThisMachineIsAnswered(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(*http.Request){
		"a form":       func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"no type":      func(r *http.Request) { r.Header.Del("Content-Type") },
		"another name": func(r *http.Request) { r.Host = "example.org:9644" },
		"an address":   func(r *http.Request) { r.Host = "192.0.2.1" },
		"a field":      func(r *http.Request) { r.Body = http.NoBody },
	} {
		r := httptest.NewRequest(http.MethodPost, pathEnd, strings.NewReader(`{"id":1}`))
		r.Host = "127.0.0.1:9644"
		r.Header.Set("Content-Type", "application/json")
		change(r)
		w := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(w, r)
		if w.Code < 400 || w.Code == http.StatusNotFound {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestTheLeaseIsHeldHere(t *testing.T) {
	for name, tc := range map[string]struct {
		renew time.Duration // how long it is renewed
		want  time.Duration // when it ends
	}{
		"nobody renews":       {0, LeaseTime},
		"renewed for a while": {10 * RenewEvery, 10*RenewEvery + LeaseTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shim, err := vfs.NewShim(vfs.NewMem(), "/")
				if err != nil {
					t.Fatal(err)
				}
				s := NewServer(shim, nil)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { s.Run(ctx); close(done) }()
				post := func(path, body string) int {
					r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
					r.Host = "localhost"
					r.Header.Set("Content-Type", "application/json")
					w := httptest.NewRecorder()
					s.Handler().ServeHTTP(w, r)
					return w.Code
				}
				if code := post(pathSet, `{"id":1,"kind":"read-error"}`); code != http.StatusOK {
					t.Fatal(code)
				}
				begin := time.Now()
				for time.Since(begin) < tc.renew {
					time.Sleep(RenewEvery)
					if code := post(pathRenew, `{"id":1}`); code != http.StatusOK {
						t.Fatalf("renewing after %v: %d", time.Since(begin), code)
					}
				}
				for len(s.status()) > 0 {
					time.Sleep(tick / 2)
				}
				// A lease begins anywhere between two looks.
				if took := time.Since(begin); took < tc.want-tick || took > tc.want+tick {
					t.Errorf("it ended after %v, want %v", took, tc.want)
				}
				if p := shim.Probe(); p.Refused != "" {
					t.Errorf("the disk is not sound: %+v", p)
				}
				cancel()
				<-done
			})
		})
	}
}

// sluggish is a file system whose every sync takes a second.
type sluggish struct{ vfs.FS }

type sluggishFile struct{ vfs.File }

func (s sluggish) Create(path string) (vfs.File, error) {
	f, err := s.FS.Create(path)
	return sluggishFile{f}, err
}

func (f sluggishFile) Sync() error {
	time.Sleep(time.Second)
	return f.File.Sync()
}

// What meets a slow disk first is the probe of its setting, which may take longer than a lease that nobody can renew yet.
func TestAProbeMayTakeLongerThanALease(t *testing.T) {
	for name, tc := range map[string]struct {
		patience time.Duration // of who sets the fault
		want     int           // faults thereafter
	}{
		"who asked waits":             {time.Minute, 1},
		"who asked is gone meanwhile": {time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shim, err := vfs.NewShim(sluggish{vfs.NewMem()}, "/")
				if err != nil {
					t.Fatal(err)
				}
				s := NewServer(shim, nil)
				run, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { s.Run(run); close(done) }()
				ctx, gone := context.WithTimeout(t.Context(), tc.patience)
				defer gone()
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, pathSet, strings.NewReader(`{"id":1,"kind":"slow-disk","factor":10}`))
				r.Host = "localhost"
				r.Header.Set("Content-Type", "application/json")
				begin := time.Now()
				s.Handler().ServeHTTP(httptest.NewRecorder(), r)
				if n := len(s.status()); n != tc.want {
					t.Errorf("%d faults when the setting has been answered after %v, want %d", n, time.Since(begin), tc.want)
				}
				if tc.want > 0 && time.Since(begin) <= LeaseTime {
					t.Errorf("the probe took %v: this test shows nothing", time.Since(begin))
				}
				time.Sleep(LeaseTime + 2*tick)
				if n := len(s.status()); n != 0 {
					t.Errorf("%d faults, and nobody renewed", n)
				}
				cancel()
				<-done
			})
		})
	}
}

// A process that stood still has not heard renewals; that is no reason to end a fault.
func TestAPauseDoesNotEndTheLease(t *testing.T) {
	f := newFixture(t)
	if _, err := f.client.Set(t.Context(), Fault{ID: 1, Kind: ReadError}); err != nil {
		t.Fatal(err)
	}
	f.server.age(min(time.Hour, maxTick))
	if len(f.server.status()) != 1 {
		t.Error("an hour of pause ended the fault")
	}
}

// Whatever is sent is answered, and a broken request breaks no disk.
func FuzzRequests(f *testing.F) {
	for _, body := range []string{`{"id":1,"kind":"disk-full","free":10,"short":true}`, `{"id":1}`, `{"seed":1,"within":0}`, `{`, `[]`, `{"id":1e9}`, ``} {
		for _, path := range []string{pathSet, pathRenew, pathEnd, pathProbe} {
			f.Add(path, body)
		}
	}
	f.Fuzz(func(t *testing.T, path, body string) {
		if !strings.HasPrefix(path, pathStatus) || path == pathPower || strings.ContainsAny(path, " \r\n%?#") {
			return
		}
		shim, err := vfs.NewShim(vfs.NewMem(), "/")
		if err != nil {
			t.Fatal(err)
		}
		s := NewServer(shim, nil)
		r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if broken := len(s.status()) > 0; broken != (path == pathSet && w.Code == http.StatusOK) {
			t.Errorf("%s %q: %d, and the disk is broken: %v", path, body, w.Code, broken)
		}
	})
}
