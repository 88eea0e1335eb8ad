package report

import (
	"fmt"
	"slices"
	"strings"

	"soak/history"
)

// named is an operation's id where the violation names it.
func (s *story) named(id string) string {
	if id != "" && slices.Contains(s.v.Operations, id) {
		return id
	}
	return ""
}

// maxNamed bounds the ids that are listed without a row.
const maxNamed = 12

// operationWords say which operations the violation names, and where each is to be found: in a row, or in the history alone.
func (s *story) operationWords(steps []step) string {
	n := len(s.v.Operations)
	if n == 0 {
		return ""
	}
	shown := map[string]bool{}
	for _, st := range steps {
		shown[st.id] = true
	}
	if s.metadata != nil && s.metadata.ok {
		for _, o := range slices.Concat(s.metadata.window.Contradicts, s.metadata.window.Operations) {
			shown[o.Operation.ID] = true
		}
	}
	var rowless []string
	for _, id := range s.v.Operations {
		if !shown[id] {
			rowless = append(rowless, id)
		}
	}
	text := fmt.Sprintf("The violation names %s.", plural(int64(n), "operation"))
	if len(rowless) == 0 {
		return text + " Each has rows above, with its id."
	}
	if with := n - len(rowless); with > 0 {
		text += fmt.Sprintf(" %s rows above, with the id.", hasOrHave(with))
	}
	text += fmt.Sprintf(" %s none", hasOrHave(len(rowless)))
	if s.metadata != nil && s.metadata.ok {
		text += ": they came before and agree with each other, or cannot have taken effect"
	}
	list := strings.Join(rowless[max(0, len(rowless)-maxNamed):], ", ")
	if len(rowless) > maxNamed {
		list = "…, " + list
	}
	return text + fmt.Sprintf(". %s holds them: %s.", history.HistoryFile, list)
}

func hasOrHave(n int) string {
	if n == 1 {
		return "One has"
	}
	return count(int64(n)) + " have"
}
