"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("timeline"), plot = box.querySelector(".plot"), zoom = box.querySelector(".zoom");
  const axis = zoom.querySelector(".axis"), cursor = box.querySelector(".cursor"), readout = document.querySelector(".readout");
  const tools = document.querySelector(".tools"), range = document.querySelector(".range");
  const marks = [...zoom.querySelectorAll(".mark")];
  const span = data.span || 1, deepest = Math.max(1, span / 20000); // no less than 20 ms fill the width
  let k = 1, o = 0, current = -1; // how many times as wide as the window; the part of the run left of it
  tools.hidden = false;

  const seconds = us => {
    const s = us / 1e6;
    return s < 3600 ? s.toFixed(k > 50 ? 3 : 2) + " s" : Math.floor(s / 3600) + ":" + String(Math.floor(s / 60) % 60).padStart(2, "0") + ":" + (s % 60).toFixed(1).padStart(4, "0");
  };
  const length = us => us >= 1e6 ? (us / 1e6).toFixed(2) + " s" : us >= 1e3 ? (us / 1e3).toFixed(1) + " ms" : us + " µs";

  function draw() {
    k = Math.min(Math.max(k, 1), deepest);
    o = Math.min(Math.max(o, 0), 1 - 1 / k);
    zoom.setAttribute("width", 100 * k + "%");
    zoom.setAttribute("x", -100 * k * o + "%");
    drawAxis();
    drawTexts();
    range.textContent = k === 1 ? "all of the run" : seconds(o * span) + " to " + seconds((o + 1 / k) * span);
    box.dataset.zoom = k.toFixed(3);
    box.dataset.from = Math.round(o * span);
  }

  // A text that has no room in its state would be cut: its short form stands in its place, or nothing. A letter is about 6.4 pixels wide.
  const texts = [...zoom.querySelectorAll("svg.s > text")].map(t => ({t, l: t.dataset.l || t.textContent, s: t.dataset.s || "", w: parseFloat(t.parentNode.getAttribute("width")), now: t.textContent}));
  function drawTexts() {
    const width = plot.clientWidth * k / 100;
    for (const x of texts) {
      const room = x.w * width - 8, want = x.l.length * 6.4 <= room ? x.l : x.s && x.s.length * 6.4 <= room ? x.s : "";
      if (want !== x.now) x.t.textContent = x.now = want;
    }
  }

  const steps = [1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 1.5e7, 3e7, 6e7, 1.2e8, 3e8, 6e8, 9e8, 1.8e9, 3.6e9, 7.2e9, 1.44e10];
  function drawAxis() {
    const wanted = Math.max(2, Math.floor(plot.clientWidth / 110)), seen = span / k;
    const step = steps.find(s => seen / s <= wanted) || span;
    const height = plot.getAttribute("height");
    axis.replaceChildren();
    for (let at = Math.ceil(o * span / step) * step; at <= (o + 1 / k) * span; at += step) {
      const x = 100 * at / span + "%";
      const l = document.createElementNS("http://www.w3.org/2000/svg", "line");
      l.setAttribute("x1", x); l.setAttribute("x2", x); l.setAttribute("y1", 14); l.setAttribute("y2", height);
      const t = document.createElementNS("http://www.w3.org/2000/svg", "text");
      t.setAttribute("x", x); t.setAttribute("y", 11);
      const there = (at / span - o) * k;
      t.setAttribute("text-anchor", there < 0.03 ? "start" : there > 0.96 ? "end" : "middle");
      t.textContent = step >= 6e7 && span < 3.6e9 ? Math.round(at / 6e7) + " min" : step >= 6e7 ? Math.floor(at / 3.6e9) + ":" + String(Math.round(at / 6e7) % 60).padStart(2, "0") + " h" :
        (at / 1e6).toFixed(step < 1e4 ? 3 : step < 1e5 ? 2 : step < 1e6 ? 1 : 0) + " s";
      axis.append(l, t);
    }
  }

  function zoomAt(factor, where) { // where: the part of the window that stays in its place
    const at = o + where / k;
    k = Math.min(Math.max(k * factor, 1), deepest);
    o = at - where / k;
    draw();
  }
  const move = part => { o += part / k; draw(); };

  function goTo(i, focus) {
    if (!marks.length) return;
    current = (i + marks.length) % marks.length;
    marks.forEach((m, j) => m.classList.toggle("current", j === current));
    const at = marks[current].dataset.t / span;
    if (k < Math.min(span / 1e7, deepest)) k = Math.min(span / 1e7, deepest); // 10 s around it
    o = at - 0.5 / k;
    draw();
    if (focus) marks[current].focus({preventScroll: true});
  }

  const actions = {
    in: () => zoomAt(2, 0.5), out: () => zoomAt(0.5, 0.5), left: () => move(-0.25), right: () => move(0.25),
    reset: () => { k = 1; o = 0; draw(); }, next: () => goTo(current + 1, true),
  };
  tools.addEventListener("click", e => { const b = e.target.closest("button"); if (b) actions[b.dataset.do](); });
  box.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const keys = {"+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "reset", Home: "reset", n: "next"};
    if (e.key === "p") { goTo(current < 0 ? marks.length - 1 : current - 1, true); e.preventDefault(); }
    if (keys[e.key]) { actions[keys[e.key]](); e.preventDefault(); }
  });
  const part = e => { const r = plot.getBoundingClientRect(); return (e.clientX - r.left) / r.width; };
  plot.addEventListener("wheel", e => {
    if (e.ctrlKey || e.metaKey) { zoomAt(Math.exp(-e.deltaY / 300), part(e)); e.preventDefault(); }
    else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) { move((e.deltaX || e.deltaY) / plot.clientWidth); e.preventDefault(); }
  }, {passive: false});
  plot.addEventListener("dblclick", e => zoomAt(e.shiftKey ? 0.4 : 2.5, part(e)));

  const pointers = new Map();
  let dragged = 0;
  plot.addEventListener("pointerdown", e => { pointers.set(e.pointerId, e.clientX); dragged = 0; });
  plot.addEventListener("pointermove", e => {
    if (pointers.has(e.pointerId)) {
      const before = [...pointers.values()], dx = e.clientX - pointers.get(e.pointerId);
      pointers.set(e.pointerId, e.clientX);
      const now = [...pointers.values()];
      if (now.length === 1) {
        dragged += Math.abs(dx);
        if (dragged > 4) { plot.setPointerCapture(e.pointerId); plot.classList.add("drag"); move(-dx / plot.clientWidth); }
      } else if (now.length === 2) {
        const was = Math.abs(before[0] - before[1]), is = Math.abs(now[0] - now[1]), r = plot.getBoundingClientRect();
        if (was > 10) zoomAt(is / was, ((now[0] + now[1]) / 2 - r.left) / r.width);
      }
    }
    hover(e);
  });
  const release = e => { pointers.delete(e.pointerId); plot.classList.remove("drag"); };
  plot.addEventListener("pointerup", release);
  plot.addEventListener("pointercancel", release);
  plot.addEventListener("pointerleave", e => { if (e.pointerType !== "touch") { release(e); readout.hidden = true; cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); } });
  plot.addEventListener("click", e => { if (dragged > 4) e.preventDefault(); }, true);

  function hover(e) {
    const at = (o + part(e) / k) * span, x = 100 * part(e) + "%";
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x);
    const lines = [];
    const under = e.target.closest("svg.s, line, .wrong, .mark, .smallmark, .band");
    const title = under && under.querySelector("title");
    if (title) lines.push(...title.textContent.split("\n"));
    const i = Math.floor(at / data.width);
    if (i >= 0 && i < data.acked.length) {
      lines.push(Math.round(data.acked[i] * 1e6 / data.width) + " records/s, " + data.errors[i] + " errors");
      if (data.p50[i]) lines.push("latency p50 " + length(data.p50[i]) + ", p99 " + length(data.p99[i]) + ", max " + length(data.max[i]));
      if (data.memory) { const m = data.memory.map((l, n) => l[i] ? "n" + (n + 1) + " " + Math.round(l[i] / 1024) + " MiB" : "").filter(Boolean); if (m.length) lines.push("memory " + m.join(", ")); }
    }
    const head = document.createElement("b");
    head.textContent = seconds(at);
    readout.replaceChildren(head, ...lines.flatMap((l, n) => n ? [document.createElement("br"), l] : [l]));
    readout.hidden = false;
    const w = readout.offsetWidth, h = readout.offsetHeight;
    const left = e.clientX + 16 + w > innerWidth ? Math.max(4, e.clientX - w - 16) : e.clientX + 16;
    const top = e.clientY + 16 + h > innerHeight ? Math.max(4, e.clientY - h - 16) : e.clientY + 16;
    Object.assign(readout.style, {left: left + "px", top: top + "px"});
  }

  document.addEventListener("click", e => {
    const back = e.target.closest("[data-goto]");
    if (back) { e.preventDefault(); goTo(back.dataset.goto - 1, true); document.getElementById("timeline-section").scrollIntoView(); return; }
    const mark = e.target.closest(".mark");
    if (mark) { const story = document.querySelector(mark.getAttribute("href")); if (story) setTimeout(() => story.focus({preventScroll: true})); }
  });
  addEventListener("resize", draw);
  addEventListener("beforeprint", () => { k = 1; o = 0; draw(); document.querySelectorAll("details").forEach(d => { d.dataset.was = d.open ? "1" : ""; d.open = true; }); });
  addEventListener("afterprint", () => document.querySelectorAll("details").forEach(d => { d.open = d.dataset.was === "1"; }));
  draw();
})();
