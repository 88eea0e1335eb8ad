package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits on what one body may hold. They bound what decoding allocates, whatever the bytes claim: kmsg's largest
// element is some 200 bytes.
const (
	maxElements = 100_000 // array elements in all arrays of one body together
	maxTags     = 1_000   // tagged fields that nobody knows, in one body together: kmsg keeps those. Known ones are bounded by the elements that have them
)

var (
	errShort    = errors.New("the body ends before its last field")
	errElements = fmt.Errorf("more than %d array elements", maxElements)
	errTags     = fmt.Errorf("more than %d unknown tagged fields", maxTags)
	errLength   = errors.New("a length is out of range")
)

// kind of a field. The sizes of str, bytes and array lengths depend on whether the version is flexible.
type kind uint8

const (
	kFixed  kind = iota // n bytes
	kString             // possibly null
	kBytes              // possibly null
	kArray              // of structs with the given fields
	kPlain              // array of n-byte elements (or of strings if n is 0), which have no tags of their own
	kStruct             // tagged structs only
)

// field is one field of a shape, present in versions min to max.
type field struct {
	kind     kind
	n        int
	min, max int16
	tag      int // -1: not a tagged field
	sub      []field
}

// shape is a request's or response's body: what fields it has at which version. It says nothing of their meaning.
type shape struct {
	flexible int16 // first flexible version
	fields   []field
}

func fixed(n int) field                 { return field{kind: kFixed, n: n, max: 1<<15 - 1, tag: -1} }
func arr(sub ...field) field            { return field{kind: kArray, sub: sub, max: 1<<15 - 1, tag: -1} }
func plain(n int) field                 { return field{kind: kPlain, n: n, max: 1<<15 - 1, tag: -1} }
func structure(sub ...field) field      { return field{kind: kStruct, sub: sub, max: 1<<15 - 1, tag: -1} }
func since(v int16, f field) field      { f.min = v; return f }
func until(v int16, f field) field      { f.max = v; return f }
func tagged(n int, f field) field       { f.tag = n; return f }
func body(flex int16, f ...field) shape { return shape{flexible: flex, fields: f} }

var (
	i8, i16, i32, i64, id = fixed(1), fixed(2), fixed(4), fixed(8), fixed(16)
	str                   = field{kind: kString, max: 1<<15 - 1, tag: -1}
	byts                  = field{kind: kBytes, max: 1<<15 - 1, tag: -1}
)

// check walks a body along its shape and returns how many bytes follow it. After it has passed, kmsg's decoder allocates no
// more than in proportion to maxElements, and loops no longer than the body.
func (s shape) check(version int16, src []byte) (rest int, err error) {
	w := walker{src: src, version: version, flexible: version >= s.flexible}
	w.structure(s.fields)
	return len(w.src), w.err
}

type walker struct {
	src            []byte
	version        int16
	flexible       bool
	elements, tags int
	err            error
}

func (w *walker) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.src = nil
}

func (w *walker) skip(n int) []byte {
	if n < 0 || n > len(w.src) {
		w.fail(errShort)
		return nil
	}
	b := w.src[:n:n]
	w.src = w.src[n:]
	return b
}

// uvarint reads an unsigned varint of at most 32 bits, the widest that Kafka has for lengths.
func (w *walker) uvarint() int {
	v, n := binary.Uvarint(w.src)
	if n <= 0 {
		w.fail(errShort)
		return 0
	}
	if n > 5 || v > 1<<31-1 {
		w.fail(errLength)
		return 0
	}
	w.src = w.src[n:]
	return int(v)
}

// length reads a length of width bytes, or a compact one; null is 0.
func (w *walker) length(width int) int {
	if w.flexible {
		return max(w.uvarint()-1, 0)
	}
	b := w.skip(width)
	if b == nil {
		return 0
	}
	if width == 2 {
		return max(int(int16(binary.BigEndian.Uint16(b))), 0)
	}
	return max(int(int32(binary.BigEndian.Uint32(b))), 0)
}

func (w *walker) structure(fields []field) {
	for i := range fields {
		if f := &fields[i]; f.tag < 0 && f.min <= w.version && w.version <= f.max {
			w.field(f)
		}
		if w.err != nil {
			return
		}
	}
	if w.flexible {
		w.taggedFields(fields)
	}
}

func (w *walker) field(f *field) {
	switch f.kind {
	case kFixed:
		w.skip(f.n)
	case kString:
		w.skip(w.length(2))
	case kBytes:
		w.skip(w.length(4))
	case kStruct:
		w.structure(f.sub)
	case kArray:
		for n := w.count(); n > 0 && w.err == nil; n-- {
			w.structure(f.sub)
		}
	case kPlain:
		n := w.count()
		if f.n > 0 {
			w.skip(n * f.n)
			return
		}
		for ; n > 0 && w.err == nil; n-- {
			w.skip(w.length(2))
		}
	}
}

// count reads an array's length and charges it to the body's budget.
func (w *walker) count() int {
	n := w.length(4)
	if w.elements += n; w.elements > maxElements {
		w.fail(errElements)
		return 0
	}
	return n
}

func (w *walker) taggedFields(fields []field) {
	n := w.uvarint()
	if n > maxTags+len(fields) {
		w.fail(errTags)
		return
	}
	for ; n > 0 && w.err == nil; n-- {
		tag := w.uvarint()
		value := w.skip(w.uvarint())
		known := false
		for i := range fields {
			if w.err == nil && fields[i].tag == tag {
				known = true
				w.within(value, &fields[i])
			}
		}
		if known {
			continue
		}
		if w.tags++; w.tags > maxTags {
			w.fail(errTags)
		}
	}
}

// within walks a known tagged field, whose value has a frame of its own.
func (w *walker) within(value []byte, f *field) {
	outer := w.src
	w.src = value
	w.field(f)
	if w.err == nil {
		w.src = outer
	}
}
