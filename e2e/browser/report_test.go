package browser

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var wide, narrow = view{width: 1280, height: 900}, view{width: 390, height: 844}

// place is where a mark stands: its instant's part of the run, and the pixels from the plot's left edge, with the plot's width.
type place struct{ Time, Left, Width float64 }

const marksNow = `[...document.querySelectorAll(".mark")].map(m => { const r = m.querySelector("path").getBoundingClientRect(), p = document.querySelector(".plot").getBoundingClientRect();
	return {Time: m.dataset.t / JSON.parse(document.getElementById("data").textContent).span, Left: r.left + r.width / 2 - p.left, Width: p.width} })`

type window struct{ Zoom, From, Span float64 }

const windowNow = `(() => { const d = document.getElementById("timeline").dataset; return {Zoom: +d.zoom, From: +d.from, Span: JSON.parse(document.getElementById("data").textContent).span} })()`

func TestMarksStandAtTheirInstants(t *testing.T) {
	b := open(t, report(t, "violated"), wide)
	b.shot("violated-light")
	check := func(when string) {
		t.Helper()
		w := js[window](b, windowNow)
		marks := js[[]place](b, marksNow)
		if len(marks) < 2 {
			t.Fatalf("%d marks", len(marks))
		}
		for i, m := range marks {
			if want := (m.Time - w.From/w.Span) * w.Zoom * m.Width; math.Abs(want-m.Left) > 1.5 {
				t.Errorf("%s: mark %d stands at %.1f px, want %.1f", when, i+1, m.Left, want)
			}
		}
	}
	check("at first")
	b.run(chromedp.Focus("#timeline", chromedp.ByQuery), chromedp.KeyEvent("+"), chromedp.KeyEvent("+"), chromedp.KeyEvent(kb.ArrowRight))
	if w := js[window](b, windowNow); w.Zoom != 4 || w.From <= 0 {
		t.Fatalf("after + + → the window is %+v", w)
	}
	check("zoomed")
	b.run(chromedp.KeyEvent("0"))
	if w := js[window](b, windowNow); w.Zoom != 1 || w.From != 0 {
		t.Fatalf("after 0 the window is %+v", w)
	}
}

// A fault's band covers its time over all lanes.
func TestBandsStandAtTheirFaults(t *testing.T) {
	b := open(t, report(t, "sound"), wide)
	b.shot("sound-light")
	// The reference run's faults are of 1.7 to 3.6 s of 11.9 s and later; here only what the page says itself is compared: the blocks' titles with the bands.
	if n := js[int](b, `document.querySelectorAll(".band").length`); n < 3 {
		t.Fatalf("%d bands", n)
	}
	off := js[float64](b, `Math.max(...[...document.querySelectorAll(".timeline .band")].map((r, i) => { const f = document.querySelectorAll(".faultblock")[i].getBoundingClientRect(), x = r.getBoundingClientRect();
		return Math.max(Math.abs(f.right - x.right), x.left - f.left > 60 ? 99 : 0, x.height < 200 ? 99 : 0) }))`)
	if off > 2 {
		t.Errorf("a band and its fault differ by %.1f px", off)
	}
}

func TestJumps(t *testing.T) {
	b := open(t, report(t, "violated"), wide)
	inView := func(id string) {
		t.Helper()
		top := js[float64](b, fmt.Sprintf(`document.getElementById(%q).getBoundingClientRect().top`, id))
		if top < -5 || top > 300 {
			t.Errorf("%s begins at %.0f px of the window", id, top)
		}
	}
	b.run(chromedp.Evaluate(`document.querySelectorAll(".mark")[1].dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`, nil))
	if hash := js[string](b, `location.hash`); hash != "#violation-2" {
		t.Fatalf("the mark leads to %q", hash)
	}
	inView("violation-2")
	b.shot("story-light")
	b.run(chromedp.Click(`#violation-2 [data-goto]`, chromedp.ByQuery))
	marks := js[[]place](b, marksNow)
	if m := marks[1]; m.Left < 0 || m.Left > m.Width {
		t.Errorf("back in the timeline the violation stands at %.0f of %.0f px", m.Left, m.Width)
	}
}

// Tab, Enter: the first violation. From the timeline: n, Enter.
func TestKeyboardAlone(t *testing.T) {
	b := open(t, report(t, "violated"), wide)
	b.run(chromedp.KeyEvent(kb.Tab))
	if text := js[string](b, `document.activeElement.textContent`); text != "Skip to the first violation" {
		t.Fatalf("the first Tab stop is %q", text)
	}
	b.run(chromedp.KeyEvent(kb.Enter))
	if hash := js[string](b, `location.hash`); hash != "#violation-1" {
		t.Fatalf("Enter leads to %q", hash)
	}
	b.run(chromedp.Focus("#timeline", chromedp.ByQuery), chromedp.KeyEvent("n"), chromedp.KeyEvent("n"))
	if label := js[string](b, `document.activeElement.getAttribute("aria-label")`); !strings.HasPrefix(label, "violation 2") {
		t.Fatalf("after n n the focus is on %q", label)
	}
	b.run(chromedp.KeyEvent(kb.Enter))
	if id := js[string](b, `location.hash`); id != "#violation-2" {
		t.Errorf("Enter on the mark leads to %q", id)
	}
}

