package process

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"soak/history"
)

// TestMain lets the test binary be a node, as the runner's own program is one, and a runner that is to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "broker" {
		if err := fakeNode(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("PROCESS_TEST_AS") == "runner" {
		runner()
	}
	os.Exit(m.Run())
}

type words []string

func (w *words) String() string     { return strings.Join(*w, ",") }
func (w *words) Set(s string) error { *w = append(*w, s); return nil }

// fakeNode is the least that the driver needs of a broker: it takes its flags, says that it has started, answers
// clients, sends its peers something every 20 ms, and ends with its owner or on SIGTERM. What it calls bugs are ways to fail.
func fakeNode(args []string) error {
	f := flag.NewFlagSet("broker", flag.ContinueOnError)
	id := f.Int("id", 0, "")
	data := f.String("data", "", "")
	listen := f.String("listen", "", "")
	f.String("advertise", "", "")
	peers := f.String("peers", "", "")
	peerListen := f.String("peer-listen", "", "")
	f.Uint64("seed", 0, "")
	f.String("admin-listen", "-", "")
	ownerFD := f.Int("owner-fd", -1, "")
	f.Duration("election-interval", 0, "")
	f.Duration("session-timeout", 0, "")
	var bugs words
	f.Var(&bugs, "bug", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	bug := func(name string) bool { return *id == 2 && strings.Contains(bugs.String(), name) }

	// The boot counter is the data that must survive a kill.
	counter := filepath.Join(*data, "boot")
	b, _ := os.ReadFile(counter)
	boot, _ := strconv.ParseUint(string(b), 10, 64)
	boot++
	if err := os.WriteFile(counter, strconv.AppendUint(nil, boot, 10), 0o644); err != nil {
		return err
	}
	switch {
	case bug("usage"):
		fmt.Fprintln(os.Stderr, "error: unknown bug")
		os.Exit(2)
	case bug("port") && boot == 1:
		return fmt.Errorf("listening on %s: address already in use", *listen)
	case bug("panic"):
		panic("as asked")
	}
	clients, err := net.Listen("tcp4", *listen)
	if err != nil {
		return err
	}
	others, err := net.Listen("tcp4", *peerListen)
	if err != nil {
		return err
	}
	go serve(clients, func(c net.Conn) { // any request is answered with five bytes
		for buf := make([]byte, 100); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
			c.Write([]byte{0, 0, 0, 1, 0})
		}
	})
	go serve(others, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, peer := range strings.Split(*peers, ",") {
		to, at, _ := strings.Cut(peer, "=")
		if to != strconv.Itoa(*id) {
			go beat(at)
		}
	}
	line := history.AppendLogLine(nil, &history.Event{
		Node: int32(*id), Boot: boot, Seq: 1, Time: time.Now().UnixNano(), Body: &history.Started{Version: "fake"},
	})
	os.Stdout.Write(append(line, '\n'))
	os.Stdout.WriteString(`{"cut by the next k`) // every life ends in the middle of a line

	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.NewFile(uintptr(*ownerFD), "owner"))
		close(gone)
	}()
	select {
	case <-end:
	case <-gone:
	}
	return nil
}

func serve(l net.Listener, each func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			each(c)
		}()
	}
}

func beat(at string) {
	for {
		if c, err := net.DialTimeout("tcp4", at, time.Second); err == nil {
			for err == nil {
				_, err = c.Write(bytes.Repeat([]byte("b"), 10))
				time.Sleep(20 * time.Millisecond)
			}
			c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// contextOf is a shorter time within the fixture's.
func contextOf(f fixture, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.ctx, d)
}
