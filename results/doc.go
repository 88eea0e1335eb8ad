// Package results keeps run folders: it makes them, finds them, has them judged, and writes what came of a run
// in the forms that people and build servers read (verdict.json, junit.xml, summary.md).
//
// A verdict is checkers' alone: this package asks for it, writes it down before anything else, and never changes
// it. Everything beside it (pictures, reports) may fail without the verdict failing.
//
// Folders that a killed runner left half-written are expected: what is missing is named, what is there is read.
//
// cmd/soak calls it; it imports checkers and history, and nothing of chaos or the broker.
package results
