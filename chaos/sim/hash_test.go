package sim

import (
	"reflect"
	"testing"

	"soak/history"
)

// TestEveryFieldIsHashed: a record that differs in one field, however deep, has another hash. A field that is added to a record and
// forgotten in the hash would let two runs that differ pass as equal.
func TestEveryFieldIsHashed(t *testing.T) {
	bodies := []history.Body{
		&history.Started{}, &history.RoleChange{}, &history.LeaderCheck{}, &history.Propose{}, &history.Apply{}, &history.StateHash{}, &history.Snapshot{}, &history.Partition{},
		&history.Session{}, &history.Claim{}, &history.Read{}, &history.Bug{}, &history.Exit{}, &history.LogLine{}, &history.Stall{},
	}
	for _, b := range bodies {
		e := &history.Event{Body: b}
		fields(t, "event "+b.Kind(), reflect.ValueOf(e).Elem(), func() uint64 { h := hasher{}; h.event(e); return h.sum })
		fields(t, "event "+b.Kind(), reflect.ValueOf(b).Elem(), func() uint64 { h := hasher{}; h.event(e); return h.sum })
	}
	for _, op := range []*history.Operation{
		{Produce: &history.ProduceOp{}}, {Meta: &history.MetaOp{}}, {Create: &history.AutoCreateOp{}}, {Drain: &history.DrainOp{}}, {Consume: &history.ConsumeOp{}},
	} {
		fields(t, "operation", reflect.ValueOf(op).Elem(), func() uint64 { h := hasher{}; h.operation(op); return h.sum })
	}
	f := &history.Fault{}
	fields(t, "fault", reflect.ValueOf(f).Elem(), func() uint64 { h := hasher{}; h.fault(f); return h.sum })
}

// fields changes every field below v, one at a time and for good, and wants the hash to change each time.
func fields(t *testing.T, at string, v reflect.Value, sum func() uint64) {
	t.Helper()
	before := sum()
	changed := func() {
		t.Helper()
		if now := sum(); now == before {
			t.Errorf("%s is not in the hash", at)
		} else {
			before = now
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fields(t, at+"."+v.Type().Field(i).Name, v.Field(i), sum)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fields(t, at, v.Elem(), sum)
		}
	case reflect.Interface: // the body, which has its own turn
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		changed()
		fields(t, at+"[0]", v.Index(0), sum)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b"}))
		changed()
		v.Set(reflect.ValueOf(map[string]string{"a": "c"}))
		changed()
		v.Set(reflect.ValueOf(map[string]string{"b": "c"}))
		changed()
	case reflect.String:
		v.SetString("a text of more than one word")
		changed()
		v.SetString("a text of more than one wore")
		changed()
	case reflect.Bool:
		v.SetBool(true)
		changed()
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
		changed()
		v.SetInt(-1 << 14)
		changed()
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(1 << 30)
		changed()
	default:
		t.Fatalf("%s has a kind that this test does not know: %s", at, v.Kind())
	}
}
