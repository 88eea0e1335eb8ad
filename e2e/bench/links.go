package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// linkFaults are those that both drivers have, as `soak cluster fault` takes them.
var linkFaults = []string{
	"partition n2", "partition-one-way n2 --way in", "bridge n1+n2", "all-apart", "partition-clients n2", "flapping-partition n2 --every 1s", "connection-reset n2 --every 1s",
}

// between is how long a cluster is left whole between two faults.
const between = 2 * time.Second

// fault is what `soak cluster fault --json` and `heal --json` say of one; times are nanoseconds.
type fault struct {
	Asked     int64 `json:"asked"`
	Effective int64 `json:"effective"` // its effect was seen in the data path
	HealAsked int64 `json:"heal_asked"`
	Healed    int64 `json:"healed"` // its end was seen there
}

// links injects and heals each fault of links.
func (b *bench) links(t table) error {
	for _, words := range linkFaults {
		time.Sleep(between)
		injected, err := b.said(append([]string{"fault"}, strings.Fields(words)...)...)
		if err != nil {
			return err
		}
		healed, err := b.said("heal", "all")
		if err != nil {
			return err
		}
		if injected.Asked == 0 || injected.Effective == 0 || healed.HealAsked == 0 || healed.Healed == 0 {
			return fmt.Errorf("soak cluster fault %s: it was not said when it began and ended: %+v, %+v", words, injected, healed)
		}
		t.add("a fault of links injected, its effect seen: "+strings.Fields(words)[0], time.Duration(injected.Effective-injected.Asked).Seconds()*1000, "ms", 0)
		t.add("a fault of links healed, its end seen: "+strings.Fields(words)[0], time.Duration(healed.Healed-healed.HealAsked).Seconds()*1000, "ms", 0)
	}
	return nil
}

func (b *bench) said(args ...string) (f fault, err error) {
	out, err := b.cluster(append(args, "--json")...)
	if err == nil {
		err = json.Unmarshal([]byte(out), &f)
	}
	if err != nil {
		return f, fmt.Errorf("soak cluster %s: %w", strings.Join(args, " "), err)
	}
	return f, nil
}
