package broker

import (
	"soak/broker/core"
	"soak/broker/disk"
	"soak/internal/vfs"
)

// realParts are those of a broker that is not under test.
func realParts() parts {
	return parts{
		open: func(fs vfs.FS, dir string, o disk.Options) (storage, core.Boot, uint64, error) {
			d, boot, number, err := disk.Open(fs, dir, o)
			if err != nil {
				return nil, core.Boot{}, 0, err
			}
			return d, boot, number, nil
		},
		sync: disk.SyncParallel,
		core: func(c core.Config, b core.Boot, now int64) (node, error) {
			n, err := core.New(c, b, now)
			if err != nil {
				return nil, err
			}
			return n, nil
		},
	}
}

// dataHint says what to do about a data directory that does not open.
func dataHint(err error) string {
	if h := disk.Hint(err); h != "" {
		return h
	}
	return "check --data: it must be a directory that this user may write to, on a file system with room"
}
