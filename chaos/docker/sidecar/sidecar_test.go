package sidecar

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLinesAreReadBack(t *testing.T) {
	for name, c := range map[string]Cut{
		"peers": {Table: "soak-1", Peers: map[string]netip.Addr{
			"n2": netip.MustParseAddr("172.20.0.12"), "n3": netip.MustParseAddr("172.20.0.13"),
		}},
		"others": {Table: "soak-2", Others: true},
		"reset in turns": {Table: "soak-3", Others: true, Spare: map[string]netip.Addr{"n2": netip.MustParseAddr("172.20.0.12")},
			Reset: true, Every: 300 * time.Millisecond},
		"a share of one way": {Table: "soak-4", Peers: map[string]netip.Addr{"n2": netip.MustParseAddr("172.20.0.12")}, Way: In, PPM: 20_000},
		"slow": {Table: "soak-5", Peers: map[string]netip.Addr{"n2": netip.MustParseAddr("172.20.0.12")}, Way: In, Others: true,
			Shape: Shape{Delay: 50 * time.Millisecond, Jitter: time.Millisecond, BytesPerSecond: 9}, Queue: 65535, Port: 9092},
	} {
		in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(c.Line()), strings.NewReader("d")), 16)
		got, err := told(in, io.Discard)
		if diff := cmp.Diff(c, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		if order, err := in.ReadByte(); order != 'd' || err != nil {
			t.Errorf("%s: the order that followed came as %q, %v", name, order, err)
		}
	}
}

func TestBadLinesAreRefused(t *testing.T) {
	for _, args := range []string{
		"", "--table soak", "--table filter --others", "--table soak --peer others=1.2.3.4", "--table soak --peer 1.2.3.4",
		"--table soak --peer n2=host", "--table soak --peer n2=::1", "--table soak --others more", "--what",
		"--table soak --others --way up", "--table soak --others --ppm -1", "--table soak --others --ppm 1000001", "--table soak --others --every 1ms",
		"--table soak --spare n2=1.2.3.4", "--table soak --others --delay -1s", "--table soak --others --rate -1", "--table soak --others --delay 1s --reset",
		"--table soak --others --delay 1s --queue 65536", "--table soak --others --delay 1s --port 65536",
	} {
		var said bytes.Buffer
		line, _ := json.Marshal(strings.Fields(args))
		if code := Main(nil, bytes.NewReader(append(line, '\n')), io.Discard, &said); code != 2 || !strings.Contains(said.String(), "error: sidecar:") {
			t.Errorf("%q: exit %d, %q", args, code, said.String())
		}
	}
}

func TestWhatIsNoLineIsRefused(t *testing.T) {
	for name, in := range map[string]string{"no JSON": "d\n", "no end": strings.Repeat("[", 3*maxLine)} {
		var said bytes.Buffer
		if code := Main(nil, strings.NewReader(in), io.Discard, &said); code != 2 || !strings.Contains(said.String(), "cut") {
			t.Errorf("%s: exit %d, %q", name, code, said.String())
		}
	}
	if code := Main([]string{"--others"}, strings.NewReader(""), io.Discard, io.Discard); code != 2 {
		t.Errorf("with an argument: exit %d", code)
	}
}

func TestASidecarThatIsNotNeededEnds(t *testing.T) {
	var out, said bytes.Buffer
	if code := Main(nil, strings.NewReader(""), &out, &said); code != 0 || out.Len()+said.Len() > 0 {
		t.Errorf("exit %d, %q, %q", code, out.String(), said.String())
	}
}

// fake remembers what was done to it, and counts one packet a look.
type fake struct {
	setErr, removeErr error
	countErr          error
	isSet             bool
	drops             []bool // each time that rules were set
	count             int64
	removed           time.Time
}

func (f *fake) set(_ Cut, drop bool) error {
	f.isSet, f.count = f.setErr == nil, 0
	f.drops = append(f.drops, drop)
	return f.setErr
}

func (f *fake) packets() (map[string]int64, error) {
	f.count++
	return map[string]int64{"in n2": f.count}, f.countErr
}

func (f *fake) remove() error { f.isSet = false; f.removed = time.Now(); return f.removeErr }

