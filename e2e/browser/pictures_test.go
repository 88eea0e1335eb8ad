package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// The pictures of docs/pictures are made by PICTURES=DIR REPORT=FILE go test . -run Pictures, of a run with a planted bug.
func TestPictures(t *testing.T) {
	dir, file := os.Getenv("PICTURES"), os.Getenv("REPORT")
	if dir == "" || file == "" {
		t.Skip("PICTURES and REPORT are not set: they say where to leave pictures, and of which report")
	}
	for _, p := range []struct {
		name, element string
		view          view
	}{
		{"report-timeline", "#timeline-section", wide},
		{"report-timeline-dark", "#timeline-section", view{width: 1280, height: 900, dark: true}},
		{"report-story", "#violation-1", wide},
		{"report-narrow", "header", narrow},
		{"report-timeline-narrow", "#timeline-section", view{width: 390, height: 844, dark: true}},
		{"report-coverage", "#latency", wide},
		{"report-recovery", "#recovery", wide},
	} {
		b := open(t, file, p.view)
		var png []byte
		b.run(chromedp.Screenshot(p.element, &png, chromedp.ByQuery, chromedp.NodeVisible))
		if err := os.WriteFile(filepath.Join(dir, p.name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