func TestHoverShowsValues(t *testing.T) {
	b := open(t, report(t, "sound"), wide)
	b.run(chromedp.ScrollIntoView("#timeline", chromedp.ByQuery))
	at := js[[]float64](b, `(() => { const r = document.querySelector(".plot").getBoundingClientRect(); return [r.left + r.width / 2, Math.min(r.top + 90, innerHeight - 20)] })()`)
	b.run(chromedp.MouseEvent("mouseMoved", at[0], at[1]))
	if text := js[string](b, `document.querySelector(".readout").innerText`); !strings.Contains(text, "records/s") || !strings.Contains(text, " s") {
		t.Errorf("under the pointer stands %q", text)
	}
}

// contrast gives texts whose colour is too close to their ground: WCAG's 4.5, or 3 of large text.
const contrast = `(() => {
	const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return c.startsWith("color(") ? m.slice(0, 3).map(x => x * 255) : m };
	const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }); return .2126 * r + .7152 * g + .0722 * b };
	const bad = [];
	const walk = document.createTreeWalker(document.querySelector("body"), NodeFilter.SHOW_TEXT);
	for (let n; n = walk.nextNode();) {
		const e = n.parentElement;
		if (!n.textContent.trim() || e.closest("script,style,title,defs,.skip,.sr") || !e.getClientRects().length) continue;
		const s = getComputedStyle(e), svg = e instanceof SVGElement, ink = parse(svg ? s.fill : s.color);
		let ground = null;
		if (svg) { const lane = e.closest("svg.s"), r = lane && lane.querySelector("rect"), f = r && getComputedStyle(r).fill; if (f && f.startsWith("rgb")) ground = parse(f); else if (e.closest(".mark")) ground = parse(getComputedStyle(e.closest(".mark").querySelector("path")).fill) }
		for (let p = svg ? e.closest("div,main") : e; !ground && p; p = p.parentElement) { const g = parse(getComputedStyle(p).backgroundColor); if (g.length < 4 || g[3] > 0) ground = g }
		ground ||= [255, 255, 255];
		const a = light(ink.slice(0, 3)), b = light(ground.slice(0, 3)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		const size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.6 && s.fontWeight >= 700;
		if (ratio < (large ? 3 : 4.5)) bad.push(n.textContent.trim().slice(0, 40) + " " + ratio.toFixed(2) + " " + e.className);
	}
	return [...new Set(bad)].slice(0, 20);
})()`

func TestContrastAndWidth(t *testing.T) {
	for _, name := range []string{"violated", "sound"} {
		for _, dark := range []bool{false, true} {
			for _, v := range []view{wide, narrow} {
				v.dark = dark
				t.Run(fmt.Sprintf("%s, dark %v, %d px", name, dark, v.width), func(t *testing.T) {
					b := open(t, report(t, name), v)
					b.shot(fmt.Sprintf("%s-%d-dark-%v", name, v.width, dark))
					if bad := js[[]string](b, contrast); len(bad) > 0 {
						t.Errorf("hard to read: %s", strings.Join(bad, "\n"))
					}
					if over := js[float64](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
						t.Errorf("the page is %.0f px wider than the window", over)
					}
				})
			}
		}
	}
}

func TestWithoutScript(t *testing.T) {
	v := wide
	v.noScript = true
	b := open(t, report(t, "violated"), v)
	if lanes := js[int](b, `[...document.querySelectorAll(".plot .s")].filter(e => e.getBoundingClientRect().width > 1).length`); lanes < 30 {
		t.Errorf("%d states are drawn without a script", lanes)
	}
	if hidden := js[bool](b, `document.querySelector(".tools").hidden`); !hidden {
		t.Error("buttons that do nothing are shown")
	}
}

func TestHostileNamesInABrowser(t *testing.T) {
	b := open(t, report(t, "hostile"), wide)
	if js[bool](b, `window.hacked !== undefined || document.querySelectorAll("img").length > 0 || document.scripts.length !== 2`) {
		t.Error("a name has become part of the page")
	}
	if !js[bool](b, `document.body.textContent.includes("<script>window.hacked=1</script>")`) {
		t.Error("the hostile names are not shown")
	}
}
