package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is a bound that only a browser that hangs reaches, on a machine with much else to do.
const patience = 3 * time.Minute

var browser context.Context // one chromium for all tests

func TestMain(m *testing.M) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		if path, err = exec.LookPath("google-chrome"); err != nil {
			if os.Getenv("CI") == "true" {
				fmt.Fprintln(os.Stderr, "error: no chromium, and CI=true needs one\nhint: apt-get install -y chromium")
				os.Exit(1)
			}
			fmt.Println("no chromium: reports and gates' pages are not tested in a browser (apt-get install -y chromium)")
			os.Exit(0)
		}
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.Flag("hide-scrollbars", true), chromedp.Flag("disable-gpu", true), chromedp.WSURLReadTimeout(patience))...)
	var end context.CancelFunc
	browser, end = chromedp.NewContext(allocator)
	if err := chromedp.Run(browser); err != nil {
		fmt.Fprintln(os.Stderr, "starting the browser:", err)
		os.Exit(1)
	}
	code := m.Run()
	end()
	stop()
	os.Exit(code)
}

// tab is one page that was opened, and all that went wrong on it.
type tab struct {
	context.Context
	t  *testing.T
	mu sync.Mutex
	no []string
}

type view struct {
	width, height int64
	dark          bool
	noScript      bool
}

// open opens a report. At the test's end nothing may have gone wrong on it.
func open(t *testing.T, file string, v view) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(browser)
	t.Cleanup(end)
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	b := &tab{Context: ctx, t: t}
	bad := func(what string) { b.mu.Lock(); b.no = append(b.no, what); b.mu.Unlock() }
	chromedp.ListenTarget(ctx, func(e any) {
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			bad("exception: " + e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			bad(fmt.Sprintf("console: %s %v", e.Type, e.Args))
		case *log.EventEntryAdded:
			bad("log: " + e.Entry.Text)
		case *page.EventJavascriptDialogOpening:
			bad("a dialog: " + e.Message)
		}
	})
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	b.run(log.Enable(), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}),
		emulation.SetScriptExecutionDisabled(v.noScript), chromedp.EmulateViewport(v.width, v.height), chromedp.Navigate("file://"+file))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.no) > 0 {
			t.Errorf("on the page went wrong: %s", strings.Join(b.no, "; "))
		}
	})
	return b
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// js evaluates an expression.
func js[T any](b *tab, expression string) (out T) {
	b.t.Helper()
	b.run(chromedp.Evaluate(expression, &out))
	return out
}

// shot leaves a picture where SHOTS says.
func (b *tab) shot(name string) {
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	var png []byte
	b.run(chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
