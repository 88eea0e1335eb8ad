package browser

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// Every part that docs/pictures shows can be drawn. The pictures there are made by PICTURES=DIR REPORT=FILE go test . -run Pictures, of a run with a
// planted bug; without the two it draws a violated run, and keeps nothing.
func TestPictures(t *testing.T) {
	dir, file := os.Getenv("PICTURES"), os.Getenv("REPORT")
	if dir == "" {
		dir = t.TempDir()
	}
	if file == "" {
		file = report(t, "violated")
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
		var shot []byte
		b.run(chromedp.Screenshot(p.element, &shot, chromedp.ByQuery, chromedp.NodeVisible))
		if img, err := png.DecodeConfig(bytes.NewReader(shot)); err != nil || int64(img.Width) < p.view.width/2 || img.Height < 50 {
			t.Errorf("%s is no picture of %s: %d by %d, %v", p.name, p.element, img.Width, img.Height, err)
		}
		if err := os.WriteFile(filepath.Join(dir, p.name+".png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
