package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"soak/history"
)

// storyCommand is how to look closer at a story: the replay up to its instant on its node, or where a run cannot be replayed the audit events of that time.
func (c *collected) storyCommand(s *story) *command {
	if s.v.Time == 0 || c.Dir == "" || s.v.Time < c.from {
		return nil
	}
	node := int32(0)
	if len(s.v.Nodes) == 1 {
		node = s.v.Nodes[0]
	}
	if strings.HasPrefix(c.reproduce(), "soak replay") {
		what := "raft,isr,fault,violation"
		if s.concern().without {
			what = "raft,meta,fault,violation"
		}
		of, who := "", "the nodes"
		if node != 0 {
			of, who = fmt.Sprintf(" --node %d", node), fmt.Sprintf("n%d", node)
		}
		until := time.Duration((s.v.Time-c.from)/1e6+1) * time.Millisecond
		line := fmt.Sprintf("soak replay %s --until %s --trace %s%s", quote(c.Dir), until, what, of)
		return &command{line + " | tail -n 60", "does the run again up to this instant, and prints the last of what " + who + " said"}
	}
	from := s.v.Time - before
	if s.metadata != nil {
		from = min(from, s.from)
	}
	pattern, who := "", "all nodes"
	if node != 0 {
		pattern, who = fmt.Sprintf(`/"node":%d,"boot"/ && `, node), fmt.Sprintf("n%d", node)
	}
	file := filepath.Join(c.Dir, history.EventsFile)
	read, arg := "", " "+quote(file)
	if _, err := os.Stat(file); err != nil {
		if _, err := os.Stat(file + ".zst"); err != nil {
			return nil
		}
		read, arg = "zstd -dc "+quote(file+".zst")+" | ", ""
	}
	return &command{fmt.Sprintf(`%sawk -F'"time":' '%s$2+0 >= %d && $2+0 <= %d'%s`, read, pattern, from, s.v.Time+1e6, arg),
		fmt.Sprintf("prints the audit events of %s up to this instant, as recorded: a run on real nodes cannot be replayed to it", who)}
}
