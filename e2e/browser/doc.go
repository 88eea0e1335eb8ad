// Package browser opens reports in Debian's chromium: no errors, marks in their places, zoom and jumps, the keyboard alone, contrast in dark and light,
// narrow and wide windows, and no script. Its tests are run by .ci/run (`cd e2e/browser && go test ./...`), and skipped where there is no chromium, unless
// CI is set. With SHOTS=DIR they leave pictures there; those of docs/pictures are made so.
package browser
