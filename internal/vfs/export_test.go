package vfs

// JournalLen is how many changes of a Sim's file are kept.
func JournalLen(f File) int { return len(f.(*simFile).n.changes) }
