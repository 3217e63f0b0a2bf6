// The captions of one file. Two writers share them: the server appends, and the person edits.
//
//   heard: rows of the server, by id      edits: the fields that the person changed, by id
//                       \                  /
//                shown = heard with edits over it
//
// An edit covers the fields that it sets, so the person's edit wins, whatever comes from the server.
// Undo and redo change only `edits`; they never touch a row of the server.

const MOST_STEPS = 500; // that can be undone

/** Captions: `heard` is an array of the server's rows, and `edits` one of [id, fields]. */
export class CaptionStore {
  #heard = new Map();
  #edits = new Map();
  #past = []; // steps: arrays of [id, edits before, edits after]
  #future = [];
  #joined = ""; // the key of the latest step, if more of the same may join it
  #made = new Map(); // captions as they are shown, by id, until they change
  #shown = []; // as `captions` returned them last
  #stale = new Set(); // ids of captions that changed since then
  #texts = new WeakMap(); // rows as JSON, to keep them
  #own = 0; // captions that the person added

  constructor({ heard = [], edits = [] } = {}) {
    this.#heard = new Map(heard.map((row) => [row.id, row]));
    this.#edits = new Map(edits);
    this.#stale = new Set([...this.#heard.keys(), ...this.#edits.keys()]);
    for (const [id] of edits) if (id.startsWith("own-")) this.#own = Math.max(this.#own, Number(id.slice(4)));
  }

  /** The captions that `toJSON` returned. */
  static restored({ heard, edits }) {
    return new CaptionStore({ heard: heard.map((text) => JSON.parse(text)), edits });
  }

  /** A row of the server: a new caption, or the latest state of one. */
  receive(row) {
    this.#heard.set(row.id, row);
    this.#changed(row.id);
  }

  /** Ends what the server left open, when no more rows come. */
  close() {
    for (const row of this.#heard.values()) if (row.state !== "end") this.receive({ ...row, state: "end" });
  }

  /** Removes the open rows that the person left alone, and ends the others: a continued run hears them again. */
  dropOpen() {
    for (const [id, row] of this.#heard) {
      if (row.state === "end" || this.#edits.has(id)) continue;
      this.#heard.delete(id);
      this.#changed(id);
    }
    this.close();
  }

  /**
   * One step of the person: changes fields of some captions.
   *
   * `changes`: {id: fields}. `removed: true` hides a caption. Steps in a row with the same `key` are one step.
   */
  edit(changes, key = "") {
    const step = Object.entries(changes).map(([id, fields]) => {
      const before = this.#edits.get(id);
      return [id, before, { ...before, ...fields }];
    });
    const last = this.#past.at(-1);
    if (key && key === this.#joined && last && sameCaptions(last, step)) {
      for (const [at, entry] of step.entries()) last[at] = [entry[0], last[at][1], entry[2]];
    } else {
      this.#past.push(step);
      if (this.#past.length > MOST_STEPS) this.#past.shift();
    }
    this.#joined = key;
    this.#future = [];
    for (const [id, , after] of step) this.#set(id, after);
  }

  /** Adds a caption of the person's own; returns its id. */
  add(fields) {
    const id = this.#nextId();
    this.edit({ [id]: fields });
    return id;
  }

  /** An id for a caption of the person's own. */
  #nextId() {
    return `own-${++this.#own}`;
  }

  remove(id) {
    this.edit({ [id]: { removed: true } });
  }

  /** Divides a caption at a time; the later part is a caption of the person's own. */
  split(id, at) {
    const { start, end, caption, tags, confidence } = this.get(id);
    const later = this.#nextId();
    this.edit({
      [id]: { start, end: at, caption },
      [later]: { start: at, end, caption, tags, confidence },
    });
  }

  /** Puts a caption and the one after it into one; false where none follows. */
  merge(id) {
    const shown = this.captions;
    const first = this.get(id);
    const next = shown[shown.indexOf(first) + 1];
    if (!next) return false;
    const texts = first.caption === next.caption ? [first.caption] : [first.caption, next.caption];
    this.edit({
      [id]: { start: first.start, end: Math.max(first.end, next.end), caption: texts.filter(Boolean).join(" ") },
      [next.id]: { removed: true },
    });
    return true;
  }

  /** Takes back the person's latest step; returns the ids that it changes. */
  undo() {
    return this.#move(this.#past, this.#future, ([, before]) => before);
  }

  /** Repeats the step that was taken back last; returns the ids that it changes. */
  redo() {
    return this.#move(this.#future, this.#past, ([, , after]) => after);
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** Whether the person changed anything that still holds. */
  get edited() {
    return this.#edits.size > 0;
  }

  get(id) {
    if (!this.#made.has(id)) this.#made.set(id, this.#caption(id));
    return this.#made.get(id);
  }

  /** The captions as they are shown, by their start. An object is another one only if its caption changed. */
  get captions() {
    if (!this.#stale.size) return this.#shown;
    const shown = this.#shown.filter(({ id }) => !this.#stale.has(id));
    for (const id of this.#stale) {
      const caption = this.get(id);
      if (caption) shown.splice(placeOf(caption, shown), 0, caption);
    }
    this.#stale.clear();
    return (this.#shown = shown);
  }

  /** Where the final rows of the server end, in seconds. */
  get reached() {
    let reached = 0;
    for (const row of this.#heard.values()) if (row.state === "end") reached = Math.max(reached, row.end);
    return reached;
  }

  /** All of it but the steps, to keep and to restore. Rows are texts: the browser copies those faster than objects. */
  toJSON() {
    const heard = [];
    for (const row of this.#heard.values()) {
      if (!this.#texts.has(row)) this.#texts.set(row, JSON.stringify(row));
      heard.push(this.#texts.get(row));
    }
    return { heard, edits: [...this.#edits] };
  }

  #caption(id) {
    const [row, edits] = [this.#heard.get(id), this.#edits.get(id)];
    if (edits?.removed || (!row && !("start" in (edits ?? {})))) return null;
    const caption = { confidence: null, tags: [], ...row, ...edits, id };
    caption.open = row !== undefined && row.state !== "end";
    // A bound that the person set stays, also if the other one comes from the server.
    if (caption.end < caption.start) caption.end = caption.start;
    return caption;
  }

  #set(id, edits) {
    if (edits) this.#edits.set(id, edits);
    else this.#edits.delete(id);
    this.#changed(id);
  }

  #changed(id) {
    this.#made.delete(id);
    this.#stale.add(id);
  }

  #move(from, to, chosen) {
    const step = from.pop();
    if (!step) return [];
    to.push(step);
    this.#joined = "";
    for (const entry of step) this.#set(entry[0], chosen(entry));
    return step.map(([id]) => id);
  }
}

const sameCaptions = (a, b) => a.length === b.length && a.every(([id], at) => id === b[at][0]);
const order = (a, b) => a.start - b.start || a.end - b.end || a.id.localeCompare(b.id, "en", { numeric: true });

/** Where a caption belongs among sorted ones. */
function placeOf(caption, sorted) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (order(sorted[middle], caption) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
