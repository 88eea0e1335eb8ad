package relay

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// echo answers one connection with what it gets, until the other side or it itself ends.
func echo(t *testing.T, closeAfter int) int {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if closeAfter > 0 {
			_, _ = io.CopyN(c, c, int64(closeAfter))
			return
		}
		_, _ = io.Copy(c, c)
	}()
	return ln.Addr().(*net.TCPAddr).Port
}

func TestBytesGoBothWays(t *testing.T) {
	in, feed := io.Pipe()
	out, sink := io.Pipe()
	args := Args(echo(t, 5))
	if args[0] != "relay" {
		t.Fatal(args)
	}
	code := make(chan int)
	go func() { code <- Main(args[1:], in, sink, io.Discard) }()
	if _, err := feed.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(out, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if c := <-code; c != 0 {
		t.Errorf("exit code %d after the port's end", c)
	}
}

func TestItEndsWithWhoStartedIt(t *testing.T) {
	if c := Main(Args(echo(t, 0))[1:], strings.NewReader(""), io.Discard, io.Discard); c != 0 {
		t.Errorf("exit code %d", c)
	}
}

func TestWhatCannotBeReachedIsSaid(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	ln.Close()
	for args, want := range map[string]int{free: 1, "": 2, "http": 2, "0": 2, "70000": 2, "1 2": 2} {
		var said bytes.Buffer
		if c := Main(strings.Fields(args), strings.NewReader(""), io.Discard, &said); c != want || !strings.HasPrefix(said.String(), "error: relay: ") {
			t.Errorf("%q: exit code %d, want %d; %q", args, c, want, said.String())
		}
	}
}
