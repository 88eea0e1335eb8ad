// Package compare says what changed between two runs, or two sets of runs: in verdicts, findings and coverage, and in the measures of
// results/measure.
//
// A measure has changed when a rank test over its samples (windows of the load, faults, or runs of a set) says that chance alone would hardly
// give it, never because two numbers look different; it is a regression when it also got worse by more than a threshold. What one side has measured and
// the other has not is missing, and missing data never passes. Differences of machine, driver or configuration come first in every
// form of the result, since they explain more than any change of the program.
//
// It reads run folders and writes nothing. cmd/soak calls it; it imports results, results/measure, checkers and history.
package compare
