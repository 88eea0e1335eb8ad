// Package nearest finds the word that a slip most likely meant, for hints of commands, scenarios and gate files.
package nearest

import "strings"

// Word finds the known word that begins with the one written, or else the one with the least edit distance; "" if all
// differ in more than a third of the word (and more than 2 letters): a far guess misleads.
func Word(word string, known []string) string {
	best, at := "", max(2, len(word)/3)+1
	for _, k := range known {
		if len(word) >= 3 && strings.HasPrefix(k, word) {
			return k
		}
		if d := distance(word, k); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance is Levenshtein's: inserted, removed and replaced bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
