package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"soak/broker/api"
)

// versionsRead are the versions of a body that this package reads: requests from clients, and either from brokers.
func versionsRead(m message, client bool) []int16 {
	var out []int16
	if v, ok := api.Find(m.Key()); ok && client {
		for n := v.Min; n <= v.Max; n++ {
			out = append(out, n)
		}
	}
	if v := peerVersion(m); forwarded[m.Key()] && !slices.Contains(out, v) {
		out = append(out, v)
	}
	return out
}

func TestShapesAgreeWithEncoder(t *testing.T) {
	try := func(name string, s shape, m message, client bool) {
		rng := rand.New(rand.NewPCG(1, uint64(m.Key())))
		for _, version := range versionsRead(m, client) {
			for range 50 {
				f := filled(rng, m)
				f.SetVersion(version)
				body := f.AppendTo(nil)
				rest, err := s.check(version, body)
				if err != nil || rest != 0 {
					t.Fatalf("%s %s version %d: %d bytes left, error %v", name, kmsg.NameForKey(m.Key()), version, rest, err)
				}
				for cut := range min(len(body), 60) {
					if _, err := s.check(version, body[:len(body)-1-cut]); err == nil {
						t.Fatalf("%s %s version %d: holds without its last %d bytes", name, kmsg.NameForKey(m.Key()), version, cut+1)
					}
				}
			}
		}
	}
	for key, s := range requestShapes {
		try("request", s, kmsg.RequestForKey(key), true)
	}
	for key, s := range responseShapes {
		try("response", s, kmsg.ResponseForKey(key), false)
	}
	for _, v := range api.Versions {
		if _, ok := requestShapes[v.Key]; !ok {
			t.Errorf("%s is advertised and has no shape", kmsg.NameForKey(v.Key))
		}
	}
}

// A few bytes must not make the decoder allocate or loop by what they claim.
func TestShapeRefusesClaims(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x07} // a compact length of 2³¹−2
	metadata := requestShapes[int16(kmsg.Metadata)]
	for _, c := range []struct {
		name    string
		version int16
		body    []byte
		want    error
	}{
		{"elements beyond the budget", 9, huge, errElements},
		{"elements within the budget that are not there", 9, []byte{0x80, 0x80, 0x02}, errShort},
		{"tagged fields", 9, append([]byte{1, 0, 0, 0}, huge...), errTags},
		{"a tagged field's size", 9, append([]byte{1, 0, 0, 0, 1, 1}, huge...), errShort},
		{"a varint of more than 32 bits", 9, bytes.Repeat([]byte{0xff}, 12), errShort},
		{"a varint of 35 bits", 9, []byte{0xff, 0xff, 0xff, 0xff, 0x7f}, errLength},
		{"a negative array", 1, []byte{0xff, 0xff, 0xff, 0xff}, nil},
		{"a plain array", 1, []byte{0x7f, 0xff, 0xff, 0xff}, errElements},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := metadata.check(c.version, c.body); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
