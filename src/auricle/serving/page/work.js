// The work on one file: what the server hears in it, what the person edits, and how far it has come.

import * as api from "./api.js";
import * as keep from "./keep.js";
import { Overview } from "./overview.js";
import { CaptionStore } from "./store.js";
import { clock } from "./formats.js";

const COLUMNS = 60_000; // of a whole overview, about
const TRIES = 5; // at a server that is busy
const KEEP_MS = 400; // until a change is kept, and one more for each caption: all are written each time
const WINDOW_SECONDS = 10; // a continued run of windows begins at a whole one

const works = new Map();

/** All works, the latest first. */
export const all = () => [...works.values()].sort((a, b) => b.made - a.made || b.order - a.order);
export const find = (id) => works.get(id);

/**
 * A file and its captions. Tells `state` and `captions` when those change, `overview` when more of the sound is drawn.
 *
 * `state` is one of: waiting, sending, running, finished, stopped (by the person), interrupted (by the server or a
 * reload), failed (it cannot be captioned), opened (captions of a subtitle file).
 */
export class Work extends EventTarget {
  constructor({ id, name, size, segments, seconds = 0, state = "waiting", message = "", runs = 0, made, order = 0, store }) {
    super();
    Object.assign(this, { name, size, segments, seconds, state, message, runs, order });
    this.id = id ?? crypto.getRandomValues(new Uint32Array(2)).join("");
    this.made = made ?? Date.now();
    this.file = null; // the sound itself; never kept
    this.share = null; // of the running work
    this.store = store ?? new CaptionStore();
    this.overview = null;
    this.saved = true; // whether the person has downloaded all edits
    this.similarity = null;
    works.set(this.id, this);
  }

  get busy() {
    return ["waiting", "sending", "running"].includes(this.state);
  }

  get partial() {
    return ["stopped", "interrupted"].includes(this.state) || (this.state === "failed" && this.store.captions.length > 0);
  }

  /** Takes the sound, which must be the same file as before. */
  attach(file) {
    if (this.size && file.size !== this.size) throw new Error(`This is another file. Choose ${this.name} again.`);
    this.file = file;
    this.size = file.size;
  }

  /** Has the file captioned: from where it stopped, or from the beginning. */
  async run() {
    if (!this.file || this.job) return;
    const own = (this.job = { stop: () => {} });
    this.store.dropOpen();
    const reached = this.store.reached;
    const start = this.segments === "windows" ? Math.floor(reached / WINDOW_SECONDS + 0.01) * WINDOW_SECONDS : reached;
    this.runs++;
    this.overview = new Overview(columnsPerSecond(this.seconds));
    try {
      await this.#attempts(own, start);
      if (own === this.job) this.#end("finished");
    } catch (error) {
      if (own !== this.job) return;
      if (error.name === "AbortError") this.#end("stopped");
      else this.#end(error.status === 422 || error.status === 413 ? "failed" : "interrupted", error.message);
    }
  }

  async #attempts(own, start) {
    const query = { segments: this.segments, overview: this.overview.rate, spectrogram: 0, start };
    for (let left = TRIES; ; left--) {
      try {
        this.#tell("sending");
        const request = api.captions(this.file, query, this.#receivers());
        own.stop = request.stop;
        return await request.finished;
      } catch (error) {
        if (error.status === 401) {
          await api.info(); // asks for the token
          continue;
        }
        if (!error.retryAfter || left <= 1) throw error;
        this.#tell("waiting", `The server is busy. The page tries again in ${error.retryAfter} s.`);
        await new Promise((resolve, reject) => {
          setTimeout(resolve, 1000 * Math.min(error.retryAfter, 60));
          own.stop = () => reject(new DOMException("stopped", "AbortError"));
        });
      }
    }
  }

  #receivers() {
    const prefix = this.runs;
    return {
      upload: (share) => this.#tell(share < 1 ? "sending" : "running", "", share < 1 ? share : null),
      progress: ({ seconds, fraction }) => {
        this.seconds = Math.max(this.seconds, seconds);
        this.heardSeconds = seconds;
        this.#tell("running", "", fraction);
      },
      overview: (piece) => {
        this.overview.append(piece);
        this.dispatchEvent(new Event("overview"));
      },
      caption: (row) => {
        this.store.receive({ ...row, id: `${prefix}-${row.id}` });
        this.changed();
      },
    };
  }

  /** Stops what the server does for it. */
  stop() {
    this.job?.stop();
  }

  /** Forgets its captions, to be run again with other stretches. */
  reset(segments) {
    const own = this.job;
    this.job = null;
    own?.stop();
    this.segments = segments;
    this.store = new CaptionStore();
    this.changed();
  }

  /** After the captions changed. */
  changed({ edited = false } = {}) {
    if (edited) this.saved = false;
    this.dispatchEvent(new Event("captions"));
    this.keep();
  }

  /** Keeps its text in the browser, a moment later. */
  keep() {
    this.keeping ??= setTimeout(() => this.keepNow(), KEEP_MS + this.store.captions.length);
  }

  keepNow() {
    clearTimeout(this.keeping);
    this.keeping = null;
    return works.has(this.id) ? keep.put("works", this.id, this.toJSON()) : undefined;
  }

  /** Removes it from the page and from the browser. */
  forget() {
    works.delete(this.id);
    this.job?.stop();
    this.job = null;
    return keep.drop("works", this.id);
  }

  toJSON() {
    const { id, name, size, segments, seconds, state, message, runs, made, order } = this;
    return { id, name, size, segments, seconds, state, message, runs, made, order, captions: this.store.toJSON() };
  }

  /** What it is about, in words. */
  describe() {
    const { length } = this.store.captions;
    const count = `${length} ${length === 1 ? "caption" : "captions"}`;
    const reached = this.seconds ? ` at ${clock(this.heardSeconds ?? this.store.reached, 0)}` : "";
    switch (this.state) {
      case "waiting":
        return this.message || "Waiting";
      case "sending":
        return this.share === null ? "Sending" : `Sending · ${percent(this.share)}`;
      case "running":
        return this.share === null ? "Waiting for its turn" : `Listening · ${clock(this.heardSeconds ?? 0, 0)} · ${percent(this.share)}`;
      case "finished":
        return length ? `Done · ${count}` : "Done · the file is silent";
      case "stopped":
        return `Stopped${reached} · partial, ${count}`;
      case "interrupted":
        return `Interrupted${reached} · partial, ${count}`;
      case "failed":
        return length ? `Failed · partial, ${count}` : "Failed";
      default:
        return count;
    }
  }

  #tell(state, message = "", share = null) {
    Object.assign(this, { state, message, share });
    this.dispatchEvent(new Event("state"));
  }

  #end(state, message = "") {
    this.job = null;
    if (state === "finished") this.store.close();
    else this.store.dropOpen();
    this.#tell(state, message);
    this.changed();
  }
}

const percent = (share) => `${Math.floor(100 * share)} %`;

export const columnsPerSecond = (seconds) => Math.max(5, Math.min(100, Math.round(COLUMNS / (seconds || 3600))));

/** Brings back what the browser kept. */
export async function restore() {
  for (const kept of await keep.all("works")) {
    if (works.has(kept.id)) continue;
    const work = new Work({ ...kept, store: CaptionStore.restored(kept.captions) });
    if (work.busy) Object.assign(work, { state: "interrupted", message: "" });
    work.store.dropOpen();
  }
}

/** Keeps all that waits to be kept; for the moment in which the page goes away. */
export const keepAll = () => Promise.all(all().filter((work) => work.keeping).map((work) => work.keepNow()));
