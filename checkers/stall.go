package checkers

import (
	"fmt"
	"time"

	"soak/history"
)

// whileStalled adds to a sentence the stall that is why nothing is made of it: the machine's, as the runner saw it, or a node's by its own word.
func whileStalled(sentence string, stall *history.Event, clock func(int64) string) string {
	who := "the machine"
	b := stall.Body.(*history.Stall)
	switch {
	case b.What == history.StallDisk:
		who = "the machine's disk"
	case stall.Node != 0:
		who = node(stall.Node)
	}
	return fmt.Sprintf("%s; %s stalled meanwhile, for %s until %s", sentence, who, time.Duration(b.Nanos).Round(time.Millisecond), clock(stall.Time))
}
