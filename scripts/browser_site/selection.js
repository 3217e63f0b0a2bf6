// Selects the events of a sound from the probabilities of classes and from evidence in its log-mel.
// docs/portable.md, "Selection".

import { argmax, correlationWithTime, mean, percentile, round, sum } from "./arrays.js";

/**
 * Returns {events, relation, margin}; an event is {index, probability, repetition, trend}.
 *
 * `clip` is {logMel, power, frames, probabilities}, of which `logMel` and `power` hold `frames` rows.
 * `hear(logMel, frames)` gives the probabilities of classes in a part of the rows.
 */
export async function select(model, classes, clip, hear) {
  const { mels, frames_per_second: perSecond } = model.front_end;
  const scored = (probabilities) => classes.map(({ weight }, index) => Math.fround(probabilities[index] * Math.fround(weight)));
  const scores = scored(clip.probabilities);
  const first = argmax(scores);
  const rival = Math.max(0, ...scores.filter((_, index) => compatible(classes, first, index)));
  const margin = Math.max(1, scores[first] / Math.max(rival, 1e-6));
  const levels = bandLevels(clip.power, clip.frames, mels, perSecond, model.evidence);

  const parts = await twoParts(model, classes, clip, levels, hear, scored);
  if (parts) return { events: parts, relation: "then", margin };

  const second = secondClass(model.selection, classes, scores, clip.probabilities, first);
  const found = (index, marks = {}) => ({ index, probability: clip.probabilities[index], repetition: "none", trend: "none", ...marks });
  if (second !== null) return { events: [found(first), found(second)], relation: "while", margin };

  const marks = {};
  if (classes[first].repeats) marks.repetition = findRepetition(clip.power, clip.frames, mels, perSecond, model.evidence);
  if (classes[first].moves) marks.trend = findTrend(levels, model.evidence);
  return { events: [found(first, marks)], relation: "single", margin };
}

const compatible = (classes, one, other) => !classes[one].incompatible.includes(other);

/** The second of two events at the same time, or null. */
function secondClass(rule, classes, scores, probabilities, first) {
  const order = scores.map((_, index) => index).sort((a, b) => scores[b] - scores[a] || a - b);
  for (const index of order.slice(1, rule.considered_classes)) {
    if (scores[index] < rule.second_share * scores[first]) return null;
    const noises = classes[first].noise && classes[index].noise;
    if (probabilities[index] >= rule.second_probability && compatible(classes, first, index) && !noises) return index;
  }
  return null;
}

/** The events of a sound that is one and then another, or null. */
async function twoParts(model, classes, clip, levels, hear, scored) {
  const { selection: rule, evidence } = model;
  const step = changeStep(levels, evidence);
  if (step === null || levelDifference(levels, step, evidence) > evidence.silent_part_decibels) return null;
  if (returningShare(levels, step, evidence) >= rule.return_share) return null;
  const frame = round(step * evidence.step_seconds * model.front_end.frames_per_second);
  const cut = frame * model.front_end.mels;
  const tags = [await hear(clip.logMel.subarray(0, cut), frame), await hear(clip.logMel.subarray(cut), clip.frames - frame)];
  const [before, after] = tags.map(scored);
  const [one, two] = [argmax(before), argmax(after)];
  const sure = Math.min(before[one], after[two]) >= rule.part_score;
  const apart = after[one] <= rule.other_part_share * before[one] && before[two] <= rule.other_part_share * after[two];
  if (!sure || !apart || !compatible(classes, one, two)) return null;
  return [
    { index: one, probability: tags[0][one], repetition: "none", trend: "none" },
    { index: two, probability: tags[1][two], repetition: "none", trend: "none" },
  ];
}

/** Mean levels of wide bands in short steps, in decibels: an array of rows. */
function bandLevels(power, frames, mels, perSecond, evidence) {
  const size = Math.max(1, round(evidence.step_seconds * perSecond));
  const width = mels / evidence.bands;
  const levels = [];
  for (let start = 0; start + size <= frames; start += size) {
    const row = new Float64Array(evidence.bands);
    for (let frame = start; frame < start + size; frame++) {
      for (let mel = 0; mel < mels; mel++) row[Math.floor(mel / width)] += power[frame * mels + mel];
    }
    levels.push(row.map((energy) => 10 * Math.log10(energy / (size * width) + evidence.floor_power)));
  }
  return levels;
}

