package sim

import (
	"encoding/json"
	"hash/fnv"

	"soak/history"
)

// hasher folds everything that was observed into one number, in the encodings that the run folder has: equal hashes mean equal
// events.jsonl, history.jsonl and faults.jsonl.
type hasher struct {
	sum uint64
	buf []byte
}

func (h *hasher) add(b []byte) {
	f := fnv.New64a()
	f.Write(b)
	h.sum = mix(h.sum, f.Sum64())
}

func (h *hasher) event(e *history.Event) {
	h.buf = history.AppendEvent(h.buf[:0], e)
	h.add(h.buf)
}

func (h *hasher) operation(op *history.Operation) { h.json(op) }
func (h *hasher) fault(f *history.Fault)          { h.json(f) }

func (h *hasher) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("sim: a record that cannot be encoded: " + err.Error())
	}
	h.add(b)
}
