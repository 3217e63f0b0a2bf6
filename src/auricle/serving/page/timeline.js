// The sound from left to right, with its captions below. It is drawn: what it shows is in the list too, for those who do not see it.

import { clock } from "./formats.js";
import { colour, css, prepared, ramp, schemeChanged } from "./colours.js";

const RULER = 22;
const LANE = 44;
const CAPTION = LANE - 9; // the height of a caption
const WAVE = 40;
const PADDING = 8; // around the words of a caption
const EDGE = 6; // pixels around a bound in which it can be taken
const SHORTEST = 0.5; // seconds of the closest view
const CALM = 250; // milliseconds between two pictures while more comes
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

export class Timeline {
  /** `on` holds functions: `seek(seconds)`, `choose(id)`, `bounds(id, start, end, done)`. */
  constructor(element, on) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.head = element.querySelector(".playhead");
    this.on = on;
    this.width = element.clientWidth; // in CSS pixels, as it was drawn last
    this.reset(null);
    this.redraw = this.redraw.bind(this);
    new ResizeObserver(() => this.changed()).observe(element);
    schemeChanged(() => {
      this.style = null;
      this.changed();
    });
    this.canvas.addEventListener("pointerdown", (event) => this.#pressed(event));
    this.canvas.addEventListener("pointermove", (event) => this.#hovered(event));
    this.canvas.addEventListener("wheel", (event) => this.#wheeled(event), { passive: false });
  }

  /** Shows another sound, of which nothing is known yet. */
  reset(overview) {
    this.overview = overview;
    this.captions = [];
    this.chosen = null;
    this.seconds = 0;
    this.now = 0;
    this.view = [0, 0]; // of no length: all of it
    this.changed();
  }

  get span() {
    return this.view[1] > this.view[0] ? this.view : [0, Math.max(this.seconds, 1)];
  }

  /** Moves the playhead, and the view with it where the sound plays. */
  moveTo(now, follow = false) {
    this.now = now;
    const [start, end] = this.span;
    if (follow && (now < start || now > end)) this.#show(now - (end - start) * 0.05, end - start);
    this.#placeHead();
  }

  /** Zooms by a factor around a time; the playhead's if none is given, or the middle's where that is out of sight. */
  zoom(factor, around = null) {
    const [start, end] = this.span;
    const middle = around ?? (this.now >= start && this.now <= end ? this.now : (start + end) / 2);
    const length = Math.max(SHORTEST, (end - start) * factor);
    this.#show(middle - ((middle - start) / (end - start)) * length, length);
  }

  all() {
    this.view = [0, 0];
    this.changed();
  }

  /** Brings a stretch into sight. */
  reveal(from, to) {
    const [start, end] = this.span;
    if (from < start || to > end) this.#show((from + to) / 2 - (end - start) / 2, Math.max(end - start, (to - from) * 1.2));
  }

  changed() {
    if (!this.pending) this.pending = requestAnimationFrame(() => this.redraw());
  }

  /** More of the overview came: that need not be seen at once. */
  grew() {
    this.later ||= setTimeout(() => {
      this.later = 0;
      this.changed();
    }, CALM);
  }

  redraw() {
    this.pending = 0;
    const [context, width, height] = prepared(this.canvas);
    this.width = width;
    if (!width) return;
    this.style ??= {
      ramp: ramp(),
      ink: colour("ink"),
      quiet: colour("quiet"),
      line: colour("line"),
      accent: colour("accent"),
      onAccent: colour("on-accent"),
      wash: colour("wash"),
      card: colour("card"),
      sans: getComputedStyle(this.element).fontFamily,
      serif: getComputedStyle(document.querySelector("h1")).fontFamily,
    };
    this.#drawSound(context, width, height);
    this.#drawRuler(context, width);
    this.#drawCaptions(context, width, height);
    this.#placeHead();
  }

  #x(seconds, width) {
    const [start, end] = this.span;
    return ((seconds - start) / (end - start)) * width;
  }

  #seconds(event) {
    const [start, end] = this.span;
    const box = this.canvas.getBoundingClientRect();
    return start + ((event.clientX - box.left) / box.width) * (end - start);
  }

