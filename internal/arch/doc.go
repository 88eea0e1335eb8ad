// Package arch holds no product code: its tests keep the structure as docs/architecture.md draws it. They refuse an
// import against the arrows, and an impure line in the packages that must stay deterministic.
package arch