// reports reads what a sidecar said.
func reports(t *testing.T, out *bytes.Buffer) []Report {
	t.Helper()
	var rs []Report
	for d := json.NewDecoder(out); ; {
		var r Report
		if err := d.Decode(&r); err == io.EOF {
			return rs
		} else if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
}

func TestTheRulesGoWhenTheLeaseEnds(t *testing.T) {
	for name, test := range map[string]struct {
		act  func(stdin *io.PipeWriter, end chan<- os.Signal)
		want time.Duration // until the rules are gone
	}{
		"nobody renews": {func(*io.PipeWriter, chan<- os.Signal) {}, LeaseTime},
		"renewed for a while": {func(stdin *io.PipeWriter, _ chan<- os.Signal) {
			for range 10 {
				time.Sleep(time.Second)
				stdin.Write([]byte("."))
			}
		}, 10*time.Second + LeaseTime},
		"the runner is gone": {func(stdin *io.PipeWriter, _ chan<- os.Signal) {
			time.Sleep(time.Second)
			stdin.Close()
		}, time.Second},
		"told to": {func(_ *io.PipeWriter, end chan<- os.Signal) {
			time.Sleep(2 * time.Second)
			end <- syscall.SIGTERM
		}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f fake
				var out bytes.Buffer
				stdin, w := io.Pipe()
				defer w.Close()
				end := make(chan os.Signal, 1)
				start := time.Now()
				go test.act(w, end)
				if err := hold(&f, Cut{}, stdin, &out, end); err != nil {
					t.Fatal(err)
				}
				if f.isSet || f.removed.Sub(start) != test.want {
					t.Errorf("rules set %v, removed after %v; want gone after %v", f.isSet, f.removed.Sub(start), test.want)
				}
				rs := reports(t, &out)
				if rs[0].State != Passing || rs[0].Packets["in n2"] != 1 || rs[len(rs)-1].State != Removed {
					t.Errorf("first report %+v, last %+v", rs[0], rs[len(rs)-1])
				}
				if want := int(test.want / ReportEvery); len(rs) < want {
					t.Errorf("%d reports, want at least %d", len(rs), want)
				}
			})
		})
	}
}

func TestPacketsPassUntilToldToDropAndAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		var out bytes.Buffer
		stdin, w := io.Pipe()
		go func() {
			for _, order := range "d.dp" { // told twice to drop, it keeps its counters
				time.Sleep(ReportEvery * 3 / 2)
				w.Write([]byte{byte(order)})
			}
			time.Sleep(ReportEvery * 3 / 2)
			w.Close()
		}()
		if err := hold(&f, Cut{}, stdin, &out, nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]bool{false, true, false}, f.drops); diff != "" {
			t.Errorf("dropping: %s", diff)
		}
		var states []string
		for _, r := range reports(t, &out) {
			if len(states) == 0 || states[len(states)-1] != r.State {
				states = append(states, r.State)
			}
		}
		if diff := cmp.Diff([]string{Passing, Dropping, Passing, Removed}, states); diff != "" {
			t.Errorf("states: %s", diff)
		}
	})
}

// A cut in turns sets its rules again and again, and what it tells of is what it dropped, over all turns.
func TestTurns(t *testing.T) {
	for name, c := range map[string]struct {
		cut   Cut
		drops []bool // from the order to drop on, for a second
	}{
		"flapping": {Cut{Every: 300 * time.Millisecond}, []bool{true, false, true, false}},
		"reset":    {Cut{Every: 400 * time.Millisecond, Reset: true}, []bool{true, false, true, false, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f fake
				var out bytes.Buffer
				stdin, w := io.Pipe()
				go func() {
					time.Sleep(10 * time.Millisecond)
					w.Write([]byte{Drop})
					time.Sleep(time.Second)
					w.Write([]byte{Pass})
					time.Sleep(time.Second) // no turn comes any more
					w.Close()
				}()
				if err := hold(&f, c.cut, stdin, &out, nil); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(append(append([]bool{false}, c.drops...), false), f.drops); diff != "" {
					t.Errorf("dropping: %s", diff)
				}
				last := int64(0)
				for _, r := range reports(t, &out) {
					if r.State != Dropping {
						continue
					}
					if n := r.Packets["in n2"]; n < last {
						t.Errorf("it told of %d packets dropped, and then of %d", last, n)
					} else {
						last = n
					}
				}
				if last == 0 {
					t.Error("it tells of no packet")
				}
			})
		})
	}
}

func TestRulesThatAreGoneAreAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{countErr: errors.New("somebody has changed table soak-1")}
		var out bytes.Buffer
		stdin, w := io.Pipe()
		defer w.Close()
		if err := hold(&f, Cut{}, stdin, &out, nil); err == nil {
			t.Error("no error")
		}
		rs := reports(t, &out)
		if last := rs[len(rs)-1]; last.State != Failed || !strings.Contains(last.Error, "somebody has changed") || f.isSet {
			t.Errorf("last report %+v, rules set: %v", last, f.isSet)
		}
	})
}

func TestFailuresAreSaid(t *testing.T) {
	for name, f := range map[string]*fake{
		"set":    {setErr: errors.New("no permission")},
		"remove": {removeErr: errors.New("no permission")},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := hold(f, Cut{}, strings.NewReader(""), &out, nil)
			if err == nil || !strings.Contains(err.Error(), "no permission") {
				t.Errorf("got %v", err)
			}
			rs := reports(t, &out)
			if last := rs[len(rs)-1]; last.State != Failed || !strings.Contains(last.Error, "no permission") {
				t.Errorf("last report %+v", last)
			}
			if f.removed.IsZero() {
				t.Error("nothing was removed")
			}
		})
	}
}
