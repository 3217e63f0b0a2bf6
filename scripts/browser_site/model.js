// The page's side of worker.js.

export class Model {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map(); // id -> {resolve, reject}
  #next = 0;

  /** Resolves to {rule, licence} when the model is loaded; `rule` is `input` of model.json. */
  ready = new Promise((resolve, reject) => {
    this.#worker.onerror = (event) => reject(new Error(event.message || "The model cannot be started."));
    this.#worker.onmessage = ({ data }) => {
      if (data.id !== undefined) this.#answer(data);
      else if (data.problem) reject(new Error(data.problem));
      else resolve(data);
    };
  });

  /** Captions mono samples at the model's rate; see `Captioner.caption`. */
  caption(samples) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, samples });
    });
  }

  #answer({ id, caption, problem }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (problem) reject(new Error(problem));
    else resolve(caption);
  }
}
