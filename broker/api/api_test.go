package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTableIsAscendingAndWithinWhatCanBeEncoded(t *testing.T) {
	for i, v := range Versions {
		if i > 0 && Versions[i-1].Key >= v.Key {
			t.Errorf("key %d follows %d: the table must ascend", v.Key, Versions[i-1].Key)
		}
		req := kmsg.RequestForKey(v.Key)
		if req == nil {
			t.Fatalf("key %d: no such request", v.Key)
		}
		if v.Min < 0 || v.Min > v.Max || v.Max > req.MaxVersion() {
			t.Errorf("%s: versions %d to %d, of at most %d", kmsg.NameForKey(v.Key), v.Min, v.Max, req.MaxVersion())
		}
	}
}

func TestSupported(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		want         bool
	}{
		{int16(kmsg.Produce), 0, true},
		{int16(kmsg.Produce), 12, true},
		{int16(kmsg.Produce), 13, false},
		{int16(kmsg.Fetch), 3, false},
		{int16(kmsg.Fetch), 14, true},
		{int16(kmsg.Metadata), -1, false},
		{int16(kmsg.FindCoordinator), 0, false},
		{-1, 0, false},
	} {
		if got := Supported(c.key, c.version); got != c.want {
			t.Errorf("Supported(%d, %d) = %v, want %v", c.key, c.version, got, c.want)
		}
	}
}

func TestResponseOfAnUnknownVersionHasBodyZeroAndTheList(t *testing.T) {
	for _, version := range []int16{5, 99, -1} {
		r := Response(version)
		if r.Version != 0 || r.ErrorCode != UnsupportedVersion || len(r.ApiKeys) != len(Versions) {
			t.Errorf("version %d: answered with version %d, code %d, %d keys", version, r.Version, r.ErrorCode, len(r.ApiKeys))
		}
	}
	r := Response(4)
	if r.Version != 4 || r.ErrorCode != 0 || len(r.ApiKeys) != len(Versions) {
		t.Errorf("version 4: answered with version %d, code %d, %d keys", r.Version, r.ErrorCode, len(r.ApiKeys))
	}
}
