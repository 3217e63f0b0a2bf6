// A file: captioned, listened to, corrected, downloaded.

import * as api from "./api.js";
import { clock, data, save, seconds, TYPES } from "./formats.js";
import { draw } from "./explanation.js";
import { Overview } from "./overview.js";
import { schemeChanged } from "./colours.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const COLUMNS = 60_000; // of a whole overview, about
const UNSURE = 0.35; // confidence below which a caption is shown so
const TRIES = 5; // at a server that is busy
const NEW_SECONDS = 2; // of a caption that is added by hand

const player = $("player");
let file = null;
let job = null; // what the server does for us
let captions = []; // by their start
let chosen = null; // an id
let past = []; // what to go back to
let saved = true;
let limit = Infinity; // bytes
let unplayable = false; // by the browser, as far as that is known

const timeline = new Timeline($("timeline"), {
  seek: (at) => seek(at),
  choose: (id) => choose(id, { play: true }),
  bounds: (id, start, end, done) => setBounds(id, round(start), round(end), done),
});

const round = (value) => Math.round(value * 1000) / 1000;
const found = (id) => captions.find((caption) => caption.id === id);

export function begin(info) {
  limit = info.upload;
  for (const name of info.examples) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name.replace(/\.\w+$/, "").replaceAll("_", " ");
    button.addEventListener("click", () => attempt(async () => open(await api.example(name))));
    item.append(button);
    $("examples").querySelector("ul").append(item);
  }
  $("examples").hidden = !info.examples.length;
  $("choose").addEventListener("click", () => $("chooser").click());
  $("chooser").addEventListener("change", () => {
    if ($("chooser").files.length) open($("chooser").files[0]);
    $("chooser").value = "";
  });
  $("another").addEventListener("click", () => $("chooser").click());
  $("stop").addEventListener("click", () => job?.stop());
  $("download").addEventListener("click", () => attempt(download));
  addEventListener("beforeunload", (event) => saved || event.preventDefault());
  dropping();
  playing();
  editing();
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    trouble(error.message);
  }
}

function trouble(message) {
  $("trouble").textContent = message;
  $("trouble").hidden = !message;
}

function hint(message) {
  $("hint").textContent = message;
  $("hint").hidden = !message;
}

function dropping() {
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", (event) => event.dataTransfer.types.includes("Files") && over(1));
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(-Infinity);
    if (event.dataTransfer.files.length) {
      location.hash = "file";
      open(event.dataTransfer.files[0]);
    }
  });
}

/** Shows a file, and has it captioned. */
async function open(next) {
  if (!saved && !confirm("What you have changed was not downloaded. Leave it?")) return;
  job?.stop();
  file = next;
  captions = [];
  past = [];
  saved = true;
  trouble("");
  hint("");
  $("start").hidden = true;
  $("work").hidden = false;
  $("name").textContent = file.name;
  $("total").textContent = "…";
  $("list").replaceChildren();
  $("said").textContent = "";
  choose(null);
  $("undo").disabled = true;
  timeline.reset(null);
  $("name").focus();
  const known = await load();
  if (file !== next) return;
  timeline.reset(new Overview(Math.max(5, Math.min(100, Math.round(COLUMNS / (known || 3600))))));
  setSeconds(known || 0);
  if (file.size > limit) {
    trouble(`${file.name} is larger than the ${Math.round(limit / 2 ** 20)} MB that this server takes.`);
    return;
  }
  await caption(next);
}

/** Gives the file to the player; returns its length in seconds where the player can tell. */
function load() {
  URL.revokeObjectURL(player.src);
  player.hidden = true;
  return new Promise((resolve) => {
    player.onloadedmetadata = () => {
      player.hidden = !player.videoWidth;
      resolve(Number.isFinite(player.duration) ? player.duration : 0);
    };
    player.onerror = () => {
      unplayable = true;
      resolve(0);
    };
    unplayable = false;
    player.src = URL.createObjectURL(file);
  });
}

/** Plays what the server decodes, where the browser cannot. */
async function fallBack(unplayed) {
  hint("This browser cannot play the file: its sound is being fetched from the server instead.");
  try {
    const sound = await api.decoded(unplayed);
    if (file !== unplayed) return;
    player.src = URL.createObjectURL(sound);
    hint("This browser cannot play the file, so you hear the sound that the server decoded.");
  } catch {
    if (file === unplayed) hint("");
  }
}

