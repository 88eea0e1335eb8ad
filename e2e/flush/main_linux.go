// Command flush is the enemy of a test: in the network namespace that it is started in, it empties the nftables tables of a fault behind the
// runner's back, and leaves the tables themselves.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
)

func main() {
	var c nftables.Conn
	tables, err := c.ListTables()
	emptied := 0
	for _, t := range tables {
		if strings.HasPrefix(t.Name, "soak") {
			c.FlushTable(t)
			emptied++
		}
	}
	if err == nil {
		err = c.Flush()
	}
	if err != nil || emptied == 0 {
		fmt.Fprintf(os.Stderr, "emptied %d tables: %v\n", emptied, err)
		os.Exit(1)
	}
}
