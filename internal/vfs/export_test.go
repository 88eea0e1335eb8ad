package vfs

// JournalLen is how many changes of a Sim's file are kept.
func JournalLen(f File) int { return len(f.(*simFile).n.changes) }

// Lose is a loss of power at once, that may cost nothing.
func (s *Shim) Lose(choose Choose) (ShimLoss, error) { return s.lose(choose, false) }

// Held counts the files that are kept open because their names are gone.
func (s *Shim) Held() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root.eachKnown(map[*simNode]bool{}, func(k *simNode) {
		if k.shim.held != nil {
			n++
		}
	})
	return n
}
