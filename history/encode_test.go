package history

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// bodies generates any value of each kind.
var bodies = map[string]*rapid.Generator[Body]{
	"started":      body[Started](),
	"role":         body[RoleChange](),
	"leader_check": body[LeaderCheck](),
	"propose":      body[Propose](),
	"apply":        body[Apply](),
	"state_hash":   body[StateHash](),
	"snapshot":     body[Snapshot](),
	"partition":    body[Partition](),
	"session":      body[Session](),
	"claim":        body[Claim](),
	"read":         body[Read](),
	"bug":          body[Bug](),
	"exit":         body[Exit](),
	"log_line":     body[LogLine](),
	"stall":        body[Stall](),
}

func body[T any, P interface {
	*T
	Body
}]() *rapid.Generator[Body] {
	return rapid.Map(rapid.Make[T](), func(v T) Body { return P(&v) })
}

func TestEventsRoundTrip(t *testing.T) {
	if len(bodies) != len(newBody) {
		t.Fatalf("%d kinds are tested, %d are known", len(bodies), len(newBody))
	}
	forms := map[string]func([]byte, *Event) []byte{"event": AppendEvent, "log line": AppendLogLine}
	for kind, gen := range bodies {
		for form, encode := range forms {
			t.Run(kind+"/"+form, func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					want := Event{
						Node: rapid.Int32Min(0).Draw(t, "node"), Boot: rapid.Uint64().Draw(t, "boot"), Seq: rapid.Uint64().Draw(t, "seq"),
						Time: rapid.Int64().Draw(t, "time"), Body: gen.Draw(t, "body"),
					}
					line := encode(nil, &want)
					if !json.Valid(line) || strings.ContainsRune(string(line), '\n') {
						t.Fatalf("not one line of JSON: %q", line)
					}
					got, ok, err := ParseEvent(line)
					if !ok || err != nil {
						t.Fatalf("ParseEvent(%s) = %v, %v", line, ok, err)
					}
					if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
						t.Fatalf("%s\n%s", line, d)
					}
				})
			})
		}
	}
}

// The hand-written encoding and the tags, which ParseEvent decodes by, must not drift apart.
func TestAppendEventNamesEveryFieldAsTheTags(t *testing.T) {
	for kind, gen := range bodies {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				e := Event{Node: 1, Boot: 2, Seq: 3, Time: 4, Body: gen.Draw(t, "body")}
				tagged, err := json.Marshal(e.Body)
				if err != nil {
					t.Fatal(err)
				}
				var want, got map[string]any
				if err := json.Unmarshal(tagged, &want); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(AppendEvent(nil, &e), &got); err != nil {
					t.Fatal(err)
				}
				for _, head := range []string{"event", "node", "boot", "seq", "time"} {
					if _, ok := got[head]; !ok {
						t.Fatalf("no field %q", head)
					}
					delete(got, head)
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Fatal(d)
				}
			})
		})
	}
}

func TestEventForms(t *testing.T) {
	e := Event{Node: 1, Boot: 2, Seq: 17, Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC).UnixNano(), Body: &Propose{
		Command: "set_partition_leader", Key: "orders-0", Term: 3, Role: RoleFollower, Leader: 2, Attempt: 4, Outcome: ProposeRefused,
		Error: "Cannot propose: this node (id=1) is not the leader (state=Follower, leader=2)", Cause: "elect",
	}}
	body := `,"command":"set_partition_leader","key":"orders-0","term":3,"role":"follower","leader":2,"attempt":4,"outcome":"refused",` +
		`"error":"Cannot propose: this node (id=1) is not the leader (state=Follower, leader=2)","cause":"elect"}`
	if got, want := string(AppendEvent(nil, &e)), `{"event":"propose","node":1,"boot":2,"seq":17,"time":1767323045000000600`+body; got != want {
		t.Errorf("AppendEvent\n got %s\nwant %s", got, want)
	}
	want := `{"time":"2026-01-02T03:04:05.0000006Z","level":"WARN",` +
		`"msg":"Cannot propose: this node (id=1) is not the leader (state=Follower, leader=2)",` +
		`"event":"propose","node":1,"boot":2,"seq":17,"t":1767323045000000600` + body
	if got := string(AppendLogLine(nil, &e)); got != want {
		t.Errorf("AppendLogLine\n got %s\nwant %s", got, want)
	}
}

