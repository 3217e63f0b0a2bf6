// The beginning, and the table of all files: given, captioned, sorted by a sentence, downloaded together.

import * as api from "./api.js";
import * as keep from "./keep.js";
import { all, find, keepAll, Work } from "./work.js";
import { CaptionStore } from "./store.js";
import { attempt, button } from "./elements.js";
import { likelyTags, rows as dataRows, save, stem, table, TYPES } from "./formats.js";
import { read, READABLE } from "./subtitles.js";

const $ = (id) => document.getElementById(id);
const AT_ONCE = 2; // files that are captioned at the same time
const SOUNDS = /\.(wav|mp3|ogg|oga|opus|flac|m4a|aac|wma|aif|aiff|au|caf|wv|amr|mp4|m4v|mov|mkv|webm|avi|mpg|mpeg|ts|3gp|wmv)$/i;

let limit = Infinity; // bytes of the largest file
let sentence = ""; // that the table is sorted by
let show = () => {}; // opens a work
let awaitingFile = null; // a work whose file the person chooses again

/** Sets the page up; `opened(work)` shows a work. */
export function begin(info, opened) {
  limit = info.upload;
  show = opened;
  for (const name of info.examples) {
    const item = document.createElement("li");
    item.append(button(stem(name).replaceAll("_", " "), () => attempt(async () => give([await api.example(name)]))));
    $("examples").querySelector("ul").append(item);
  }
  $("examples").hidden = !info.examples.length;
  $("choose").addEventListener("click", () => $("chooser").click());
  $("choose-folder").addEventListener("click", () => $("folder-chooser").click());
  $("chooser").addEventListener("change", () => chosen($("chooser")));
  $("chooser").addEventListener("cancel", () => (awaitingFile = null));
  $("folder-chooser").addEventListener("change", () => chosen($("folder-chooser"), true));
  $("download-all").addEventListener("click", downloadAll);
  $("stop-all").addEventListener("click", () => {
    for (const work of all()) if (work.busy) stop(work);
  });
  $("rank").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => sort($("rank-sentence").value.trim()));
  });
  $("erase").addEventListener("click", erase);
  dropping();
  for (const work of all()) watch(work);
  draw();
}

function chosen(input, folder = false) {
  const files = [...input.files];
  input.value = "";
  attempt(() => give(folder ? files.filter((file) => SOUNDS.test(file.name)) : files));
}

/** Asks for the sound of a work that was kept without it. */
export function askAgain(work) {
  awaitingFile = work;
  $("chooser").click();
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
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    attempt(async () => give(entries.length ? await filesOf(entries) : plain));
  });
}

/** The files of dropped entries; of folders, those that may be sounds. */
async function filesOf(entries, inFolder = false) {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      if (!inFolder || SOUNDS.test(entry.name)) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      continue;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // gives 100 at most
      if (!some.length) break;
      found.push(...(await filesOf(some, true)));
    }
  }
  return found;
}

/** Takes files: sounds are captioned, and captions are opened with the sound of the same name, if there is one. */
export async function give(files) {
  if (awaitingFile) {
    const work = awaitingFile;
    awaitingFile = null;
    if (files.length === 1 && !READABLE.test(files[0].name)) {
      work.attach(files[0]);
      show(work);
      if (work.partial) run(work);
      return;
    }
  }
  const texts = files.filter((file) => READABLE.test(file.name));
  const sounds = files.filter((file) => !READABLE.test(file.name));
  if (!files.length) throw new Error("There is no sound and no film in it.");
  const given = [];
  for (const text of texts) given.push(openedCaptions(text.name, await text.text(), sounds));
  for (const sound of sounds) given.push(soundGiven(sound));
  for (const work of given) {
    watch(work);
    work.keep();
  }
  draw();
  if (given.length === 1) show(given[0]);
  else location.hash = "file";
  advance();
}

function soundGiven(file) {
  const work = new Work({ name: file.name, size: file.size, segments: $("segments").value, order: all().length });
  work.file = file;
  if (file.size > limit) Object.assign(work, { state: "failed", message: `${file.name} is larger than the ${Math.round(limit / 2 ** 20)} MB that this server takes.` });
  return work;
}

/** A work with the captions of a file; takes the sound of the same name out of `sounds`. */
function openedCaptions(name, text, sounds) {
  const at = sounds.findIndex((sound) => stem(sound.name) === stem(name));
  const [sound] = at < 0 ? [] : sounds.splice(at, 1);
  const heard = read(name, text).map((row, number) => ({ confidence: null, tags: [], ...row, id: `0-${number + 1}`, state: "end" }));
  const work = new Work({
    name: sound?.name ?? name,
    size: sound?.size,
    segments: $("segments").value,
    seconds: Math.max(...heard.map((row) => row.end)),
    state: "opened",
    store: new CaptionStore({ heard }),
    order: all().length,
  });
  work.file = sound ?? null;
  return work;
}

/** Starts works that wait, as many as there is room for. */
function advance() {
  const waiting = all().filter((work) => work.state === "waiting" && work.file && !work.job).reverse();
  const running = all().filter((work) => work.job).length;
  for (const work of waiting.slice(0, Math.max(0, AT_ONCE - running))) run(work);
}

