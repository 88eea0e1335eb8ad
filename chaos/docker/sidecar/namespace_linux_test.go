package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// inside names the test that a child of the test runs in a network namespace of its own.
const inside = "SOAK_TEST_INSIDE"

// ownNamespace runs the test again as a child in a network namespace of its own, where it may set rules, and reports whether this is the child.
// Where the machine gives no namespace the test is skipped.
func ownNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		up(t)
		return true
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inside+"="+t.Name())
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no network namespace of its own: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
	return false
}

// up has the namespace's loopback interface carry packets.
func up(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatalf("setting the loopback interface up: %v", err)
	}
}

// sidecarHere is a sidecar as a node's is, and what it says.
type sidecarHere struct {
	stdin   *io.PipeWriter
	reports chan Report
	done    chan error
}

func (s *sidecarHere) tell(order byte) { s.stdin.Write([]byte{order}) }

// until waits for a report.
func (s *sidecarHere) until(t *testing.T, what string, is func(Report) bool) Report {
	t.Helper()
	late := time.After(20 * time.Second)
	var last Report
	for {
		select {
		case r, more := <-s.reports:
			if !more {
				t.Fatalf("it ended before %s: %v", what, <-s.done)
			}
			if r.State == Failed {
				skipWithout(t, r.Error)
				t.Fatalf("it failed before %s: %s", what, r.Error)
			}
			if last = r; is(r) {
				return r
			}
		case <-late:
			t.Fatalf("no %s; the last report is %+v", what, last)
		}
	}
}

// skipWithout skips the test where the kernel has not what it takes.
func skipWithout(t *testing.T, why string) {
	t.Helper()
	if strings.Contains(why, syscall.ENOENT.Error()) || strings.Contains(why, syscall.EOPNOTSUPP.Error()) || strings.Contains(why, syscall.EPROTONOSUPPORT.Error()) {
		t.Skipf("this kernel hands no packets over: %s", why)
	}
}

func startHere(r rules, c Cut) *sidecarHere {
	in, stdin := io.Pipe()
	out, say := io.Pipe()
	s := &sidecarHere{stdin: stdin, reports: make(chan Report, 1000), done: make(chan error, 1)}
	go func() {
		s.done <- hold(r, c, in, say, nil)
		say.Close()
	}()
	go func() {
		defer close(s.reports)
		for d := json.NewDecoder(out); ; {
			var r Report
			if d.Decode(&r) != nil {
				return
			}
			s.reports <- r
		}
	}()
	return s
}

