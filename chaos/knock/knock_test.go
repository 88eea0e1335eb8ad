package knock

import (
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// listen accepts one connection and gives the whole request, which is answered if answer is not nil.
func listen(t *testing.T, answer []byte) (addr string, request <-chan []byte) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 14)
		io.ReadFull(c, b)
		got <- b
		c.Write(answer)
		io.Copy(io.Discard, c)
	}()
	return l.Addr().String(), got
}

func TestTheQuestionIsApiVersions(t *testing.T) {
	addr, request := listen(t, nil)
	conn, err := On(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)
	if got := <-request; string(got) != string(want) {
		t.Errorf("sent %x, want %x", got, want)
	}
}

func TestAnsweredTellsSilenceFromAnAnswer(t *testing.T) {
	addr, _ := listen(t, []byte{0, 0, 0, 1, 0})
	if err := Answered(t.Context(), addr); err != nil {
		t.Error(err)
	}
	addr, _ = listen(t, nil)
	if Answered(t.Context(), addr) == nil {
		t.Error("silence counts as an answer")
	}
}