async function caption(own) {
  const query = { segments: $("segments").value, explain: 1, overview: timeline.overview.rate };
  progress("Waiting …");
  for (let left = TRIES; left; left--) {
    try {
      job = api.captions(own, query, {
        upload: (share) => progress(share < 1 ? `Sending · ${percent(share)}` : "Waiting for its turn …", share < 1 ? share : null),
        progress: ({ seconds: done, fraction }) => {
          setSeconds(Math.max(done, timeline.seconds));
          progress(`Listening · ${clock(done, 0)} · ${percent(fraction)}`, fraction);
        },
        overview: (piece) => {
          if (unplayable) {
            unplayable = false;
            fallBack(own);
          }
          timeline.overview.append(piece);
          timeline.grew();
        },
        caption: receive,
      });
      const here = job;
      await here.finished;
      if (here !== job) return;
      ended();
      return;
    } catch (error) {
      if (file !== own) return;
      if (error.name === "AbortError") {
        ended("Stopped.");
        return;
      }
      if (!error.retryAfter || left === 1) {
        trouble(error.message);
        ended("");
        return;
      }
      progress(`The server is busy: trying again in ${error.retryAfter} s`);
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(error.retryAfter, 60)));
      if (file !== own) return;
    }
  }
}

const percent = (share) => `${Math.floor(100 * share)} %`;

function progress(text, share = null) {
  $("progress").hidden = false;
  $("doing").textContent = text;
  if (share === null) $("done").removeAttribute("value");
  else $("done").value = share;
}

function ended(said = null) {
  job = null;
  $("progress").hidden = true;
  // Pieces of a stopped stream were never final.
  for (const caption of captions) delete caption.open;
  for (const option of $("list").children) option.classList.remove("open");
  $("said").textContent = said ?? `Done: ${count()}.`;
  summarise();
}

const count = () => `${captions.length} ${captions.length === 1 ? "caption" : "captions"}`;

function summarise() {
  const parts = [count()];
  if (timeline.seconds) parts.unshift(clock(timeline.seconds, 0));
  $("summary").textContent = parts.join(" · ");
  $("download").disabled = !captions.length;
}

function setSeconds(length) {
  if (length === timeline.seconds && length) return;
  timeline.seconds = length;
  timeline.changed();
  $("total").textContent = clock(length);
  $("seek").max = length;
  summarise();
}

/** A row from the server: a caption, or more of one that is there. */
function receive(row) {
  const caption = { ...row, id: String(row.id), heard: { ...row }, open: row.state !== "end" };
  const at = captions.findIndex((c) => c.id === caption.id);
  if (at >= 0) captions[at] = caption;
  else captions.push(caption);
  shown();
  if (at < 0) $("list").append(option(caption));
  else $("list").children[at].replaceWith(option(caption));
  if (chosen === caption.id) choose(caption.id);
  else if (chosen === null && !caption.open) choose(caption.id);
}

/** After the captions changed. */
function shown() {
  timeline.captions = captions;
  timeline.changed();
  summarise();
}

function option(caption) {
  const element = document.createElement("div");
  element.className = "option";
  element.id = `option-${caption.id}`;
  element.dataset.id = caption.id;
  element.role = "option";
  element.ariaSelected = String(caption.id === chosen);
  element.classList.toggle("open", Boolean(caption.open));
  element.classList.toggle("unsure", caption.confidence !== null && caption.confidence < UNSURE);
  const time = document.createElement("time");
  time.textContent = `${clock(caption.start)} – ${clock(caption.end)}`;
  const text = document.createElement("p");
  text.textContent = caption.caption || "(empty)";
  element.append(time, text);
  return element;
}

const optionOf = (id) => document.getElementById(`option-${id}`);

