// Times and captions as people read them, and as the files that they download.

const TAG_SHARE = 0.15; // less likely tags are not shown

export const TYPES = {
  srt: "application/x-subrip",
  vtt: "text/vtt",
  ass: "text/x-ssa",
  json: "application/json",
  csv: "text/csv",
  txt: "text/plain",
  audacity: "text/plain",
  textgrid: "text/plain",
  raven: "text/tab-separated-values",
};

/** Seconds as people read and write them: 1:02:03.4. */
export function clock(seconds, digits = 1) {
  const tick = 10 ** digits;
  const ticks = Math.round(Math.max(0, seconds) * tick);
  const whole = Math.floor(ticks / tick);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const rest = digits ? `.${String(ticks % tick).padStart(digits, "0")}` : "";
  return h ? `${h}:${two(m)}:${two(s)}${rest}` : `${m}:${two(s)}${rest}`;
}

/** The seconds that `clock` would write so, or NaN. */
export function seconds(text) {
  const parts = text.trim().replace(",", ".").split(":");
  if (parts.length > 3 || parts.some((part) => !/^\d+(\.\d*)?$|^\.\d+$/.test(part))) return NaN;
  return parts.reduce((total, part) => 60 * total + Number(part), 0);
}

/** A number of hours, minutes or seconds with two digits. */
export const two = (number) => String(number).padStart(2, "0");

/** A text without empty lines, which would end a cue. */
export const dense = (text) => text.trim().replace(/\s*\n\s*/g, "\n");
// Spreadsheets would run a text that begins like a formula; an apostrophe before it makes it text.
const unlikeFormula = (value) => (typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value);
const cell = (value) => {
  const text = String(unlikeFormula(value));
  return text !== String(value) || /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** A file's name without its ending. */
export const stem = (name) => name.replace(/\.[^.]*$/, "");

/** The names of tags that are likely enough to be shown, the likeliest first. */
export const likelyTags = (tags, most = Infinity) =>
  tags.filter((tag) => tag.probability > TAG_SHARE).slice(0, most).map((tag) => tag.name);

/** Captions as rows of data. */
export const rows = (captions) =>
  captions.map(({ start, end, caption, confidence, tags }) => ({ start, end, caption: dense(caption), confidence, tags }));

/** Captions as data: each has `start`, `end`, `caption`, `confidence` and `tags`; `file` is their sound's name. */
export function data(format, captions, file, partial = false) {
  const lines = rows(captions);
  if (format === "json") return `${JSON.stringify({ file, ...(partial && { partial }), captions: lines }, null, 2)}\n`;
  const header = ["file", "start", "end", "caption", "confidence"];
  return table([header, ...lines.map((row) => [file, row.start, row.end, row.caption, row.confidence ?? ""])]);
}

/** Rows as comma-separated values. */
export const table = (rows) => rows.map((row) => `${row.map(cell).join(",")}\n`).join("");

/** Hands a text or a blob to the browser's downloads. */
export function save(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
