package checkers

import (
	"slices"

	"soak/history"
)

// WholeRun is the place of a violation that has no instant.
const WholeRun = "the whole run"

// unplaced is the place of a violation in a verdict that was written before violations had one.
const unplaced = "an unknown place"

// Signature names a kind of failure, so that failures of many runs can be grouped and compared: who found it, what it is, and
// where in the run it belongs. Everybody who groups failures (campaigns, lists, comparisons, gates) does it by this name.
type Signature struct {
	Checker string `json:"checker"`
	Kind    string `json:"kind"`
	Place   string `json:"place"` // the kind of the last fault that it touches, or the phase that it came in
}

// String is the signature as people read and write it: "no-crash/panic @ kill".
func (s Signature) String() string { return s.Checker + "/" + s.Kind + " @ " + s.Place }

// Finding is the violations of one signature in one run.
type Finding struct {
	Signature
	Count    int64  `json:"count"`
	Sentence string `json:"sentence"` // of the first
}

// Findings groups the violations that the report holds, in the order in which they were found.
func (r *Report) Findings() []Finding {
	var out []Finding
	at := map[Signature]int{}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		for k := range v.Violations {
			x := &v.Violations[k]
			s := Signature{v.Checker, x.Kind, x.Place}
			if s.Place == "" {
				s.Place = unplaced
			}
			n, known := at[s]
			if !known {
				n = len(out)
				at[s] = n
				out = append(out, Finding{Signature: s, Sentence: x.Sentence})
			}
			out[n].Count++
		}
	}
	return out
}

// Unkept is how many violations were found beyond those that the verdict keeps.
func (v *Verdict) Unkept() int64 {
	for _, m := range v.Measures {
		if m.Name == measureViolations {
			return max(0, m.Seen-int64(len(v.Violations)))
		}
	}
	return 0
}

// place says where in a run a violation belongs: the kind of the fault that it touches, of several the last, or the phase.
func place(v *Violation, run *history.Run, faults []*history.Fault) string {
	kind, began := "", int64(0)
	for _, f := range faults {
		if slices.Contains(v.Faults, f.ID) && f.Asked > began {
			kind, began = f.Kind, f.Asked
		}
	}
	if kind != "" {
		return kind
	}
	for _, p := range run.Phases {
		if v.Time >= p.Start && v.Time < p.End {
			return p.Name
		}
	}
	return WholeRun
}
