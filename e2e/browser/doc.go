// Package browser opens reports and gates' pages in Debian's chromium: no errors, marks in their places, zoom and jumps, the keyboard alone, contrast in dark and light,
// narrow and wide windows, and no script. Its tests are run by .ci/run (`cd e2e/browser && go test ./...`), and skipped where there is no chromium, unless
// CI is set. With SHOTS=DIR they leave pictures there; those of docs/pictures are made so, but
// for the terminals' (live, list and compare), which show what a terminal held of real commands.
package browser
