package checkers

import (
	"fmt"

	"soak/history"
)

// Kinds of violation of no-crash.
const (
	KindExit     = "unasked-exit"
	KindPanic    = "panic"
	KindFatal    = "fatal"
	KindDataRace = "data-race"
)

// noCrash takes what the runner saw of the nodes from outside: exits that nobody asked for, and lines of their logs.
type noCrash struct {
	ledger
	boots map[boot]bool
}

func newNoCrash(*history.Run) *noCrash {
	return &noCrash{ledger: ledger{id: NoCrash}, boots: map[boot]bool{}}
}

func (c *noCrash) Event(e *history.Event) {
	if e.Node != 0 {
		c.boots[boot{e.Node, e.Boot}] = true
	}
	switch b := e.Body.(type) {
	case *history.Exit:
		if !b.Asked {
			sentence := fmt.Sprintf("n%d exited unasked with code %d", b.Of, b.Code)
			if b.Signal != "" {
				sentence = fmt.Sprintf("n%d was ended unasked by the signal %q", b.Of, b.Signal)
			}
			c.crashed(e, KindExit, b.Of, sentence)
		}
	case *history.LogLine:
		switch b.What {
		case "panic":
			c.crashed(e, KindPanic, b.Of, fmt.Sprintf("n%d panicked: %s", b.Of, b.Line))
		case "fatal":
			c.crashed(e, KindFatal, b.Of, fmt.Sprintf("n%d logged a fatal error: %s", b.Of, b.Line))
		case "data_race":
			c.crashed(e, KindDataRace, b.Of, fmt.Sprintf("n%d reported a data race: %s", b.Of, b.Line))
		}
	}
}

func (c *noCrash) crashed(e *history.Event, kind string, of int32, sentence string) {
	c.violate(Violation{Kind: kind, Sentence: sentence, Time: e.Time, Nodes: []int32{of}, Evidence: []string{eventLine(e)}})
}

func (c *noCrash) Finish() Verdict {
	var missing []string
	if len(c.boots) == 0 {
		missing = append(missing, "no node was seen to run")
	}
	n := int64(len(c.boots))
	return c.verdict(n, "boots", fmt.Sprintf("no node crashed in %s", plural(n, "boot")), missing)
}
