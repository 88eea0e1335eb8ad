package cli

import (
	"fmt"

	"soak/internal/nearest"
)

// didYouMean names the known word nearest to the one that was written, or says otherwise if none is near.
func didYouMean(word string, known []string, otherwise string) string {
	if n := nearest.Word(word, known); n != "" {
		return fmt.Sprintf("did you mean %s? %s", n, otherwise)
	}
	return otherwise
}