  #show(start, length) {
    if (length >= this.seconds) this.view = [0, 0];
    else {
      const begin = Math.max(0, Math.min(start, this.seconds - length));
      this.view = [begin, begin + length];
    }
    this.changed();
  }

  #placeHead() {
    const x = this.#x(this.now, this.width);
    this.head.hidden = x < 0 || x > this.width;
    this.head.style.transform = `translateX(${x}px)`;
  }

  #drawSound(context, width, height) {
    const overview = this.overview;
    if (!overview?.columns) return;
    const [start, end] = this.span;
    const wave = overview.bands ? WAVE : height - LANE - RULER;
    const bottom = height - LANE - wave;
    if (overview.bands) {
      const drawn = this.#spectrogram(start, end, Math.round(width));
      const from = this.#x(drawn.start, width);
      context.drawImage(drawn.picture, from, RULER, this.#x(drawn.end, width) - from, bottom - RULER);
    }
    context.fillStyle = css(this.style.quiet, 0.85);
    const middle = bottom + wave / 2;
    const known = Math.min(width, this.#x(overview.seconds, width));
    for (let x = 0; x < known; x += 2) {
      const [a, b] = [start + (x / width) * (end - start), start + ((x + 2) / width) * (end - start)];
      const size = Math.max(0.75, overview.peak(a, b) * (wave / 2 - 4));
      context.fillRect(x, middle - size, 1.25, 2 * size);
    }
  }

  #spectrogram(start, end, width) {
    const { overview, style } = this;
    const of = [overview, overview.columns, style, start, end, width];
    if (!this.drawn || of.some((value, i) => value !== this.drawn.of[i])) {
      const found = overview.image(start, end, width, style.ramp);
      const picture = new OffscreenCanvas(found.image.width, found.image.height);
      picture.getContext("2d").putImageData(found.image, 0, 0);
      this.drawn = { of, picture, start: found.start, end: found.end };
    }
    return this.drawn;
  }

  #drawRuler(context, width) {
    const [start, end] = this.span;
    const step = STEPS.find((s) => (s / (end - start)) * width > 70) ?? 7200;
    context.font = `11px ${this.style.sans}`;
    context.textBaseline = "middle";
    for (let tick = Math.ceil(start / step) * step; tick <= end; tick += step) {
      const x = Math.round(this.#x(tick, width)) + 0.5;
      context.fillStyle = css(this.style.line);
      context.fillRect(x, RULER - 6, 1, 6);
      context.fillStyle = css(this.style.quiet);
      context.fillText(clock(tick, step < 1 ? 1 : 0), x + 4, RULER / 2);
    }
  }

  #drawCaptions(context, width, height) {
    const [start, end] = this.span;
    const top = height - LANE + 4;
    const { ink, accent, onAccent, wash } = this.style;
    const [quietFill, quietLine] = [css(wash), css(accent, 0.35)];
    context.font = `13px ${this.style.serif}`;
    let free = -Infinity; // where one sees all of three hours, what a pixel holds is drawn once
    for (const caption of this.captions) {
      if (caption.end < start || caption.start > end) continue;
      const chosen = caption.id === this.chosen;
      const x = Math.max(-8, this.#x(caption.start, width));
      const wide = Math.max(2, Math.min(width + 8, this.#x(caption.end, width)) - x - 1.5);
      if (x + wide < free + 1 && !chosen) continue;
      free = x + wide;
      context.fillStyle = chosen ? css(accent) : quietFill;
      if (wide < 4) {
        context.fillRect(x, top, wide, CAPTION);
      } else {
        context.beginPath();
        context.roundRect(x, top, wide, CAPTION, Math.min(5, wide / 2));
        context.fill();
        context.strokeStyle = chosen ? css(accent) : quietLine;
        context.stroke();
      }
      if (wide > 34) {
        const left = Math.max(x, 0) + PADDING;
        context.fillStyle = css(chosen ? onAccent : ink);
        context.fillText(fitting(context, caption.caption, x + wide - PADDING - left), left, top + CAPTION / 2 + 0.5);
      }
      if (chosen) {
        context.fillStyle = css(accent, 0.16);
        context.fillRect(x, RULER, wide, top - RULER);
      }
    }
  }

  #edge(event) {
    const chosen = this.captions.find((c) => c.id === this.chosen);
    if (!chosen) return null;
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const reach = event.pointerType === "touch" ? 3 * EDGE : EDGE;
    const [from, to] = [this.#x(chosen.start, box.width), this.#x(chosen.end, box.width)];
    if (event.clientY - box.top < RULER) return null;
    if (Math.abs(x - to) <= reach) return { chosen, which: "end" };
    if (Math.abs(x - from) <= reach) return { chosen, which: "start" };
    const inLane = event.clientY - box.top > box.height - LANE;
    return inLane && x > from && x < to ? { chosen, which: "both", at: this.#seconds(event) - chosen.start } : null;
  }

  #hovered(event) {
    if (!event.buttons) this.canvas.style.cursor = { both: "grab", start: "ew-resize", end: "ew-resize" }[this.#edge(event)?.which] ?? "crosshair";
  }

  #pressed(event) {
    if (event.button) return;
    const edge = this.#edge(event);
    const from = { x: event.clientX, view: this.span, seconds: this.#seconds(event) };
    let moved = false;
    this.canvas.setPointerCapture(event.pointerId);
    const move = (next) => {
      moved ||= Math.abs(next.clientX - from.x) > 4;
      if (!moved) return;
      if (edge) this.#drag(edge, this.#seconds(next), false);
      else {
        const [start, end] = from.view;
        const shift = ((next.clientX - from.x) / this.canvas.clientWidth) * (end - start);
        this.#show(start - shift, end - start);
      }
    };
    const up = (last) => {
      this.canvas.removeEventListener("pointermove", move);
      if (moved && edge) this.#drag(edge, this.#seconds(last), true);
      else if (!moved && last.type === "pointerup") this.#clicked(last);
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", up, { once: true });
    this.canvas.addEventListener("pointercancel", up, { once: true });
  }

  #drag({ chosen, which, at: held }, seconds, done) {
    const at = Math.max(0, Math.min(this.seconds, seconds));
    if (which === "both") {
      const length = chosen.end - chosen.start;
      const start = Math.max(0, Math.min(this.seconds - length, at - held));
      this.on.bounds(chosen.id, start, start + length, done);
      return;
    }
    if (which === "start") this.on.bounds(chosen.id, Math.min(at, chosen.end - 0.1), chosen.end, done);
    else this.on.bounds(chosen.id, chosen.start, Math.max(at, chosen.start + 0.1), done);
  }

  #clicked(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = Math.max(0, Math.min(this.seconds, this.#seconds(event)));
    const hit = this.captions.find((c) => c.start <= at && at < c.end);
    if (event.clientY - box.top > box.height - LANE && hit) this.on.choose(hit.id);
    else this.on.seek(at);
  }

  #wheeled(event) {
    const [start, end] = this.span;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * 0.004), this.#seconds(event));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      const delta = event.deltaX || event.deltaY;
      this.#show(start + (delta / this.canvas.clientWidth) * (end - start), end - start);
    }
  }
}

/** As much of a text as fits into a width, with an ellipsis where it is cut. */
function fitting(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low).trimEnd()}…` : "";
}
