// Package gen generates workloads: pure functions of a seed, the time and what came back. Each generator
// answers which operations are due and when the next one will be; the run loop asks. It also holds the record
// value's header (CHECKS: "a record's value carries its identity"), used by producers and by the drain.
//
// No clock, goroutine, global random number or map order; a test refuses them.
package gen
