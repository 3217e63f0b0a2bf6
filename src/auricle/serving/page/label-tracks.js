// Label tracks for sound editors, as `auricle caption` writes them: Audacity, Praat and ELAN, Raven.

const HIGHEST_FREQUENCY_HZ = 16_000; // of a selection: captions tell nothing of frequencies
const RAVEN_COLUMNS = [
  "Selection",
  "View",
  "Channel",
  "Begin Time (s)",
  "End Time (s)",
  "Low Freq (Hz)",
  "High Freq (Hz)",
  "Annotation",
  "Confidence",
];

/** The endings of the files, by format. */
export const ENDINGS = { audacity: "labels.txt", textgrid: "TextGrid", raven: "selections.txt" };

const oneLine = (text) => text.trim().split(/\s+/).join(" ");

/** The text of a label track; captions are in order of time. */
export function labelTrack(format, captions) {
  if (format === "audacity") return captions.map(({ start, end, caption }) => `${start.toFixed(6)}\t${end.toFixed(6)}\t${oneLine(caption)}\n`).join("");
  if (format === "raven") return raven(captions);
  return textGrid(captions);
}

function raven(captions) {
  const lines = captions.map(({ start, end, caption, confidence }, index) =>
    [index + 1, "Spectrogram 1", 1, start.toFixed(6), end.toFixed(6), 0, HIGHEST_FREQUENCY_HZ, oneLine(caption), confidence?.toFixed(4) ?? ""],
  );
  return [RAVEN_COLUMNS, ...lines].map((cells) => `${cells.join("\t")}\n`).join("");
}

/** Intervals cover the whole sound; those without a caption have no text. */
function textGrid(captions) {
  const intervals = [];
  let last = 0;
  for (const { start, end, caption } of captions) {
    if (start > last) intervals.push([last, start, ""]);
    if (end > Math.max(last, start)) intervals.push([Math.max(last, start), end, oneLine(caption)]);
    last = Math.max(last, end);
  }
  const lines = intervals.flatMap(([start, end, text], index) => [
    `        intervals [${index + 1}]:`,
    `            xmin = ${start.toFixed(6)}`,
    `            xmax = ${end.toFixed(6)}`,
    `            text = "${text.replaceAll('"', '""')}"`,
  ]);
  const head = `File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = ${last.toFixed(6)}
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "captions"
        xmin = 0
        xmax = ${last.toFixed(6)}
        intervals: size = ${intervals.length}`;
  return `${[head, ...lines].join("\n")}\n`;
}
