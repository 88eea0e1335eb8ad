package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/api"
	"soak/broker/core"
)

// request encodes a request as a client does, length prefix included.
func request(corr int32, req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, corr)
}

func read(b []byte) (*Request, error) {
	r := bufio.NewReader(bytes.NewReader(b))
	n, err := ReadSize(r, MaxRequest)
	if err != nil {
		return nil, err
	}
	frame, err := ReadFrame(r, n)
	if err != nil {
		return nil, err
	}
	return ParseRequest(frame)
}

func TestEveryAdvertisedRequestRoundTrips(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, v := range api.Versions {
		for version := v.Min; version <= v.Max; version++ {
			t.Run(fmt.Sprintf("%s-%d", kmsg.NameForKey(v.Key), version), func(t *testing.T) {
				for range 20 {
					req := filled(rng, kmsg.RequestForKey(v.Key)).(kmsg.Request)
					req.SetVersion(version)
					tags := requestTags(req)
					wantOp := ""
					if tags != nil {
						tags.Set(OpTag, []byte("m-17"))
						if req.IsFlexible() {
							wantOp = "m-17"
						}
					}
					got, err := read(request(7, req))
					if err != nil {
						t.Fatal(err)
					}
					wantClient := "test"
					if got.Corr != 7 || got.Op != wantOp || got.ClientID != wantClient && !(v.Key == int16(kmsg.ApiVersions) && version == 0) {
						t.Fatalf("got correlation %d, op %q, client %q", got.Corr, got.Op, got.ClientID)
					}
					if got.Req.Key() != v.Key || got.Req.GetVersion() != version {
						t.Fatalf("got key %d version %d", got.Req.Key(), got.Req.GetVersion())
					}
					if d := cmp.Diff(req.AppendTo(nil), got.Req.AppendTo(nil)); d != "" {
						t.Fatalf("encoded again it differs:\n%s", d)
					}
				}
			})
		}
	}
}

func TestHeaderTagsAreSkipped(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	frame := binary.BigEndian.AppendUint16(nil, uint16(req.Key()))
	frame = binary.BigEndian.AppendUint16(frame, uint16(req.Version))
	frame = binary.BigEndian.AppendUint32(frame, 99)
	frame = binary.BigEndian.AppendUint16(frame, 0xffff) // no client id
	frame = append(frame, 1, 5, 3, 'a', 'b', 'c')        // one tagged field
	frame = req.AppendTo(frame)
	got, err := ParseRequest(frame)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(req, got.Req, cmpopts.IgnoreTypes(kmsg.Tags{})); d != "" || got.Corr != 99 || got.ClientID != "" {
		t.Errorf("correlation %d, client %q, difference:\n%s", got.Corr, got.ClientID, d)
	}
}

