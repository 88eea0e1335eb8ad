package scenario

import (
	"errors"
	"strings"
	"testing"
	"time"

	"soak/chaos"
)

func TestAFaultGivenFieldByField(t *testing.T) {
	f, err := ParseFault(map[string]string{"kind": "partition-one-way", "target": "leader(it's: {odd}-3)", "way": "in", "for": "5s", "clients": "true"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind != chaos.OneWay || f.Target != "leader(it's: {odd}-3)" || f.Way != "in" || f.For.In(time.Second) != 5*time.Second || !f.Clients {
		t.Errorf("read as %+v", f)
	}
	if f, err := ParseFault(map[string]string{"kind": "all-apart"}, 3); err != nil || f.Target != TargetAll {
		t.Errorf("all-apart without a target: %+v, %v", f, err)
	}
	for _, c := range []struct {
		fields     map[string]string
		want, hint string
	}{
		{map[string]string{"kind": "kil", "target": "n1"}, `unknown kind "kil"`, `did you mean "kill"?`},
		{map[string]string{"target": "n1"}, "kind is missing", "kinds: kill"},
		{map[string]string{"kind": "kill", "target": "n4"}, "the cluster has 3 nodes", ""},
		{map[string]string{"kind": "kill", "target": "folower"}, `unknown target "folower"`, `did you mean "follower"?`},
		{map[string]string{"kind": "kill", "target": "n1", "way": "in"}, "way does not belong to kill", ""},
		{map[string]string{"kind": "link-delay", "target": "n1"}, "link-delay needs by", "as in by: 50ms"},
		{map[string]string{"kind": "kill", "target": "n1", "frequency": "1"}, `unknown field "frequency"`, "fields:"},
		{map[string]string{"kind": "kill", "target": strings.Repeat("n", 300)}, "more than 256 bytes", ""},
	} {
		_, err := ParseFault(c.fields, 3)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), c.want) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%v: %v, want %q with the hint %q", c.fields, err, c.want, c.hint)
		}
		if e != nil && e.Line != 0 {
			t.Errorf("%v: names line %d of a text that nobody wrote", c.fields, e.Line)
		}
	}
}