// server answers what it is sent with the same.
func server(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// A delay is the kernel's packets kept: of connections that are open already as of new ones, in both directions; and it is gone when it is to be.
func TestADelayInTheKernel(t *testing.T) {
	if !ownNamespace(t) {
		return
	}
	const delay = 60 * time.Millisecond
	at := server(t)
	conn, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	ask := func() time.Duration {
		begin := time.Now()
		if _, err := conn.Write([]byte("a")); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(begin.Add(20 * time.Second))
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	c := Cut{Table: "soak-1", Peers: map[string]netip.Addr{"n2": at.Addr()}, Way: In, Shape: Shape{Delay: delay}, Queue: 7, Port: at.Port()}
	s := startHere(newShaped(c, newRules(), openQueue), c)
	s.until(t, "quick round trip", func(r Report) bool {
		trip := r.RoundTrips["n2"]
		return r.State == Passing && trip.Count > 0 && trip.Took < delay && r.Packets["in n2"] > 0
	})
	s.tell(Drop)
	r := s.until(t, "slow round trip", func(r Report) bool { return r.State == Dropping && r.RoundTrips["n2"].Count > 0 })
	if took := r.RoundTrips["n2"].Took; took < 2*delay {
		t.Errorf("a round trip took %s, with %s each way", took, delay)
	}
	if l := r.Links["in n2"]; l.Took < delay || l.Bytes == 0 {
		t.Errorf("packets: %+v", l)
	}
	if took := ask(); took < 2*delay {
		t.Errorf("a question on an open connection took %s, with %s each way", took, delay)
	}
	s.tell(Pass)
	s.until(t, "quick round trip again", func(r Report) bool {
		trip := r.RoundTrips["n2"]
		return r.State == Passing && trip.Count > 0 && trip.Took < delay
	})
	s.stdin.Close()
	s.until(t, "end", func(r Report) bool { return r.State == Removed })
	ask()
}

// A sidecar that is killed leaves rules behind that hand packets to nobody: they pass.
func TestPacketsPassARuleThatNobodyServes(t *testing.T) {
	if !ownNamespace(t) {
		return
	}
	at := server(t)
	r := &ruleset{}
	if err := r.set(Cut{Table: "soak-1", Peers: map[string]netip.Addr{"n2": at.Addr()}, Shape: Shape{Delay: time.Hour}, Queue: 7}, true); err != nil {
		skipWithout(t, err.Error())
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp4", at.String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if counts, err := r.packets(); err != nil || counts["in n2"] == 0 {
		t.Errorf("counted %v, %v", counts, err)
	}
}

// A rate holds what goes over a link to it, whatever is sent.
func TestABoundedRateInTheKernel(t *testing.T) {
	if !ownNamespace(t) {
		return
	}
	const rate, size = 100_000, 60_000
	at := server(t)
	c := Cut{Table: "soak-1", Peers: map[string]netip.Addr{"n2": at.Addr()}, Way: In, Shape: Shape{BytesPerSecond: rate}, Queue: 7, Port: at.Port()}
	s := startHere(newShaped(c, newRules(), openQueue), c)
	s.tell(Drop)
	s.until(t, "begin", func(r Report) bool { return r.State == Dropping })
	conn, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	go conn.Write(make([]byte, size))
	if _, err := io.ReadFull(conn, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	// There and back both count, for on loopback all comes from one address.
	if took, least := time.Since(begin), 2*size*time.Second/rate; took < least {
		t.Errorf("%d bytes went there and back in %s, want %s at least", size, took, least)
	}
	s.until(t, "bytes that waited", func(r Report) bool { return r.Links["in n2"].Waited > 0 })
	s.stdin.Close()
	s.until(t, "end", func(r Report) bool { return r.State == Removed })
}

// Rules that are set anew in turns leave alone what a sidecar beside them keeps.
func TestTurnsTakeNoKeptPacketsAlong(t *testing.T) {
	if !ownNamespace(t) {
		return
	}
	const delay = 300 * time.Millisecond
	loopback := netip.MustParseAddr("127.0.0.1")
	at, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	to, err := net.Dial("udp4", at.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	keeps := Cut{Table: "soak-1", Peers: map[string]netip.Addr{"n2": loopback}, Way: In, Shape: Shape{Delay: delay}, Queue: 7}
	s := startHere(newShaped(keeps, newRules(), openQueue), keeps)
	s.tell(Drop)
	s.until(t, "begin", func(r Report) bool { return r.State == Dropping })
	beside := &ruleset{}
	other := Cut{Table: "soak-2", Peers: map[string]netip.Addr{"n3": netip.MustParseAddr("127.0.0.9")}}
	if err := beside.set(other, false); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	turned := make(chan error)
	go func() {
		for drop := true; ; drop = !drop {
			select {
			case <-over:
				turned <- nil
				return
			case <-time.After(delay / 10):
				if err := beside.set(other, drop); err != nil {
					turned <- err
					return
				}
			}
		}
	}()
	// A datagram that is lost is not sent again.
	if _, err := to.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	at.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err = at.Read(make([]byte, 1))
	close(over)
	if err := errors.Join(err, <-turned, beside.remove()); err != nil {
		t.Fatalf("what was kept has not come: %v", err)
	}
	s.stdin.Close()
	s.until(t, "end", func(r Report) bool { return r.State == Removed })
}

// All rules are there, and go.
func TestRulesInTheKernel(t *testing.T) {
	if !ownNamespace(t) {
		return
	}
	peer, spare := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	for name, c := range map[string]Cut{
		"drop":   {Peers: map[string]netip.Addr{"n2": peer}, Others: true, Spare: map[string]netip.Addr{"n3": spare}},
		"loss":   {Peers: map[string]netip.Addr{"n2": peer}, Way: In, PPM: 1000},
		"reset":  {Others: true, Spare: map[string]netip.Addr{"n2": peer}, Reset: true, Every: time.Second},
		"shaped": {Peers: map[string]netip.Addr{"n2": peer}, Way: In, Others: true, Shape: Shape{Delay: time.Second}},
	} {
		c.Table = "soak-" + name
		r := &ruleset{}
		for _, drop := range []bool{false, true, false} {
			if err := r.set(c, drop); err != nil {
				skipWithout(t, err.Error())
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := r.packets(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		enemy := nftables.Conn{}
		enemy.FlushTable(&nftables.Table{Name: c.Table, Family: nftables.TableFamilyIPv4})
		if err := enemy.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.packets(); err == nil {
			t.Errorf("%s: nobody saw that its rules are gone", name)
		}
		if err := r.remove(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := (&nftables.Conn{}).ListTables(); err != nil || len(left) > 0 {
		t.Errorf("%d tables left, %v", len(left), err)
	}
}
