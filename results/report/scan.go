package report

import (
	"bytes"
	"math"
)

// opHead is what the drawings need of most operations: the fields that stand before an operation's long lists.
type opHead struct {
	id               []byte
	client           []byte
	node             int32
	invoke, complete int64
	outcome          []byte
	err              []byte
	kind             string // produce, meta, create, drain, consume
	topic            []byte // or the name that a meta operation is about
	partition        int32
	count            int32
}

// scanOp reads the beginning of a line of history.jsonl as the recorder writes it. It is by hand because a long run has some millions of such
// lines and encoding/json takes about twenty times as long. False where the line looks otherwise: then encoding/json decides. The slices are those of the line.
func scanOp(line []byte) (h opHead, ok bool) {
	s := scanner{rest: line}
	s.expect(`{"id":`)
	h.id = s.text()
	if s.has(`,"client":`) {
		h.client = s.text()
	}
	s.expect(`,"node":`)
	h.node = int32(s.number())
	s.expect(`,"invoke":`)
	h.invoke = s.number()
	if s.has(`,"complete":`) {
		h.complete = s.number()
	}
	s.expect(`,"outcome":`)
	h.outcome = s.text()
	if s.has(`,"error":`) {
		h.err = s.text()
	}
	switch {
	case s.has(`,"produce":{"topic":`):
		h.kind = "produce"
	case s.has(`,"consume":{"topic":`):
		h.kind = "consume"
	case s.has(`,"drain":{"topic":`):
		h.kind = "drain"
	case s.has(`,"create":{"topic":`):
		h.kind = "create"
		h.topic = s.text()
		return h, !s.failed
	default:
		return h, false // meta operations are few
	}
	h.topic = s.text()
	s.expect(`,"partition":`)
	h.partition = int32(s.number())
	if h.kind == "produce" {
		if i := bytes.Index(s.rest, []byte(`,"count":`)); i >= 0 && i < 120 {
			s.rest = s.rest[i+len(`,"count":`):]
			h.count = int32(s.number())
		} else {
			s.failed = true
		}
	}
	return h, !s.failed
}

// scanner reads compact JSON from left to right. After a failure it reads nothing more.
type scanner struct {
	rest   []byte
	failed bool
}

func (s *scanner) has(prefix string) bool {
	if s.failed || len(s.rest) < len(prefix) || string(s.rest[:len(prefix)]) != prefix {
		return false
	}
	s.rest = s.rest[len(prefix):]
	return true
}

func (s *scanner) expect(prefix string) {
	if !s.has(prefix) {
		s.failed = true
	}
}

// text is a string without escapes.
func (s *scanner) text() []byte {
	if s.failed || len(s.rest) == 0 || s.rest[0] != '"' {
		s.failed = true
		return nil
	}
	end := bytes.IndexByte(s.rest[1:], '"')
	if end < 0 || bytes.IndexByte(s.rest[1:1+end], '\\') >= 0 {
		s.failed = true
		return nil
	}
	out := s.rest[1 : 1+end]
	s.rest = s.rest[end+2:]
	return out
}

func (s *scanner) number() int64 {
	if s.failed {
		return 0
	}
	i, negative := 0, false
	if len(s.rest) > 0 && s.rest[0] == '-' {
		i, negative = 1, true
	}
	begin := i
	var n int64
	for i < len(s.rest) && s.rest[i] >= '0' && s.rest[i] <= '9' {
		if n > (math.MaxInt64-9)/10 {
			s.failed = true
			return 0
		}
		n = n*10 + int64(s.rest[i]-'0')
		i++
	}
	if i == begin {
		s.failed = true
		return 0
	}
	s.rest = s.rest[i:]
	if negative {
		n = -n
	}
	return n
}

// eventHead reads the kind and the time of a line of events.jsonl.
func eventHead(line []byte) (kind []byte, at int64, ok bool) {
	s := scanner{rest: line}
	s.expect(`{"event":`)
	kind = s.text()
	if i := bytes.Index(s.rest, []byte(`,"time":`)); i >= 0 && i < 80 {
		s.rest = s.rest[i+len(`,"time":`):]
		at = s.number()
		return kind, at, !s.failed
	}
	return nil, 0, false
}

// field is a number that stands somewhere in the line; 0 if it is not there.
func field(line []byte, key string) int64 {
	i := bytes.Index(line, []byte(key))
	if i < 0 {
		return 0
	}
	s := scanner{rest: line[i+len(key):]}
	return s.number()
}
