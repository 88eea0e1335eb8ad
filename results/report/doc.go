// Package report draws a run as one HTML file for people: the verdict in a sentence, the run's timeline to scale, each violation told as
// a story, and what was covered. The file needs no network and no other file; its drawings are SVG that is there before any script has run,
// so that it can be read with scripts switched off, in a screen reader and on paper. The script adds zooming and values under the pointer.
//
// It reads a run folder as it lies on the disk, whole or half-written: what is missing or damaged is named on the page, and the rest is
// shown. Reading is one pass over each file in bounded memory, whatever the run's length: measurements are kept in at most maxCells cells of
// time (which grow with the run, and keep their extremes), and single records only where a violation is to be explained.
//
// It must not judge: verdicts are those of verdict.json (package checkers), and a report that cannot be drawn changes none of them. Package
// results calls it, beside every verdict and for `soak report`.
//
//	collect.go   one pass over the folder: what the drawings need
//	cells.go     measurements by time; histograms of latency
//	lanes.go     states over time: nodes, raft's leader, partitions
//	recovery.go  how long writes were not to be had, by fault
//	story.go     violations, with all that happened around them; metadata.go and lost.go are of two kinds
//	knowledge.go what a node knew when it gave an answer that cannot be true
//	svg.go       drawings; timeline.go, charts.go and the others draw with it
//	page.go      the page; page.html, page.css and page.js are its parts
package report
