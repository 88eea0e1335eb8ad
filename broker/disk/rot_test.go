package disk_test

import (
	"testing"

	"soak/broker/disk"
	"soak/internal/vfs"
)

// Whatever bit of node.json turns over, the directory is refused, or is the same node's in its next boot: a boot number that is
// used twice would let a node lead again in an epoch of its earlier life.
func TestNoBitOfNodeJSONRotsUnseen(t *testing.T) {
	refused, same := 0, 0
	for bit := 0; ; bit++ {
		fsys := vfs.NewSim(nil)
		for range 2 {
			d, _, _, err := disk.Open(fsys, "data", disk.Options{Node: 1})
			if err != nil || d.Close() != nil {
				t.Fatal(err)
			}
		}
		if !fsys.Flip("data/node.json", int64(bit/8), uint(bit%8)) {
			break
		}
		switch _, _, boot, err := disk.Open(fsys, "data", disk.Options{Node: 1}); {
		case err != nil:
			refused++
		case boot == 3:
			same++
		default:
			t.Errorf("with bit %d of byte %d turned over the third boot is number %d", bit%8, bit/8, boot)
		}
	}
	if refused < 200 || same == 0 {
		t.Errorf("%d bits were refused, %d made no difference (the case of a field's name): the test has not done its work", refused, same)
	}
}