func TestWhatEndsTheConnection(t *testing.T) {
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 12
	good := request(1, metadata)
	header := func(size uint32, key, version int16) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		return append(b, 0, 0, 0, 1)
	}
	long := kmsg.NewPtrMetadataRequest()
	long.Version = 12
	long.Topics = make([]kmsg.MetadataRequestTopic, maxElements+1)
	for _, c := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", good[:3], io.ErrUnexpectedEOF},
		{"half a request", good[:len(good)-1], io.ErrUnexpectedEOF},
		{"a length of zero", []byte{0, 0, 0, 0}, ErrTooLarge},
		{"a negative length", []byte{0xff, 0xff, 0xff, 0xff}, ErrTooLarge},
		{"one byte too long", header(MaxRequest+1, 3, 12), ErrTooLarge},
		{"text", []byte("GET / HTTP/1.1\r\n\r\n"), ErrTooLarge},
		{"unknown key", header(8, 999, 0), ErrUnknownKey},
		{"negative key", header(8, -1, 0), ErrUnknownKey},
		{"a request not spoken", header(8, int16(kmsg.FindCoordinator), 0), ErrUnknownKey},
		{"a version too new", header(8, int16(kmsg.Metadata), 14), ErrUnsupported},
		{"a version too old", header(8, int16(kmsg.Fetch), 3), ErrUnsupported},
		{"no client id", header(8, int16(kmsg.Metadata), 12), ErrMalformed},
		{"a body that claims too much", request(1, long), ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := read(c.bytes); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// The length is refused before anything of that size exists.
func TestOversizedIsRefusedBeforeAllocation(t *testing.T) {
	b := []byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 12}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ReadSize(bufio.NewReader(bytes.NewReader(b)), MaxRequest); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestApiVersionsNewerThanKnown(t *testing.T) {
	frame := []byte{0, byte(kmsg.ApiVersions), 0, 77, 0, 0, 0, 5}
	frame = append(frame, strings.Repeat("\xff", 40)...) // whatever the future puts there
	req, err := ParseRequest(frame)
	if err != nil {
		t.Fatal(err)
	}
	// As the core does: its own answer, in the version of the request.
	resp := req.Req.ResponseKind()
	out := AppendResponse(nil, &core.Response{Corr: req.Corr, Kmsg: resp})
	if got := int32(binary.BigEndian.Uint32(out[4:])); got != 5 {
		t.Errorf("correlation %d, want 5", got)
	}
	got := kmsg.NewPtrApiVersionsResponse() // version 0
	if err := got.ReadFrom(out[8:]); err != nil {
		t.Fatal(err)
	}
	if got.ErrorCode != api.UnsupportedVersion || len(got.ApiKeys) != len(api.Versions) {
		t.Errorf("code %d with %d keys", got.ErrorCode, len(got.ApiKeys))
	}
}

func TestOperationIDTooLongIsIgnored(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.UnknownTags.Set(OpTag, make([]byte, MaxOp+1))
	got, err := read(request(1, req))
	if err != nil || got.Op != "" {
		t.Errorf("op %q, error %v", got.Op, err)
	}
}

func TestEveryAnswerRoundTrips(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, v := range api.Versions {
		for version := v.Min; version <= v.Max; version++ {
			t.Run(fmt.Sprintf("%s-%d", kmsg.NameForKey(v.Key), version), func(t *testing.T) {
				resp := filled(rng, kmsg.ResponseForKey(v.Key)).(kmsg.Response)
				resp.SetVersion(version)
				out := AppendResponse([]byte("before"), &core.Response{Corr: 11, Kmsg: resp, Op: "x", Index: 42})
				if !bytes.HasPrefix(out, []byte("before")) {
					t.Fatal("what stood in the buffer is gone")
				}
				out = out[len("before"):]
				if n := int(binary.BigEndian.Uint32(out)); n != len(out)-4 {
					t.Fatalf("length %d of %d bytes", n, len(out)-4)
				}
				if corr := binary.BigEndian.Uint32(out[4:]); corr != 11 {
					t.Fatalf("correlation %d", corr)
				}
				body := out[8:]
				if resp.IsFlexible() && v.Key != int16(kmsg.ApiVersions) {
					if body[0] != 0 {
						t.Fatalf("header tags: %d", body[0])
					}
					body = body[1:]
				}
				got := kmsg.ResponseForKey(v.Key)
				got.SetVersion(version)
				if err := got.ReadFrom(body); err != nil {
					t.Fatal(err)
				}
				if tags := responseTags(got); tags != nil && got.IsFlexible() {
					echo := uint64(0)
					tags.Each(func(tag uint32, b []byte) {
						if tag == IndexTag {
							echo = binary.BigEndian.Uint64(b)
						}
					})
					if echo != 42 {
						t.Errorf("index %d echoed, want 42", echo)
					}
				}
				if d := cmp.Diff(resp.AppendTo(nil), got.AppendTo(nil)); d != "" {
					t.Errorf("encoded again it differs:\n%s", d)
				}
			})
		}
	}
}

func TestNoAnswerWritesNothing(t *testing.T) {
	if out := AppendResponse(nil, &core.Response{Corr: 1}); len(out) != 0 {
		t.Errorf("%d bytes for an answer without a body", len(out))
	}
}

func TestIndexIsEchoedOnlyWhenAsked(t *testing.T) {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 12
	AppendResponse(nil, &core.Response{Kmsg: resp, Index: 42})
	if resp.UnknownTags.Len() != 0 {
		t.Error("an index was echoed to a request without operation id")
	}
}

func FuzzParseRequest(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, v := range api.Versions {
		for _, version := range []int16{v.Min, v.Max} {
			req := filled(rng, kmsg.RequestForKey(v.Key)).(kmsg.Request)
			req.SetVersion(version)
			f.Add(request(1, req)[4:])
		}
	}
	f.Add([]byte{0, 3, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		req, err := ParseRequest(b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20+200*uint64(len(b)) {
			t.Errorf("%d bytes allocated for %d read", n, len(b))
		}
		if err == nil {
			req.Req.AppendTo(nil)
		}
	})
}
