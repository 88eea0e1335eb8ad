package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	headerMagic = "SOAKRAFT"
	headerSize  = 8 + 4 + 4 + 8 + 4*8 + 4

	frameMagic = 0x5ec0da7a // any number that zeros and text do not make
	frameHead  = 4 + 4 + 4

	kindSave = 1
	kindMark = 3

	markSize = frameHead + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func segmentName(seq uint64) string { return fmt.Sprintf("raft-%016d.wal", seq) }

func snapshotName(index uint64) string { return fmt.Sprintf("raft-%016d.snap", index) }

// temporary ends the names of files that are not in force yet. They are renamed when they are whole and durable.
const temporary = ".tmp"

// parseName answers the number in the name of a segment or snapshot; ours is false for files that are none of the log's.
func parseName(name, suffix string, made func(uint64) string) (number uint64, ours bool, err error) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false, nil
	}
	number, err = strconv.ParseUint(strings.TrimPrefix(digits, "raft-"), 10, 64)
	if err != nil || made(number) != name {
		return 0, true, fmt.Errorf("%q is not a name that the raft log gives", name)
	}
	return number, true, nil
}

// entryID names an entry of the raft log, {0, 0} none.
type entryID struct{ index, term uint64 }

// header is the head of a segment.
type header struct {
	format uint32
	node   int32
	seq    uint64
	// Of a segment that a compaction began, and of no other: the last entry that the log does not hold any more, and the
	// snapshot in force from here on.
	base, snapshot entryID
}

// begins says that nothing before the segment is needed but its snapshot.
func (h header) begins() bool { return h.snapshot.index > 0 }

func appendHeader(b []byte, h header) []byte {
	start := len(b)
	b = append(b, headerMagic...)
	b = put32(b, Format)
	b = put32(b, uint32(h.node))
	b = put64(b, h.seq)
	for _, e := range []entryID{h.base, h.snapshot} {
		b = put64(put64(b, e.index), e.term)
	}
	return put32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseHeader reads a header as far as its format is known: of another format, only the format.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, fmt.Errorf("%d bytes, a header has %d", len(b), headerSize)
	}
	if string(b[:8]) != headerMagic {
		return header{}, errors.New("not a raft log segment")
	}
	le := binary.LittleEndian
	h := header{format: le.Uint32(b[8:])}
	if h.format != Format {
		return h, nil
	}
	if got, want := crc32.Checksum(b[:headerSize-4], castagnoli), le.Uint32(b[headerSize-4:]); got != want {
		return header{}, fmt.Errorf("header CRC computed %08x, stored %08x", got, want)
	}
	h.node, h.seq = int32(le.Uint32(b[12:])), le.Uint64(b[16:])
	h.base = entryID{le.Uint64(b[24:]), le.Uint64(b[32:])}
	h.snapshot = entryID{le.Uint64(b[40:]), le.Uint64(b[48:])}
	if h.base.index > h.snapshot.index {
		return header{}, fmt.Errorf("header with a snapshot of index %d and entries only behind %d", h.snapshot.index, h.base.index)
	}
	return h, nil
}

// frameSalt starts a frame's checksum with its place.
func frameSalt(seq uint64, pos int64, length uint32) uint32 {
	var b [20]byte
	le := binary.LittleEndian
	le.PutUint64(b[:], seq)
	le.PutUint64(b[8:], uint64(pos))
	le.PutUint32(b[16:], length)
	return crc32.Checksum(b[:], castagnoli)
}

// sealFrame fills in the head of a frame whose body stands behind it.
func sealFrame(b []byte, seq uint64, pos int64) {
	le := binary.LittleEndian
	length := uint32(len(b) - frameHead)
	le.PutUint32(b, frameMagic)
	le.PutUint32(b[4:], length)
	le.PutUint32(b[8:], crc32.Update(frameSalt(seq, pos, length), castagnoli, b[frameHead:]))
}

type frame struct {
	length int64 // of the body
	crc    uint32
}

// parseFrame reads a frame's head, of which at least frameHead bytes are there; left is how many bytes the file holds from the head on.
func parseFrame(b []byte, left int64) (frame, error) {
	le := binary.LittleEndian
	if m := le.Uint32(b); m != frameMagic {
		return frame{}, fmt.Errorf("frame magic %08x, want %08x", m, uint32(frameMagic))
	}
	f := frame{length: int64(le.Uint32(b[4:])), crc: le.Uint32(b[8:])}
	if f.length > left-frameHead {
		return frame{}, fmt.Errorf("frame cut short: %d bytes of %d", left-frameHead, f.length)
	}
	return f, nil
}

// appendMark encodes the whole frame of a mark.
func appendMark(b []byte, seq uint64, pos int64) []byte {
	at := len(b)
	b = append(append(b, make([]byte, frameHead)...), kindMark)
	sealFrame(b[at:], seq, pos)
	return b
}

// appendSave encodes the body of a save.
func appendSave(b []byte, hs *pb.HardState, entries []*pb.Entry) ([]byte, error) {
	b = append(b, kindSave)
	var err error
	if hs == nil {
		b = append(b, 0)
	} else if b, err = appendMessage(append(b, 1), hs); err != nil {
		return nil, err
	}
	b = put32(b, uint32(len(entries)))
	for _, e := range entries {
		if b, err = appendMessage(b, e); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendMessage(b []byte, m proto.Message) ([]byte, error) {
	at := len(b)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(put32(b, 0), m)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b, nil
}

// parseSave decodes a body. It allocates nothing by a length or count that the body does not hold.
func parseSave(b []byte) (hs *pb.HardState, entries []*pb.Entry, err error) {
	if len(b) < 2 {
		return nil, nil, errors.New("body cut short")
	}
	if b[0] != kindSave {
		return nil, nil, fmt.Errorf("record of unknown kind %d", b[0])
	}
	has, rest := b[1], b[2:]
	switch has {
	case 0:
	case 1:
		hs = &pb.HardState{}
		if rest, err = parseMessage(rest, hs); err != nil {
			return nil, nil, fmt.Errorf("hard state: %w", err)
		}
	default:
		return nil, nil, fmt.Errorf("hard state flag %d", has)
	}
	if len(rest) < 4 {
		return nil, nil, errors.New("body cut short before the entries")
	}
	count := binary.LittleEndian.Uint32(rest)
	rest = rest[4:]
	for i := range count {
		e := &pb.Entry{}
		if rest, err = parseMessage(rest, e); err != nil {
			return nil, nil, fmt.Errorf("entry %d of %d: %w", i, count, err)
		}
		entries = append(entries, e)
	}
	if len(rest) > 0 {
		return nil, nil, fmt.Errorf("%d bytes too many", len(rest))
	}
	return hs, entries, nil
}

func parseMessage(b []byte, m proto.Message) (rest []byte, err error) {
	if len(b) < 4 {
		return nil, errors.New("length cut short")
	}
	n := binary.LittleEndian.Uint32(b)
	if int64(n) > int64(len(b)-4) {
		return nil, fmt.Errorf("%d bytes of %d", len(b)-4, n)
	}
	return b[4+n:], proto.Unmarshal(b[4:4+n], m)
}
