// Captions as the files that people download. What stands on the page is written as it stands.

export const TYPES = {
  srt: "application/x-subrip",
  vtt: "text/vtt",
  ass: "text/x-ssa",
  json: "application/json",
  csv: "text/csv",
  txt: "text/plain",
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

const two = (number) => String(number).padStart(2, "0");

function stamp(time, mark, digits = 3, hours = 2) {
  const ticks = Math.round(time * 10 ** digits);
  const whole = Math.floor(ticks / 10 ** digits);
  const parts = [String(Math.floor(whole / 3600)).padStart(hours, "0"), two(Math.floor(whole / 60) % 60), two(whole % 60)];
  return `${parts.join(":")}${mark}${String(ticks % 10 ** digits).padStart(digits, "0")}`;
}

const oneLine = (text) => text.trim().replace(/\s*\n\s*/g, "\n");
const cell = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
const table = (rows) => rows.map((row) => `${row.map(cell).join(",")}\n`).join("");
const percent = (value) => (value === null || value === undefined ? "" : value);

/** A text in the format: `captions` have `start`, `end`, `caption`, `confidence` and `tags`; `file` is their sound's name. */
export function written(format, captions, file) {
  const shown = captions.filter((c) => c.caption.trim());
  switch (format) {
    case "srt":
      return shown
        .map((c, i) => `${i + 1}\n${stamp(c.start, ",")} --> ${stamp(c.end, ",")}\n${oneLine(c.caption)}\n\n`)
        .join("");
    case "vtt": {
      const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("-->", "--&gt;");
      const cues = shown.map((c) => `${stamp(c.start, ".")} --> ${stamp(c.end, ".")}\n${escaped(oneLine(c.caption))}\n\n`);
      return `WEBVTT\n\n${cues.join("")}`;
    }
    case "ass": {
      const line = (c) => {
        const text = oneLine(c.caption).replace(/[{}]/g, (brace) => (brace === "{" ? "(" : ")")).replaceAll("\n", "\\N");
        return `Dialogue: 0,${stamp(c.start, ".", 2, 1)},${stamp(c.end, ".", 2, 1)},Default,,0,0,0,,${text}\n`;
      };
      return `[Script Info]
ScriptType: v4.00+
PlayResX: 1280
PlayResY: 720

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,42,&H00FFFFFF,&H000000FF,&H00000000,&H64000000,0,0,0,0,100,100,0,0,1,2,1,2,40,40,40,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
${shown.map(line).join("")}`;
    }
    case "csv":
      return table([
        ["file", "start", "end", "caption", "confidence"],
        ...shown.map((c) => [file, c.start, c.end, oneLine(c.caption), percent(c.confidence)]),
      ]);
    case "json":
      return `${JSON.stringify(
        {
          file,
          captions: shown.map(({ start, end, caption, confidence, tags }) => ({ start, end, caption, confidence, tags })),
        },
        null,
        2,
      )}\n`;
  }
  throw new Error(`no format ${format}`);
}

/** Hands a text or a blob to the browser's downloads. */
export function save(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
