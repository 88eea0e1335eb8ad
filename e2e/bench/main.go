// Command bench measures a cluster of the reference broker as its users meet it, through the soak binary and franz-go: how soon it takes a record
// from nothing, how long it takes none when its controller dies, how many it takes in a second, synced and not, and how soon faults of links come
// and go; then what the runner takes of a processor beside a cluster under load. It prints a Markdown table. Figures are of the machine that it runs on, all of
// it: clients, brokers and whatever else is at work there. Beside them stands an in-memory fake in the client's own process, franz-go's kfake: what the client can do
// on this machine at all.
//
// It is a module of its own, so that those who use Soak's packages do not inherit the fake.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	soak := flag.String("soak", "bin/soak", "the soak binary (make build)")
	drivers := flag.String("drivers", "process,docker", "drivers, with commas")
	runs := flag.Int("n", 3, "clusters of each driver; the median is printed, with least and most")
	seconds := flag.Int("seconds", 10, "of produce at full speed, on each cluster")
	partitions := flag.Int("partitions", 6, "of the topic that is produced to")
	load := flag.Int("load", 60, "seconds of the run at 5,000 records a second; 0: none")
	flag.Parse()
	fmt.Printf("%s/%s, %d processors, %s\n\n| driver | what | median | least | most |\n|---|---|---|---|---|\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	failed := false
	try := func(driver string, measure func(table) error) {
		all := table{driver: driver}
		for range *runs {
			one := table{rows: map[string]*row{}}
			if err := measure(one); err != nil {
				fmt.Fprintf(os.Stderr, "error: %s: %v\n", driver, err)
				failed = true
				break
			}
			all.join(one)
		}
		all.print()
	}
	for driver := range strings.SplitSeq(*drivers, ",") {
		b := bench{soak: *soak, driver: driver, seconds: *seconds, partitions: int32(*partitions)}
		try(driver, b.whole)
		try(driver, b.unsynced)
		if *load > 0 {
			try(driver, func(t table) error { return runner(t, *soak, driver, *load) })
		}
	}
	try("kfake", func(t table) error { return fake(t, *seconds, int32(*partitions)) })
	if failed {
		os.Exit(1)
	}
}

// table is what was measured, by what it is.
type table struct {
	driver string
	rows   map[string]*row
}

type row struct {
	nth    int // in the table
	values []float64
	unit   string
	digits int
}

// add notes one figure.
func (t table) add(what string, value float64, unit string, digits int) {
	r := t.rows[what]
	if r == nil {
		r = &row{nth: len(t.rows), unit: unit, digits: digits}
		t.rows[what] = r
	}
	r.values = append(r.values, value)
}

// join takes the figures of one cluster in.
func (t *table) join(o table) {
	if t.rows == nil {
		t.rows = o.rows
		return
	}
	for what, r := range o.rows {
		for _, v := range r.values {
			t.add(what, v, r.unit, r.digits)
		}
	}
}

func (t table) print() {
	names := make([]string, 0, len(t.rows))
	for what := range t.rows {
		names = append(names, what)
	}
	slices.SortFunc(names, func(a, b string) int { return t.rows[a].nth - t.rows[b].nth })
	for _, what := range names {
		r := t.rows[what]
		slices.Sort(r.values)
		fmt.Printf("| %s | %s | %.*f %s | %.*f | %.*f |\n", t.driver, what, r.digits, r.values[len(r.values)/2], r.unit, r.digits, r.values[0], r.digits, r.values[len(r.values)-1])
	}
}