/** The mean row of some rows. */
const meanRow = (rows) => rows[0].map((_, band) => mean(rows.map((row) => row[band])));

/** The step at which the second of two parts begins, whose means describe the levels best; or null. */
function changeStep(levels, evidence) {
  const shortest = round(evidence.shortest_part_seconds / evidence.step_seconds);
  let [best, bestGain] = [null, -Infinity];
  for (let step = shortest; step <= levels.length - shortest; step++) {
    const [before, after] = [meanRow(levels.slice(0, step)), meanRow(levels.slice(step))];
    const gain = sum(before.map((level, band) => (level - after[band]) ** 2)) * step * (levels.length - step);
    if (gain > bestGain) [best, bestGain] = [step, gain];
  }
  return best;
}

/** The level of all bands together in each step. */
const totals = (levels) => levels.map((row) => 10 * Math.log10(sum(row.map((level) => 10 ** (level / 10)))));

/** The level of a part, in decibels. */
const loudness = (part, evidence) => percentile(totals(part), evidence.loud_percentile);

/** How much fainter the fainter part is, in decibels. */
const levelDifference = (levels, step, evidence) =>
  Math.abs(loudness(levels.slice(0, step), evidence) - loudness(levels.slice(step), evidence));

/** The share of the louder part that sounds like the fainter one. */
function returningShare(levels, step, evidence) {
  let [fainter, louder] = [levels.slice(0, step), levels.slice(step)];
  if (loudness(louder, evidence) < loudness(fainter, evidence)) [fainter, louder] = [louder, fainter];
  const typical = fainter[0].map((_, band) => percentile(fainter.map((row) => row[band]), 50));
  const same = louder.filter((row) => mean(row.map((level, band) => Math.abs(level - typical[band]))) < evidence.same_sound_decibels);
  return same.length / louder.length;
}

/** How often a short sound is heard. */
function findRepetition(power, frames, mels, perSecond, evidence) {
  const width = Math.max(1, round(evidence.smoothing_seconds * perSecond));
  const energy = Array.from({ length: frames }, (_, frame) => sum(power.subarray(frame * mels, (frame + 1) * mels)));
  const level = energy.map((_, frame) => {
    const from = frame - Math.floor(width / 2);
    const around = energy.slice(Math.max(0, from), from + width);
    return 10 * Math.log10(sum(around) / width + evidence.floor_power);
  });
  const loudest = Math.max(...level);
  const loud = level.map((value) => value > loudest - evidence.burst_decibels);
  if (loud.filter(Boolean).length / frames >= evidence.continuous_share) return "continuous";
  if (percentile(level, evidence.quiet_percentile) > loudest - evidence.clear_decibels) return "none";
  const bursts = []; // each {start, end}, in frames
  loud.forEach((isLoud, frame) => {
    const last = bursts.at(-1);
    if (!isLoud) return;
    if (last && frame - last.end < evidence.shortest_gap_seconds * perSecond) last.end = frame + 1;
    else bursts.push({ start: frame, end: frame + 1 });
  });
  const longest = Math.max(...bursts.map(({ start, end }) => end - start));
  if (longest > evidence.longest_burst_seconds * perSecond) return "none";
  return ["once", "twice"][bursts.length - 1] ?? "several";
}

/** Whether a sound approaches or fades. */
function findTrend(levels, evidence) {
  if (levels.length < evidence.shortest_trend_seconds / evidence.step_seconds) return "none";
  const loudness = totals(levels);
  const fifth = Math.floor(loudness.length / 5);
  const rise = mean(loudness.slice(-fifth)) - mean(loudness.slice(0, fifth));
  if (Math.abs(rise) < evidence.trend_decibels) return "none";
  if (Math.abs(correlationWithTime(loudness)) < evidence.trend_correlation) return "none";
  return rise > 0 ? "approaching" : "fading";
}
