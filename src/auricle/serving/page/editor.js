// One file in detail: its captions on a timeline and in a list, corrected and downloaded.

import * as api from "./api.js";
import * as player from "./player.js";
import { attempt, notify } from "./elements.js";
import { clock, data, save, stem, TYPES } from "./formats.js";
import { ENDINGS, labelTrack } from "./label-tracks.js";
import { Detail } from "./detail.js";
import { List } from "./list.js";
import { Overview } from "./overview.js";
import { askAgain, run } from "./files.js";
import { Timeline } from "./timeline.js";
import { columnsPerSecond } from "./work.js";
import { write } from "./subtitles.js";

const $ = (id) => document.getElementById(id);
const FILM_ENDINGS = { "video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm" };
const NEW_SECONDS = 2; // of a caption that is added by hand
const DRAW_MS = 200; // between captions that come in

let work = null;
let loaded = null; // the file in the player
let chosen = null; // the id of a caption
let drawing = 0;
let drawn = -Infinity; // when the captions were shown last, in milliseconds
let drags = 0; // so that all moves of one drag are one step

const list = new List($("list"));
const round = (value) => Math.round(value * 1000) / 1000;
const timeline = new Timeline($("timeline"), {
  seek: player.seek,
  choose: (id) => choose(id, { play: true }),
  bounds: (id, start, end, done) => {
    edit({ [id]: { start: round(start), end: round(end) } }, `drag-${drags}`);
    if (done) drags++;
  },
});
const detail = new Detail(timeline, {
  edit: (change, key) => edit({ [chosen]: change }, key),
  work: () => work,
});

export function begin() {
  player.begin({ moved, hint });
  $("stop").addEventListener("click", () => work.stop());
  $("continue").addEventListener("click", () => (work.file ? run(work) : askAgain(work)));
  $("again").addEventListener("change", again);
  $("download").addEventListener("click", () => attempt(download));
  $("in").addEventListener("click", () => timeline.zoom(1 / 2));
  $("out").addEventListener("click", () => timeline.zoom(2));
  $("fit").addEventListener("click", () => timeline.all());
  $("spectrogram").addEventListener("click", () => attempt(toggleSpectrogram));
  $("hear").addEventListener("click", () => choose(chosen, { play: true }));
  $("undo").addEventListener("click", () => moveBack("undo"));
  $("redo").addEventListener("click", () => moveBack("redo"));
  $("split").addEventListener("click", split);
  $("merge").addEventListener("click", merge);
  $("copy").addEventListener("click", () => attempt(copy));
  $("remove").addEventListener("click", remove);
  $("add").addEventListener("click", add);
  $("find").addEventListener("input", () => {
    const count = list.find($("find").value);
    say($("find").value ? `${count} found.` : "");
  });
  $("list").addEventListener("click", (event) => {
    const element = event.target.closest(".option");
    if (element) choose(element.dataset.id, { play: true });
  });
  $("list").addEventListener("keydown", listKey);
  addEventListener("keydown", pageKey);
}

const trouble = (message) => notify($("trouble"), message);
const hint = (message) => notify($("hint"), message);
const say = (message) => ($("said").textContent = message);

// Showing

/** Shows a work. */
export async function open(next) {
  if (work === next && loaded === next.file) return;
  for (const [kind, receiver] of receivers) {
    work?.removeEventListener(kind, receiver);
    next.addEventListener(kind, receiver);
  }
  work = next;
  loaded = next.file;
  trouble("");
  hint("");
  say("");
  $("name").textContent = work.name;
  $("again").value = work.segments;
  $("find").value = "";
  list.find("");
  chosen = null;
  detail.show(null);
  timeline.reset(work.overview);
  $("spectrogram").ariaPressed = "false";
  shown();
  stateChanged();
  const known = await player.load(next);
  if (work !== next) return;
  $("film-formats").disabled = !$("work-view").classList.contains("film");
  if ($("film-formats").disabled && $("format").value === "film") $("format").value = "srt written";
  work.seconds ||= known;
  shown();
  if (work.state === "finished" || work.overview?.columns) player.fallBack();
}

/** Leaves the work; it goes on by itself. */
export const leave = () => player.pause();

const receivers = [
  ["captions", later],
  ["state", stateChanged],
  ["overview", () => {
    player.fallBack();
    if (timeline.overview !== work.overview && !work.overview.bands && !timeline.overview?.bands) timeline.overview = work.overview;
    timeline.grew();
  }],
];