/** Captions a file now, or goes on where it stopped. */
export function run(work) {
  work.run().finally(advance);
}

function stop(work) {
  if (work.job) work.stop();
  else Object.assign(work, { state: "stopped" }).dispatchEvent(new Event("state"));
}

// The table

const rows = new Map(); // elements by the id of their work
let drawing = 0;

function watch(work) {
  for (const kind of ["state", "captions"]) work.addEventListener(kind, later);
}

function later() {
  drawing ||= setTimeout(draw, 100);
}

/** Draws the table, if it is in sight. */
export function draw() {
  clearTimeout(drawing);
  drawing = 0;
  if ($("home-view").hidden) return;
  const works = all();
  if (sentence) works.sort((a, b) => (b.similarity ?? -2) - (a.similarity ?? -2));
  $("files").hidden = !works.length;
  $("files").classList.toggle("ranked", Boolean(sentence));
  $("stop-all").hidden = !works.some((work) => work.busy);
  $("download-all").disabled = !works.some((work) => work.store.captions.length);
  for (const [id, row] of rows) {
    if (find(id)) continue;
    row.remove();
    rows.delete(id);
  }
  works.forEach((work, at) => {
    if (!rows.has(work.id)) rows.set(work.id, newRow(work));
    const row = rows.get(work.id);
    fill(row, work);
    if ($("rows").children[at] !== row) $("rows").insertBefore(row, $("rows").children[at] ?? null);
  });
}

function newRow(work) {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.append(button(work.name, () => show(work)));
  const cells = Array.from({ length: 6 }, () => document.createElement("td"));
  cells[1].className = "said";
  cells[4].className = "similarity";
  const remove = () => {
    if (!work.saved && !confirm(`The edits of ${work.name} were not downloaded. Remove them?`)) return;
    work.forget();
    draw();
    $("files-title").focus();
  };
  cells[5].append(button("×", remove, `Remove ${work.name} from the list`));
  row.append(name, ...cells);
  for (const element of row.querySelectorAll("button")) element.className = "plain";
  return row;
}

function fill(row, work) {
  const { captions } = work.store;
  const [progress, caption, confidence, tags, similarity] = row.querySelectorAll("td");
  const best = captions.reduce((found, next) => ((next.confidence ?? 0) > (found?.confidence ?? -1) ? next : found), null);
  set(progress, work.state === "failed" && work.message ? work.message : work.describe());
  set(caption, captions.length > 1 ? `${best.caption} (and ${captions.length - 1} more)` : best?.caption ?? "");
  set(confidence, typeof best?.confidence === "number" ? `${Math.round(100 * best.confidence)} %` : "");
  set(tags, likelyTags(best?.tags ?? [], 3).join(", "));
  set(similarity, work.similarity === null ? "" : work.similarity.toFixed(2));
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sorts all files by how well a sentence fits them; in the order they came, without one. */
async function sort(query) {
  sentence = query;
  for (const work of all()) work.similarity = null;
  if (!sentence) {
    $("files-note").textContent = "";
    draw();
    return;
  }
  const checked = await api.checked(sentence);
  if (!checked.usable) {
    sentence = "";
    throw new Error(`The model does not know enough words of “${query}”. Try other words.`);
  }
  const passed = checked.unknown.length ? ` It does not know ${checked.unknown.join(", ")}.` : "";
  const works = all().filter((work) => work.file && work.state !== "failed");
  const without = all().length - works.length;
  for (const [number, work] of works.entries()) {
    if (sentence !== query) return;
    $("files-note").textContent = `Comparing ${number + 1} of ${works.length} with “${query}” …`;
    try {
      work.similarity = await api.similarity(work.file, query);
    } catch (error) {
      if (!error.status) throw error; // the server is gone
    }
    draw();
  }
  $("files-note").textContent =
    `Sorted by “${query}”.${passed}` + (without ? ` ${without} without their sound stand last.` : "");
}

function downloadAll() {
  const works = all().filter((work) => work.store.captions.length).reverse();
  const format = $("all-format").value;
  let text;
  if (format === "json") text = `${JSON.stringify(works.map((work) => ({ file: work.name, captions: dataRows(work.store.captions), partial: work.partial })), null, 2)}\n`;
  else {
    const lines = works.flatMap((work) => work.store.captions.map((c) => [work.name, c.start, c.end, c.caption, c.confidence ?? "", work.partial ? "yes" : ""]));
    text = table([["file", "start", "end", "caption", "confidence", "partial"], ...lines]);
  }
  save(`captions.${format}`, text, TYPES[format]);
  for (const work of works) work.saved = true;
}

async function erase() {
  if (!confirm("Erase all captions, edits, alerts and history that this browser keeps for this page?")) return;
  for (const work of all()) await work.forget();
  await keep.erase();
  erased = true;
  location.replace(location.pathname);
  location.reload();
}

let erased = false;

addEventListener("pagehide", () => erased || keepAll());
document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && !erased && keepAll());
addEventListener("beforeunload", (event) => {
  if (erased) return;
  const busy = all().some((work) => work.job);
  const unkept = !keep.keeps() && all().some((work) => !work.saved);
  const unwritten = all().some((work) => work.keeping);
  if (busy || unkept || unwritten) event.preventDefault();
  keepAll();
});
