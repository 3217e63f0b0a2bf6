// The graphs of a portable folder on ONNX Runtime's WebAssembly build.

import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more need headers that plain web hosts do not send

const floats = (data, shape) => new ort.Tensor("float32", data, shape);
const whole = (numbers, shape) => new ort.Tensor("int64", BigInt64Array.from(numbers.flat(2), BigInt), shape);

export class Networks {
  #sessions;
  #model;

  constructor(sessions, model) {
    this.#sessions = sessions;
    this.#model = model;
  }

  /** Loads all graphs; `bytes(file)` fetches one. */
  static async load(model, bytes) {
    const sessions = {};
    for (const [name, file] of Object.entries(model.networks)) {
      sessions[name] = await ort.InferenceSession.create(await bytes(file));
    }
    return new Networks(sessions, model);
  }

  /** Samples -> {logMel, frames}, row by row. */
  async logMel(samples) {
    const { log_mel: found } = await this.#sessions.front_end.run({ samples: floats(samples, [1, samples.length]) });
    return { logMel: found.data, frames: found.dims[1] };
  }

  /** Rows of a log-mel -> {probabilities, embedding}; a few rows get silence after them. */
  async hear(logMel, frames) {
    const { mels, padded_seconds: seconds, frames_per_second: perSecond, silent_log_mel: silence } = this.#model.front_end;
    const rows = Math.max(frames, Math.round(seconds * perSecond));
    const padded = new Float32Array(rows * mels).fill(silence);
    padded.set(logMel);
    const { tags, sound_embedding: embedding } = await this.#sessions.encoder.run({ log_mel: floats(padded, [1, rows, mels]) });
    return { probabilities: tags.data, embedding: embedding.data };
  }

  /** Events and the relation and manner, as numbers -> the decoder's memory. */
  async rememberPlan(events, wholePlan) {
    return this.#sessions.plan.run({ events: whole([events], [1, events.length, 3]), whole: whole([wholePlan], [1, 2]) });
  }

  /** Returns a function: last tokens and parents -> rows of log-probabilities. It remembers the steps before. */
  steps(memory) {
    const [layers, , heads, , size] = memory.memory_keys.dims;
    let keys = floats(new Float32Array(0), [layers, 1, heads, 0, size]);
    let values = keys;
    return async (tokens, parents) => {
      const outputs = await this.#sessions.step.run(
        { tokens: whole(tokens, [tokens.length]), parents: whole(parents, [parents.length]), past_keys: keys, past_values: values, ...memory },
        ["log_probs", "keys", "values"],
      );
      ({ keys, values } = outputs);
      const words = outputs.log_probs.dims[1];
      return tokens.map((_, row) => outputs.log_probs.data.subarray(row * words, (row + 1) * words));
    };
  }

  /** Sentences as numbers of words -> their embeddings. */
  async embedSentences(sentences) {
    const { padding, unknown } = this.#model.search;
    const filled = sentences.map((numbers) => (numbers.length ? numbers : [unknown]));
    const longest = Math.max(...filled.map((numbers) => numbers.length));
    const tokens = filled.map((numbers) => [...numbers, ...Array(longest - numbers.length).fill(padding)]);
    const { sentence_embedding: found } = await this.#sessions.text.run({ tokens: whole(tokens, [tokens.length, longest]) });
    const space = found.dims[1];
    return sentences.map((_, row) => found.data.subarray(row * space, (row + 1) * space));
  }
}
