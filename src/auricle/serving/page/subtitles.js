// Subtitle files as text: SubRip, WebVTT and Advanced SubStation Alpha, written and read in the page.

import { dense, two } from "./formats.js";

/** Seconds as a format writes them: 00:00:01,500 (srt), 00:00:01.500 (vtt), 0:00:01.50 (ass). */
function stamp(seconds, form) {
  const ticks = form === "ass" ? 100 : 1000;
  const all = Math.floor(Math.round(seconds * 1000) / (1000 / ticks)); // no cue of ASS starts after its sound
  const whole = Math.floor(all / ticks);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const rest = String(all % ticks).padStart(form === "ass" ? 2 : 3, "0");
  return `${form === "ass" ? h : two(h)}:${two(m)}:${two(s)}${form === "srt" ? "," : "."}${rest}`;
}

const ASS_HEAD = `[Script Info]
ScriptType: v4.00+
WrapStyle: 0
ScaledBorderAndShadow: yes

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,20,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,2,2,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
`;

// What would be markup is text: a subtitle says what the person wrote.
const PLAIN = {
  srt: (text) => text.replaceAll("<", "‹").replaceAll(">", "›").replaceAll("{", "(").replaceAll("}", ")"),
  vtt: (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("-->", "--&gt;"),
  ass: (text) => text.replaceAll("\\", "\\\u2060").replaceAll("{", "(").replaceAll("}", ")").replaceAll("\n", "\\N"),
};

/** A subtitle file of captions, which have `start`, `end` and `caption`. */
export function write(captions, form) {
  const cues = captions.filter(({ caption, start, end }) => caption.trim() && end > start);
  const body = cues.map(({ start, end, caption }, at) => {
    const text = PLAIN[form](dense(caption));
    if (form === "ass") return `Dialogue: 0,${stamp(start, form)},${stamp(end, form)},Default,,0,0,0,,${text}\n`;
    const head = form === "srt" ? `${at + 1}\n` : "";
    return `${head}${stamp(start, form)} --> ${stamp(end, form)}\n${text}\n\n`;
  });
  return { srt: "", vtt: "WEBVTT\n\n", ass: ASS_HEAD }[form] + body.join("");
}

const TIME = /(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})/;
const ARROW = new RegExp(`^\\s*${TIME.source}\\s*-->\\s*${TIME.source}`);

function seconds([h, m, s, rest]) {
  return Number(h ?? 0) * 3600 + Number(m) * 60 + Number(s) + Number(`0.${rest}`);
}

function readable(text) {
  const plain = text
    .replace(/<\/?[a-z][^>]*>/gi, "")
    .replace(/\{\\[^}]*\}/g, "")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&nbsp;", " ")
    .replaceAll("&amp;", "&");
  return plain.trim();
}

function blocks(text) {
  const found = [];
  let cue = null;
  for (const line of text.split(/\r\n|\r|\n/)) {
    const times = ARROW.exec(line);
    if (times) {
      // In SubRip the number of a cue stands on the line before its times.
      if (cue && /^\d+$/.test(cue.lines.at(-1) ?? "") && cue.lines.at(-2) === "") cue.lines.pop();
      cue = { start: seconds(times.slice(1, 5)), end: seconds(times.slice(5, 9)), lines: [] };
      found.push(cue);
    } else if (cue) cue.lines.push(line.trim());
  }
  return found.map(({ start, end, lines }) => {
    const ended = lines.indexOf("");
    return { start, end, caption: readable((ended < 0 ? lines : lines.slice(0, ended)).join("\n")) };
  });
}

function dialogues(text) {
  let columns = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"];
  const found = [];
  let events = false;
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (line.startsWith("[")) events = /^\[events\]/i.test(line);
    const [kind, rest] = [line.slice(0, line.indexOf(":")).trim().toLowerCase(), line.slice(line.indexOf(":") + 1)];
    if (events && kind === "format") columns = rest.split(",").map((name) => name.trim().toLowerCase());
    if (kind !== "dialogue") continue;
    const parts = rest.split(",");
    const fields = [...parts.slice(0, columns.length - 1), parts.slice(columns.length - 1).join(",")];
    const field = (name) => (fields[columns.indexOf(name)] ?? "").trim();
    const [from, to] = [TIME.exec(field("start")), TIME.exec(field("end"))];
    if (from && to) {
      const caption = readable(field("text").replace(/\\[Nn]/g, "\n").replaceAll("\\h", " "));
      found.push({ start: seconds(from.slice(1)), end: seconds(to.slice(1)), caption });
    }
  }
  return found;
}

function objects(text) {
  const data = JSON.parse(text);
  const rows = Array.isArray(data) ? data : data.captions;
  if (!Array.isArray(rows)) throw new Error("It holds no list of captions.");
  const number = (value) => (Number.isFinite(value) && value >= 0 ? value : 0);
  return rows.map((row) => ({
    start: number(row.start),
    end: number(row.end),
    caption: String(row.caption ?? row.text ?? ""),
    confidence: Number.isFinite(row.confidence) ? row.confidence : null,
    tags: Array.isArray(row.tags) ? row.tags.filter((tag) => tag && typeof tag.name === "string" && Number.isFinite(tag.probability)) : [],
  }));
}

export const READABLE = /\.(srt|vtt|ass|ssa|json)$/i;

/** The captions of a file of subtitles, from its name and text; throws an error that says why there are none. */
export function read(name, text) {
  const form = READABLE.exec(name)?.[1].toLowerCase();
  let found;
  try {
    found = form === "json" ? objects(text) : form === "ass" || form === "ssa" ? dialogues(text) : blocks(text);
  } catch (error) {
    throw new Error(`${name} cannot be read as captions. ${error instanceof SyntaxError ? "It is not JSON." : error.message}`);
  }
  const cues = found.filter(({ start, end, caption }) => end > start && caption);
  if (!cues.length) throw new Error(`${name} holds no captions that can be read.`);
  return cues;
}
