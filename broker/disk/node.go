package disk

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"

	"soak/internal/vfs"
)

// Format is the version of the data directory that this package writes, and the only one it opens.
const Format = 3 // 2 left leader epochs in segments without a checksum, 1 node.json

const nodeFile = "node.json"

// nodeInfo is node.json.
type nodeInfo struct {
	Format int    `json:"format"`
	Node   int32  `json:"node"`
	Boot   uint64 `json:"boot"` // how often the directory was opened
	// Members are the nodes of the cluster that it belongs to. Raft's voters are configured, not stored in its log: a node that
	// came back with another list could elect itself by a majority of that.
	Members []int32 `json:"members,omitempty"`
	// Unsynced: records of this boot may not be on disk (Options.Unsynced). The orderly end of the boot takes it back: that is the clean-shutdown mark.
	Unsynced bool `json:"unsynced,omitempty"`
	// Unclean is the last boot that was Unsynced to its end, 0 if none was.
	Unclean uint64 `json:"unclean,omitempty"`
	CRC     uint32 `json:"crc"` // CRC32C, see sum
}

// sum guards the numbers against rot: JSON alone would read another boot number as readily, and a node that counts a boot
// twice leads again in an epoch of its earlier life.
func (n nodeInfo) sum() uint32 {
	b := binary.LittleEndian.AppendUint64(nil, uint64(n.Format))
	b = binary.LittleEndian.AppendUint64(b, uint64(n.Node))
	b = binary.LittleEndian.AppendUint64(b, n.Boot)
	for _, m := range n.Members {
		b = binary.LittleEndian.AppendUint32(b, uint32(m))
	}
	if n.Unsynced || n.Unclean > 0 { // so that a file from before there was either has the same sum
		b = append(b, 0)
		if n.Unsynced {
			b[len(b)-1] = 1
		}
		b = binary.LittleEndian.AppendUint64(b, n.Unclean)
	}
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// maxNodeFile bounds what is read of a node.json that may be anything.
const maxNodeFile = 4 << 10

// countBoot checks whose directory it is and answers what it says of this boot, durable.
func countBoot(fsys vfs.FS, dir string, o Options) (nodeInfo, error) {
	n, err := readNode(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		n, err = nodeInfo{Format: Format, Node: o.Node, Members: o.Members}, checkEmpty(fsys, dir)
	}
	if err != nil {
		return n, err
	}
	if n.Node != o.Node {
		return n, &WrongNodeError{Dir: dir, Have: n.Node, Want: o.Node}
	}
	if len(o.Members) > 0 && len(n.Members) > 0 && !slices.Equal(n.Members, o.Members) {
		return n, &MembersError{Dir: dir, Have: n.Members, Want: o.Members}
	}
	if n.Unsynced {
		n.Unclean = n.Boot
	}
	n.Boot++
	n.Unsynced = o.Unsynced
	if err := writeNode(fsys, dir, n); err != nil {
		return n, fmt.Errorf("write %s: %w", filepath.Join(dir, nodeFile), err)
	}
	return n, nil
}

func readNode(fsys vfs.FS, dir string) (n nodeInfo, err error) {
	path := filepath.Join(dir, nodeFile)
	f, err := fsys.Open(path)
	if err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return n, err
	}
	if size > maxNodeFile {
		return n, &DamageError{File: path, Reason: fmt.Sprintf("%d bytes long", size)}
	}
	b := make([]byte, size)
	if k, err := f.ReadAt(b, 0); k < len(b) {
		return n, fmt.Errorf("read %s: %w", path, err)
	}
	// The format first, alone: in another one the rest may mean something else.
	var head struct{ Format int }
	if err := json.Unmarshal(b, &head); err != nil {
		return n, &DamageError{File: path, Reason: err.Error()}
	}
	if head.Format != Format {
		return n, &FormatError{File: path, Have: head.Format, Want: Format}
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return n, &DamageError{File: path, Reason: err.Error()}
	}
	if sum := n.sum(); sum != n.CRC {
		return n, &DamageError{File: path, Reason: fmt.Sprintf("CRC computed %08x, stored %08x", sum, n.CRC)}
	}
	if n.Node < 1 || n.Boot < 1 || n.Unclean > n.Boot {
		return n, &DamageError{File: path, Reason: fmt.Sprintf("node id %d, boot %d", n.Node, n.Boot)}
	}
	return n, nil
}

// checkEmpty refuses a directory that holds logs but no node.json, which is written before them: a node that
// went on there would have forgotten who it is and how often it started.
func checkEmpty(fsys vfs.FS, dir string) error {
	for _, name := range []string{"raft", "logs"} {
		if _, err := fsys.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			return &DamageError{File: filepath.Join(dir, nodeFile), Reason: fmt.Sprintf("missing, though there is a directory %q beside it", name)}
		}
	}
	return nil
}

// writeNode replaces node.json in one step.
func writeNode(fsys vfs.FS, dir string, n nodeInfo) error {
	n.CRC = n.sum()
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, nodeFile)
	f, err := fsys.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(path+".tmp", path); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