/** Chooses a caption; `play` it, or not. */
function choose(id, { play = false, scroll = false } = {}) {
  const before = chosen === null ? null : optionOf(chosen);
  if (before) before.ariaSelected = "false";
  chosen = id;
  timeline.chosen = id;
  timeline.changed();
  const caption = id === null ? null : found(id);
  $("detail").hidden = !caption;
  if (!caption) {
    $("list").removeAttribute("aria-activedescendant");
    return;
  }
  const element = optionOf(id);
  element.ariaSelected = "true";
  $("list").setAttribute("aria-activedescendant", element.id);
  if (scroll || play) element.scrollIntoView({ block: "nearest" });
  detail(caption);
  if (play || scroll) timeline.reveal(caption.start, caption.end);
  if (play) {
    seek(caption.start);
    player.play().catch(() => {});
  }
}

function detail(caption) {
  if (document.activeElement !== $("text")) $("text").value = caption.caption;
  showBounds(caption);
  const { confidence, tags = [], alternatives = [], explanation } = caption;
  bars("confidence", confidence === null || confidence === undefined ? [] : [["Confidence", confidence]]);
  bars("tags", tags.slice(0, 6).map(({ name, probability }) => [name, probability]));
  const list = $("alternatives").querySelector("ul");
  const others = [...new Set(alternatives.map((a) => a.caption))].filter((text) => text !== caption.caption);
  list.replaceChildren(
    ...others.map((text) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => {
        edit(caption.id, { caption: text });
        $("text").focus();
      });
      item.append(button);
      return item;
    }),
  );
  $("alternatives").hidden = !others.length;
  $("explanation").hidden = !explanation;
  if (explanation) draw($("explanation").querySelector("canvas"), explanation, timeline.overview);
}

function bars(id, rows) {
  $(id).hidden = !rows.length;
  $(id).querySelector(".bars").replaceChildren(
    ...rows.map(([name, share]) => {
      const row = document.createElement("div");
      const [label, value, bar] = ["span", "span", "i"].map((kind) => document.createElement(kind));
      label.textContent = name;
      value.textContent = `${Math.round(100 * share)} %`;
      bar.style.width = `${100 * share}%`;
      row.append(bar, label, value);
      return row;
    }),
  );
}

function showBounds({ start, end }) {
  for (const [id, value] of [["from", start], ["to", end]]) if (document.activeElement !== $(id)) $(id).value = clock(value, 2);
  $("bounds-trouble").textContent = "";
}

// Playing

function seek(at) {
  player.currentTime = at;
  moved(at);
}

function moved(at, follow = false) {
  timeline.moveTo(at, follow);
  $("now").textContent = clock(at);
  if (document.activeElement !== $("seek") || player.paused) $("seek").value = at;
  $("seek").setAttribute("aria-valuetext", `${clock(at)} of ${clock(timeline.seconds)}`);
  for (const element of document.querySelectorAll(".option.sounding")) element.classList.remove("sounding");
  const sounding = captions.find((c) => c.start <= at && at < c.end);
  if (sounding) optionOf(sounding.id)?.classList.add("sounding");
}

function playing() {
  const toggle = () => (player.paused ? player.play().catch(() => hint("There is nothing to play yet.")) : player.pause());
  const tick = () => {
    moved(player.currentTime, true);
    if (!player.paused) requestAnimationFrame(tick);
  };
  $("play").addEventListener("click", toggle);
  player.addEventListener("click", toggle);
  for (const kind of ["play", "pause", "ended"]) {
    player.addEventListener(kind, () => {
      $("play").classList.toggle("playing", !player.paused);
      $("play").ariaLabel = player.paused ? "Play" : "Pause";
      if (kind === "play") tick();
    });
  }
  $("seek").addEventListener("input", () => seek(Number($("seek").value)));
  $("in").addEventListener("click", () => timeline.zoom(1 / 2));
  $("out").addEventListener("click", () => timeline.zoom(2));
  $("fit").addEventListener("click", () => timeline.all());
  addEventListener("keydown", (event) => {
    if ($("work").hidden || $("file-view").hidden || event.target.closest("input, textarea, select, button, a, dialog")) return;
    if (event.key === " ") {
      event.preventDefault();
      toggle();
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      undo();
    }
  });
}

// Correcting

function remember() {
  past.push(captions.map((caption) => ({ ...caption })));
  if (past.length > 100) past.shift();
  $("undo").disabled = false;
  saved = false;
}

function undo() {
  if (!past.length) return;
  captions = past.pop();
  $("undo").disabled = !past.length;
  rebuilt(found(chosen) ? chosen : null);
}

