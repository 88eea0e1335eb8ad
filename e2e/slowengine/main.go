// Command slowengine makes a Docker engine slow: it listens on a Unix socket and passes everything on to the engine's own, each request after a
// random delay. The streams of containers are left alone. DOCKER_HOST=unix://SOCKET then tells what the driver and its tests do on such a machine.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

func main() {
	socket := flag.String("socket", "", "where to listen; DOCKER_HOST=unix://SOCKET uses it")
	engine := flag.String("engine", "/var/run/docker.sock", "the engine's own socket")
	delay := flag.Duration("delay", 400*time.Millisecond, "of a request, on average: half of it to one and a half")
	flag.Parse()
	if *socket == "" || *delay <= 0 {
		fmt.Fprintln(os.Stderr, "error: slowengine needs a socket to listen on and a delay\nhint: go run ./e2e/slowengine -socket /tmp/slow.sock -delay 400ms")
		os.Exit(2)
	}
	if err := serve(*socket, *engine, *delay); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(4)
	}
}

func serve(socket, engine string, delay time.Duration) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("listening for clients of the engine: %w", err)
	}
	defer l.Close()
	for {
		client, err := l.Accept()
		if err != nil {
			return fmt.Errorf("listening for clients of the engine: %w", err)
		}
		go pass(client.(*net.UnixConn), engine, delay)
	}
}

// pass serves one client until both ways have ended.
func pass(client *net.UnixConn, engine string, delay time.Duration) {
	defer client.Close()
	c, err := net.Dial("unix", engine)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: reaching the engine: %v\n", err)
		return
	}
	server := c.(*net.UnixConn)
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(client, server) // whoever broke off knows why
		_ = client.CloseWrite()
	}()
	_, _ = io.Copy(slowly{server, delay}, client)
	_ = server.CloseWrite()
	<-done
}

// slowly delays what begins a request.
type slowly struct {
	to    io.Writer
	delay time.Duration
}

func (s slowly) Write(b []byte) (int, error) {
	for _, method := range []string{"GET /", "POST /", "DELETE /", "HEAD /", "PUT /"} {
		if bytes.HasPrefix(b, []byte(method)) {
			time.Sleep(s.delay/2 + rand.N(s.delay))
			break
		}
	}
	return s.to.Write(b)
}
