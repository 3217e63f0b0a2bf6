// What was heard live, with times; kept in the browser if the person chooses so.

import * as keep from "./keep.js";
import { save, table, TYPES } from "./formats.js";

const $ = (id) => document.getElementById(id);
const KEY = "auricle-keep-history";
const MOST_ROWS = 5000; // more than a day's
const SHOWN_ROWS = 500; // in the page; the download has all

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
    known();
  });
  $("save-history").addEventListener("click", download);
  if ($("keep-history").checked) rows = await keep.all("live");
  for (const row of rows.slice(-SHOWN_ROWS)) show(row);
  known();
}

/** The words of the latest rows, the latest first. */
export const latest = (count) => rows.slice(-count).map((row) => row.caption).reverse();

let number = 0;

/** Adds a row: `kind` is sound, alert or gap. */
export function add(row) {
  const kept = { ...row, key: `${row.time.toISOString()} ${String(++number).padStart(6, "0")}` };
  rows.push(kept);
  show(kept);
  if ($("keep-history").checked) keep.put("live", kept.key, kept);
  if (rows.length > MOST_ROWS) keep.drop("live", rows.shift().key);
  known();
}

function show(row) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = row.time.toISOString();
  time.textContent = row.time.toLocaleTimeString();
  const text = document.createElement("p");
  text.textContent = row.kind === "alert" ? `⚠ ${row.caption}` : row.caption;
  item.className = row.kind;
  item.append(time, text);
  $("history").prepend(item);
  if ($("history").children.length > SHOWN_ROWS) $("history").lastElementChild.remove();
}

function known() {
  $("clear").disabled = $("save-history").disabled = !rows.length;
  $("no-history").hidden = rows.length > 0;
  $("big-before").textContent = latest(3).join("  ·  ");
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
