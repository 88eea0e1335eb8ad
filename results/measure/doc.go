// Package measure gives a run's figures names: throughput, latency, outages, recoveries, memory, errors. Each has one definition,
// one unit and, where there is one, a better direction; whoever compares runs, holds them to thresholds or prints their figures does it by these.
//
// Measures are computed from a run folder in one pass, in memory that does not grow with the number of records: latencies are counted in
// buckets that are 1 % wide, so quantiles are within 0.5 %; counts, largest and smallest values are exact. Next to its value for the whole run, a
// measure may have samples: its values in windows of five seconds, or one a fault, for tests that need many.
//
// What was not measured has no value, and never the value 0: it is either not applicable to such a run (memory of simulated nodes) or
// missing.
//
// The package judges nothing. results/compare and results/gate call it; it imports history and checkers alone.
package measure