/** After captions were moved, added or removed. */
function rebuilt(next) {
  captions.sort((a, b) => a.start - b.start || a.end - b.end);
  $("list").replaceChildren(...captions.map(option));
  shown();
  choose(next);
}

/** Changes what is said of a caption, or its bounds. */
function edit(id, change, { first = true } = {}) {
  if (first) remember();
  const caption = found(id);
  Object.assign(caption, change);
  optionOf(id).replaceWith(option(caption));
  shown();
  if (id === chosen) detail(caption);
}

let dragging = false;

function setBounds(id, start, end, done) {
  edit(id, { start, end }, { first: !dragging });
  dragging = !done;
  if (done) rebuilt(id);
}

function editing() {
  let typing = false;
  $("text").addEventListener("focus", () => (typing = false));
  $("text").addEventListener("input", () => {
    edit(chosen, { caption: $("text").value }, { first: !typing });
    typing = true;
  });
  for (const [id, other] of [["from", "to"], ["to", "from"]]) {
    const apply = (value) => {
      const caption = found(chosen);
      const bound = { start: caption.start, end: caption.end, [id === "from" ? "start" : "end"]: round(value) };
      const wrong = Number.isNaN(value)
        ? "Write a time like 1:02.5."
        : bound.start >= bound.end
          ? "It would end before it begins."
          : bound.end > timeline.seconds + 0.001
            ? `The sound ends at ${clock(timeline.seconds, 2)}.`
            : "";
      $(id).ariaInvalid = wrong ? "true" : "false";
      $("bounds-trouble").textContent = wrong;
      if (wrong || (bound.start === caption.start && bound.end === caption.end)) return;
      edit(caption.id, { start: bound.start, end: bound.end });
      rebuilt(caption.id);
      $(id).value = clock(value, 2);
      $(other).ariaInvalid = "false";
    };
    $(id).addEventListener("change", () => apply(seconds($(id).value)));
    $(id).addEventListener("keydown", (event) => {
      const step = { ArrowUp: 0.1, ArrowDown: -0.1 }[event.key];
      if (!step) return;
      event.preventDefault();
      apply(Math.max(0, seconds($(id).value) + step));
    });
  }
  $("hear").addEventListener("click", () => choose(chosen, { play: true }));
  $("remove").addEventListener("click", remove);
  $("undo").addEventListener("click", undo);
  $("add").addEventListener("click", () => {
    if (!timeline.seconds) return;
    remember();
    const start = round(Math.min(timeline.now, Math.max(0, timeline.seconds - 0.1)));
    const id = `own-${Date.now()}`;
    const end = round(Math.min(start + NEW_SECONDS, timeline.seconds));
    captions.push({ id, start, end, caption: "", confidence: null, tags: [], alternatives: [] });
    rebuilt(id);
    $("text").focus();
  });
  $("save-picture").addEventListener("click", () =>
    $("explanation").querySelector("canvas").toBlob((picture) => save(`${stem()}-${chosen}.png`, picture, "image/png")),
  );
  schemeChanged(() => chosen !== null && detail(found(chosen)));
  $("list").addEventListener("click", (event) => {
    const element = event.target.closest(".option");
    if (element) choose(element.dataset.id, { play: true });
  });
  $("list").addEventListener("keydown", (event) => {
    const place = captions.findIndex((c) => c.id === chosen);
    const next = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: captions.length - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      const caption = captions[Math.max(0, Math.min(captions.length - 1, next))];
      if (caption) choose(caption.id, { scroll: true });
    } else if (event.key === "Enter" && chosen !== null) choose(chosen, { play: true });
    else if (event.key === "Delete" && chosen !== null) remove();
  });
}

function remove() {
  remember();
  const place = captions.findIndex((c) => c.id === chosen);
  captions.splice(place, 1);
  rebuilt((captions[place] ?? captions[place - 1])?.id ?? null);
  $("said").textContent = "Removed. Undo brings it back.";
}

const stem = () => file.name.replace(/\.[^.]*$/, "") || file.name;

async function download() {
  const [format, style] = $("format").value.split(" ");
  const content = style ? await api.subtitles(captions, format, style) : data(format, captions, file.name);
  save(`${stem()}.${format}`, content, TYPES[format]);
  saved = true;
}