/** Shows captions of the server, a few times a second: people read no faster. */
function later() {
  drawing ||= setTimeout(shown, Math.max(0, drawn + DRAW_MS - performance.now()));
}

/** After the captions changed. */
function shown() {
  clearTimeout(drawing);
  drawing = 0;
  drawn = performance.now();
  const { captions, canUndo, canRedo } = work.store;
  if (chosen !== null && !work.store.get(chosen)) choose(null);
  list.show(captions, chosen);
  timeline.captions = captions;
  setSeconds(Math.max(work.seconds, timeline.seconds));
  timeline.changed();
  player.subtitle(captions);
  $("undo").disabled = !canUndo;
  $("redo").disabled = !canRedo;
  $("download").disabled = !captions.length;
  if (chosen === null && captions.length && !captions[0].open && $("find").value === "") choose(captions[0].id);
  else if (chosen !== null) detail.show(work.store.get(chosen));
  summarise();
}

function setSeconds(length) {
  timeline.seconds = length;
  $("total").textContent = length ? clock(length) : "…";
  $("seek").max = length;
}

function summarise() {
  const parts = [work.describe()];
  if (work.seconds && !work.busy) parts.unshift(clock(work.seconds, 0));
  const text = parts.join(" · ");
  if ($("summary").textContent !== text) $("summary").textContent = text;
}

let told = "";

function stateChanged() {
  $("progress").hidden = !work.busy;
  if (work.busy) {
    $("doing").textContent = work.describe();
    if (work.share === null) $("done").removeAttribute("value");
    else $("done").value = work.share;
    setSeconds(Math.max(work.seconds, timeline.seconds));
  }
  $("unfinished").hidden = !work.partial;
  $("unfinished-text").textContent = work.partial
    ? `${work.message} ${work.describe()}. The captions so far can be edited and downloaded${work.file ? "." : "; to go on, choose the file again."}`.trim()
    : "";
  $("continue").textContent = work.file ? "Continue" : "Choose the file again";
  if (work.state === "failed" && !work.partial) trouble(work.message);
  const state = `${work.id} ${work.state} ${work.runs}`;
  if (state !== told && !work.busy) {
    shown();
    say(`${work.describe()}.`);
  } else if (work.busy) say("");
  told = state;
  summarise();
}

/** Chooses a caption; `play` it, or not. */
function choose(id, { play = false, scroll = false } = {}) {
  list.choose(chosen, id);
  chosen = id;
  timeline.chosen = id;
  timeline.changed();
  const caption = id === null ? null : work.store.get(id);
  detail.show(caption);
  if (!caption) return;
  if (scroll || play) {
    list.reveal(id);
    timeline.reveal(caption.start, caption.end);
  }
  if (play) {
    player.seek(caption.start);
    player.play();
  }
}

function moved(at, follow) {
  timeline.moveTo(at, follow);
  const sounding = work.store.captions.find((c) => c.start <= at && at < c.end);
  list.sound(sounding?.id ?? null, follow);
}

async function toggleSpectrogram() {
  if ($("spectrogram").ariaPressed === "true") {
    hideSpectrogram();
    return;
  }
  const own = work;
  if (!work.file) throw new Error("Choose the file again to draw its spectrogram.");
  $("spectrogram").ariaPressed = "true";
  const overview = new Overview(columnsPerSecond(work.seconds));
  hint("The server draws the spectrogram …");
  const query = { segments: "none", overview: overview.rate };
  try {
    await api.captions(work.file, query, {
      overview: (piece) => {
        overview.append(piece);
        if (own !== work || $("spectrogram").ariaPressed !== "true") return;
        timeline.overview = overview;
        timeline.grew();
      },
    }).finished;
  } catch (error) {
    if (own !== work) return;
    hideSpectrogram();
    throw error;
  } finally {
    if (own === work) hint("");
  }
}

function hideSpectrogram() {
  $("spectrogram").ariaPressed = "false";
  timeline.overview = work.overview;
  timeline.changed();
}

// Editing

function edit(changes, key = "") {
  work.store.edit(changes, key);
  edited();
}

function edited(id = chosen) {
  work.changed({ edited: true });
  shown();
  if (id !== chosen || id === null) choose(id);
}

