// What was heard live, with times; kept in the browser if the person chooses so.

import * as keep from "./keep.js";
import { save, table, TYPES } from "./formats.js";

const $ = (id) => document.getElementById(id);
const KEY = "auricle-keep-history";
const MOST_ROWS = 5000; // more than a day's
const SHOWN_ROWS = 500; // in the page; the download has all
const EARLIER_ROWS = 3; // below the large text

let rows = []; // {key, kind, time, seconds, caption, confidence}, the oldest first

export async function begin() {
  $("keep-history").checked = localStorage.getItem(KEY) === "yes";
  $("keep-history").addEventListener("change", async () => {
    const on = $("keep-history").checked;
    localStorage.setItem(KEY, on ? "yes" : "no");
    if (on) for (const row of rows) keep.put("live", row.key, row);
    else await keep.clear("live");
  });
  $("clear").addEventListener("click", () => {
    rows = [];
    keep.clear("live");
    $("history").replaceChildren();
    update();
  });
  $("save-history").addEventListener("click", download);
  if ($("keep-history").checked) rows = await keep.all("live");
  for (const row of rows.slice(-SHOWN_ROWS)) show(row);
  update();
}

const words = (row) => (row.kind === "alert" ? `⚠ ${row.caption}` : row.caption);

let number = 0;

/** Adds a row: `kind` is sound, alert or gap. */
export function add(row) {
  const kept = { ...row, key: `${row.time.toISOString()} ${String(++number).padStart(6, "0")}` };
  // An alert comes while its sound lasts, and the caption of the sound after it.
  const later = rows.findLastIndex((other) => other.time <= kept.time) + 1;
  rows.splice(later, 0, kept);
  show(kept, rows.length - 1 - later);
  if ($("keep-history").checked) keep.put("live", kept.key, kept);
  if (rows.length > MOST_ROWS) keep.drop("live", rows.shift().key);
  update();
}

/** Shows a row below the `place` latest ones. */
function show(row, place = 0) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = row.time.toISOString();
  time.textContent = row.time.toLocaleTimeString();
  const text = document.createElement("p");
  text.textContent = words(row);
  item.className = row.kind;
  item.append(time, text);
  $("history").insertBefore(item, $("history").children[place] ?? null);
  if ($("history").children.length > SHOWN_ROWS) $("history").lastElementChild.remove();
}

/** Shows what can be done with the history, and its latest rows below the large sentence, which is not one of them. */
export function update() {
  $("clear").disabled = $("save-history").disabled = !rows.length;
  $("no-history").hidden = rows.length > 0;
  const earlier = rows.slice(-EARLIER_ROWS - 1).filter((row) => row.caption !== $("big-sentence").textContent);
  $("big-before").textContent = earlier.slice(-EARLIER_ROWS).reverse().map(words).join("  ·  ");
}

function download() {
  const format = $("history-format").value;
  const shown = rows.map(({ key, ...row }) => ({ ...row, time: row.time.toISOString(), seconds: row.seconds && Math.round(row.seconds * 10) / 10 }));
  const text = {
    txt: () => rows.map((row) => `${row.time.toLocaleString()}  ${row.kind === "alert" ? "ALERT: " : ""}${row.caption}\n`).join(""),
    csv: () => table([["time", "kind", "seconds", "caption", "confidence"], ...shown.map((r) => [r.time, r.kind, r.seconds ?? "", r.caption, r.confidence ?? ""])]),
    json: () => `${JSON.stringify(shown, null, 2)}\n`,
  };
  save(`heard-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}.${format}`, text[format](), TYPES[format]);
}
