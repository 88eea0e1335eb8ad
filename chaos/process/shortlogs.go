package process

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Nodes write their output into files, never into pipes: a node must not hang or die of a runner that does not read. With short logs these files lie in
// the work folder, what has been read of them is given back to the file system, and the run folder has what is no event.

// rawLogs is the folder of the files that nodes write into.
func (c *cluster) rawLogs(kept string) string {
	if c.cfg.ShortLogs {
		return filepath.Join(c.work, "logs")
	}
	return kept
}

// followLog begins to read a node's log, which is not there yet.
func (c *cluster) followLog(n *node) error {
	if c.cfg.ShortLogs {
		var err error
		if dir := filepath.Dir(n.log); !slices.Contains(c.folders, dir) {
			if err := c.makeFolder(dir); err != nil {
				return err
			}
		}
		n.rest, err = os.Create(filepath.Join(c.cfg.Dir, "logs", filepath.Base(n.log)))
		if err != nil {
			return fmt.Errorf("making the log of %s: %w", n.name(), err)
		}
		n.collector.KeepRest(n.rest)
	}
	n.follower = follow(n.log, n.collector, c.cfg.ShortLogs)
	return nil
}