function moveBack(way) {
  const ids = work.store[way]();
  if (!ids.length) return;
  const id = ids.find((changed) => work.store.get(changed)) ?? null;
  edited(id ?? (chosen !== null && work.store.get(chosen) ? chosen : null));
}

function split() {
  const caption = work.store.get(chosen);
  const middle = (caption.start + caption.end) / 2;
  const inside = timeline.now > caption.start + 0.05 && timeline.now < caption.end - 0.05;
  work.store.split(chosen, round(inside ? timeline.now : middle));
  edited();
  say("Split in two.");
}

function merge() {
  const merged = work.store.merge(chosen);
  if (merged) edited();
  say(merged ? "Merged with the next caption." : "There is no next caption.");
}

async function copy() {
  const { caption } = work.store.get(chosen);
  try {
    await navigator.clipboard.writeText(caption);
  } catch {
    // Browsers give the clipboard only to pages from https, but let any page copy the selection.
    $("text").select();
    document.execCommand("copy");
  }
  say("Copied.");
}

function remove() {
  const { captions } = work.store;
  const place = captions.findIndex((c) => c.id === chosen);
  if (place < 0) return;
  work.store.remove(chosen);
  const left = work.store.captions;
  edited((left[place] ?? left[place - 1])?.id ?? null);
  say("Removed. Undo brings it back.");
}

function add() {
  if (!timeline.seconds) return;
  const start = round(Math.min(timeline.now, Math.max(0, timeline.seconds - 0.1)));
  const end = round(Math.min(start + NEW_SECONDS, timeline.seconds));
  edited(work.store.add({ start, end, caption: "" }));
  $("text").focus();
}

function again() {
  const segments = $("again").value;
  const fits = work.file && (!work.store.edited || confirm("Other captions replace these, your edits too. Go on?"));
  if (!fits) {
    if (!work.file) hint("Choose the file again to caption it in another way.");
    $("again").value = work.segments;
    return;
  }
  choose(null);
  trouble("");
  work.reset(segments);
  run(work);
}

function listKey(event) {
  const visible = list.found;
  const place = visible.findIndex((c) => c.id === chosen);
  const next = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: visible.length - 1 }[event.key];
  if (next !== undefined) {
    event.preventDefault();
    const caption = visible[Math.max(0, Math.min(visible.length - 1, next))];
    if (caption) choose(caption.id, { scroll: true });
    return;
  }
  if (chosen === null) return;
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (event.key === "Enter") choose(chosen, { play: true });
  else if (event.key === "Delete") remove();
  else if (plain && event.key.toLowerCase() === "s") split();
  else if (plain && event.key.toLowerCase() === "m") merge();
  else if (!plain && event.key.toLowerCase() === "c" && !getSelection().toString()) attempt(copy);
}

function pageKey(event) {
  if (!work || $("work-view").hidden || event.target.closest("input, textarea, select, dialog")) return;
  const key = event.key.toLowerCase();
  if (key === " " && !event.target.closest("button, a, summary")) {
    event.preventDefault();
    player.toggle();
  } else if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) {
    event.preventDefault();
    moveBack(key === "y" || event.shiftKey ? "redo" : "undo");
  }
}

// Downloading

async function download() {
  const [format, style] = $("format").value.split(" ");
  const { captions } = work.store;
  const name = `${stem(work.name) || work.name}${work.partial ? "-partial" : ""}`;
  let content;
  let ending = format;
  if (format === "film") {
    hint("The server adds the captions to the film …");
    try {
      content = await api.film(work.file, captions);
    } finally {
      hint("");
    }
    ending = FILM_ENDINGS[content.type] ?? "mkv";
  } else if (style === "label") content = await labels(captions, format);
  else if (format in ENDINGS) {
    content = labelTrack(format, captions);
    ending = ENDINGS[format];
  } else if (style) content = write(captions, format);
  else content = data(format, captions, work.name, work.partial);
  save(`${name}.${format === "film" ? "captions." : ""}${ending}`, content, TYPES[format] ?? content.type);
  work.saved = true;
  if (work.partial) hint("The download is partial: the file was not captioned to its end.");
}

/** Labels as the server words them; without it, the page writes the captions as they stand, and says so. */
async function labels(captions, format) {
  try {
    return await api.labels(captions, format);
  } catch (error) {
    if (error.status) throw error;
    hint("The server cannot be reached, so the captions stand as they are written and not as labels.");
    return write(captions, format);
  }
}
