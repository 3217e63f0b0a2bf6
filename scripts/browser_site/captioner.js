// From samples to a caption, by the rules of a portable folder. docs/portable.md tells each step.

import { Networks } from "./networks.js";
import { round } from "./arrays.js";
import { select } from "./selection.js";
import { Speaker } from "./wording.js";

const ARRAY_TYPES = { uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array };

export class Captioner {
  #networks;
  #classes;
  #speaker;

  constructor(model, classes, networks, speaker) {
    this.model = model;
    this.#classes = classes;
    this.#networks = networks;
    this.#speaker = speaker;
  }

  /** Loads the portable folder at an address, which ends with a slash. */
  static async load(folder) {
    const fetched = async (file) => {
      const answer = await fetch(new URL(file, folder));
      if (!answer.ok) throw new Error(`${file} cannot be fetched: ${answer.status}`);
      return answer;
    };
    const json = async (file) => (await fetched(file)).json();
    const bytes = async (file) => (await fetched(file)).arrayBuffer();
    const [model, classes, vocabulary] = await Promise.all([json("model.json"), json("classes.json"), json("vocabulary.json")]);
    const arrays = {};
    for (const [name, { file, type }] of Object.entries(model.arrays)) arrays[name] = new ARRAY_TYPES[type](await bytes(file));
    const networks = await Networks.load(model, async (file) => new Uint8Array(await bytes(file)));
    return new Captioner(model, classes, networks, new Speaker(model, classes, vocabulary, arrays, networks));
  }

  /**
   * Captions a sound of up to `longest_seconds`: mono samples at the model's rate, a Float32Array.
   *
   * Returns {text, confidence, tags, events}; tags are the likeliest classes, {name, probability}.
   */
  async caption(samples) {
    if (this.#isSilent(samples)) return { text: this.model.silence.text, confidence: 1, tags: [], events: [] };
    const { front_end: rule } = this.model;
    const { logMel, frames: allFrames } = await this.#networks.logMel(samples);
    const { probabilities, embedding } = await this.#networks.hear(logMel, allFrames);
    const seconds = samples.length / this.model.input.rate;
    const frames = Math.max(1, Math.min(allFrames, round(seconds * rule.frames_per_second)));
    const rows = logMel.subarray(0, frames * rule.mels);
    const clip = { logMel: rows, power: this.#power(rows), frames, probabilities };
    const hear = async (part, partFrames) => (await this.#networks.hear(part, partFrames)).probabilities;
    const chosen = await select(this.model, this.#classes, clip, hear);
    const [best] = await this.#speaker.word(chosen, embedding);
    return {
      text: this.#speaker.written(best.text),
      confidence: this.#confidence(chosen, best),
      tags: this.#likeliest(probabilities),
      events: chosen.events.map((event) => ({ ...event, label: this.#classes[event.index].label })),
    };
  }

  /** Whether the loudest tenth of a second is too faint. */
  #isSilent(samples) {
    const { stretch_seconds: seconds, decibels } = this.model.silence;
    const size = Math.min(samples.length, Math.floor(seconds * this.model.input.rate));
    if (!size) return true;
    let loudest = variance(samples.subarray(samples.length - size));
    for (let start = 0; start + size <= samples.length; start += size) {
      loudest = Math.max(loudest, variance(samples.subarray(start, start + size)));
    }
    return loudest < 10 ** (decibels / 10);
  }

  /** The power of each mel band. */
  #power(logMel) {
    const { logarithm, scale, offset, floor } = this.model.front_end;
    if (logarithm === "decibel") return logMel.map((level) => 10 ** (level / 10));
    return logMel.map((value) => Math.max(0, Math.exp(value * scale - offset) - floor));
  }

  #likeliest(probabilities) {
    return this.#classes
      .map(({ name }, index) => ({ name, probability: probabilities[index] }))
      .sort((a, b) => b.probability - a.probability)
      .slice(0, this.model.tags_per_caption);
  }

  #confidence({ events, margin }, { score, similarity }) {
    const weights = this.model.confidence;
    if (!weights) return null;
    const logit =
      weights.bias + weights.score * score + weights.tag * events[0].probability + weights.similarity * similarity + weights.margin * Math.log(margin);
    return 1 / (1 + Math.exp(-logit));
  }
}

function variance(samples) {
  let [total, squares] = [0, 0];
  for (const sample of samples) total += sample;
  const average = total / samples.length;
  for (const sample of samples) squares += (sample - average) ** 2;
  return squares / samples.length;
}
