package docker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"soak/chaos"
)

// An image that somebody else made has no shim. That is said before anything starts.
func TestDiskFaultsNeedAnImageOfOurs(t *testing.T) {
	for _, tc := range []struct {
		ours, disks bool
		want        error
	}{{true, true, nil}, {true, false, nil}, {false, true, ErrForeign}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			labels := map[string]string{}
			if tc.ours {
				labels[labelImage] = "1"
			}
			json.NewEncoder(w).Encode(map[string]any{"Config": map[string]any{"Labels": labels}})
		}))
		t.Cleanup(server.Close)
		cl, err := client.New(client.WithHost("tcp://" + server.Listener.Addr().String()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cl.Close() })
		c := &cluster{cfg: chaos.Config{Image: "theirs:1", DiskFaults: tc.disks}, engine: &engine{DockerClient: &testcontainers.DockerClient{Client: cl}, arch: "amd64"}}
		if err := c.chooseImages(t.Context()); !errors.Is(err, tc.want) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

func TestARelayIsReadThroughItsFrames(t *testing.T) {
	var b bytes.Buffer
	for _, f := range [][]byte{frame(stdout, "HTTP/1.1 200 OK"), frame(stdout, ""), frame(stdout, "!"), frame(stderr, "error: relay: connection refused\n")} {
		b.Write(f)
	}
	c := &relayConn{f: frames{bufio.NewReader(&b)}}
	got := make([]byte, 16)
	if n, err := io.ReadFull(c, got[:4]); n != 4 || err != nil { // less than a frame
		t.Fatal(n, err)
	}
	if n, err := io.ReadFull(c, got[4:]); n != 12 || err != nil || string(got) != "HTTP/1.1 200 OK!" {
		t.Errorf("read %q, %v", got[:4+n], err)
	}
	if _, err := c.Read(got); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("what the relay complains of: %v", err)
	}
}

func TestANodeHasAShimOnlyWhereDisksBreak(t *testing.T) {
	for _, disks := range []bool{true, false} {
		c := &cluster{cfg: chaos.Config{DiskFaults: disks}}
		args := strings.Join(c.arguments(&node{id: 1}), " ")
		if has := strings.Contains(args, "--admin-listen 127.0.0.1:9644 --fault-shim"); has != disks {
			t.Errorf("disk faults %v: %s", disks, args)
		}
	}
}