func TestMessages(t *testing.T) {
	for _, c := range []struct {
		body       Body
		level, msg string
	}{
		{&LeaderCheck{Term: 3, Role: RoleLeader, Cause: CauseInterval}, "INFO", "partition leader check"},
		{&Claim{What: "elected", Key: "orders-0", Leader: 2, LeaderEpoch: 5}, "INFO", "elected broker 2 as leader of orders-0 in epoch 5"},
		{&Propose{Command: "create_topic", Key: "a", Outcome: ProposeDropped, Error: "raft proposal dropped"}, "WARN", "proposal of create_topic a dropped: raft proposal dropped"},
		{&Propose{Command: "create_topic", Key: "a", Outcome: ProposeAccepted}, "INFO", "proposed create_topic a"},
		{&RoleChange{Term: 4, Role: RoleFollower}, "INFO", "raft role is follower in term 4, leader unknown"},
		{&Session{Broker: 3, State: "expired"}, "WARN", "session of broker 3 is expired"},
	} {
		if level, msg := Message(c.body); level != c.level || msg != c.msg {
			t.Errorf("Message(%+v) = %s, %q; want %s, %q", c.body, level, msg, c.level, c.msg)
		}
	}
}

func TestParseEventTellsEventsFromOtherLines(t *testing.T) {
	for _, line := range []string{
		"", "panic: runtime error", `{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"stats","memory":1}`,
		`{"event":"of a later version","node":1,"time":3}`, `{"msg":"the \"event\" of the day"}`, `["event"]`, `{"event":null}`,
	} {
		if _, ok, err := ParseEvent([]byte(line)); ok || err != nil {
			t.Errorf("ParseEvent(%s) = %v, %v; want no event and no error", line, ok, err)
		}
	}
	for _, line := range []string{
		`{"event":"role","node":1,"boot":1,"seq":1,"time":5,"ter`,
		`{"event":"role","node":1,"boot":1,"seq":1,"time":5,"term":"three"}`,
		`{"event":"role","node":1,"boot":1,"seq":1}`,
		`{"event":"role","node":1,"boot":1,"seq":1,"time":null}`,
		`{"event":"role","node":-1,"boot":1,"seq":1,"time":5}`,
		`{"event":"role","node":1,"boot":-1,"seq":1,"time":5}`,
		`{"event":"role","node":1,"boot":1,"seq":1,"time":"2026-01-02T03:04:05Z"}`,
		`{"event":7,"time":3}`,
	} {
		if _, ok, err := ParseEvent([]byte(line)); ok || err == nil {
			t.Errorf("ParseEvent(%s) = %v, %v; want an error", line, ok, err)
		}
	}
	e, ok, err := ParseEvent([]byte(`{"event":"role","node":1,"boot":1,"seq":1,"time":5,"term":3,"role":"leader","leader":1,"later":[1]}` + "\n"))
	if !ok || err != nil || e.Body.(*RoleChange).Term != 3 || e.Time != 5 {
		t.Errorf("an unknown field: %+v, %v, %v", e, ok, err)
	}
}

func FuzzParseEvent(f *testing.F) {
	for _, gen := range bodies {
		e := Event{Node: 1, Boot: 1, Seq: 1, Time: 1, Body: gen.Example(1)}
		f.Add(AppendEvent(nil, &e))
		f.Add(AppendLogLine(nil, &e))
	}
	f.Add([]byte(`{"event":"apply","time":1,"changes":[null,{}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, ok, err := ParseEvent(line)
		if ok != (e.Body != nil) || ok && err != nil {
			t.Fatalf("ParseEvent = %+v, %v, %v", e, ok, err)
		}
		if !ok {
			return
		}
		again, ok, err := ParseEvent(AppendEvent(nil, &e))
		if !ok || err != nil {
			t.Fatalf("what was read is not read again: %v, %v", ok, err)
		}
		if d := cmp.Diff(e, again, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	e := Event{Node: 1, Boot: 2, Seq: 17, Time: 1767323045000000600, Body: &LeaderCheck{Term: 3, Role: RoleLeader, Cause: CauseInterval}}
	buf := make([]byte, 0, 512)
	for b.Loop() {
		buf = AppendEvent(buf[:0], &e)
	}
}
