// The list of captions: an option each, searched, and moved along with the sound.
//
// Options stand in groups of some minutes. The browser lays out only groups in sight, and a change touches only its
// group, so that hours of captions stay quick. Groups fill in slices, so that none holds up the page.

import { clock } from "./formats.js";

const UNSURE = 0.35; // confidence below which a caption is shown so
const STILL_MS = 4000; // after the person scrolled, in which the list does not move by itself
const GROUP_SECONDS = 300;
const SLICE_MS = 8; // for which groups are filled before the browser has its turn
const ROW_REM = 3.2; // the height of most options

export class List {
  #element;
  #groups = new Map(); // by number: {element, captions, options, stale}
  #query = "";
  #chosen = null;
  #sounding = null;
  #scrolled = 0;
  #filling = 0;

  constructor(element) {
    this.#element = element;
    for (const kind of ["wheel", "touchmove", "pointerdown"]) {
      element.addEventListener(kind, () => (this.#scrolled = performance.now()), { passive: true });
    }
  }

  /** Shows captions; elements of those that did not change stay. */
  show(captions, chosen) {
    this.#chosen = chosen;
    const grouped = Map.groupBy(captions, (caption) => Math.floor(caption.start / GROUP_SECONDS));
    for (const [number, group] of this.#groups) {
      if (grouped.has(number)) continue;
      group.element.remove();
      this.#groups.delete(number);
    }
    for (const [number, members] of grouped) {
      const group = this.#groups.get(number) ?? this.#newGroup(number);
      if (sameMembers(group.captions, members)) continue;
      group.captions = members;
      group.stale = true;
    }
    this.#fill();
  }

  choose(before, chosen) {
    this.#chosen = chosen;
    const old = this.#option(before);
    if (old) old.ariaSelected = "false";
    const element = this.#option(chosen);
    if (element) {
      element.ariaSelected = "true";
      this.#element.setAttribute("aria-activedescendant", element.id);
    } else this.#element.removeAttribute("aria-activedescendant");
  }

  /** Scrolls the list, and never the page, to a caption. */
  reveal(id) {
    const element = this.#option(id);
    if (!element) return;
    this.#scrollTo(element);
    // Groups on the way get their true heights only when they come into sight.
    requestAnimationFrame(() => this.#scrollTo(element));
  }

  /** Marks the caption that sounds now; the list follows where the sound plays. */
  sound(id, follow) {
    if (id === this.#sounding) return;
    this.#option(this.#sounding)?.classList.remove("sounding");
    this.#option(id)?.classList.add("sounding");
    this.#sounding = id;
    if (follow && id !== null && performance.now() - this.#scrolled > STILL_MS) this.reveal(id);
  }

  /** Shows only captions with these words; returns how many there are. */
  find(query) {
    this.#query = query.trim().toLowerCase();
    for (const group of this.#groups.values()) group.stale = true;
    this.#fill();
    return this.found.length;
  }

  /** The captions that are not hidden by a search, in order. */
  get found() {
    const groups = [...this.#groups.entries()].sort(([a], [b]) => a - b);
    return groups.flatMap(([, { captions }]) => captions.filter((caption) => this.#fits(caption)));
  }

  #fits(caption) {
    return caption.caption.toLowerCase().includes(this.#query);
  }

  #newGroup(number) {
    const element = document.createElement("div");
    element.className = "group";
    element.role = "group";
    element.ariaLabel = `From ${clock(number * GROUP_SECONDS, 0)}`;
    const later = [...this.#groups.keys()].filter((other) => other > number);
    const next = later.length ? this.#groups.get(Math.min(...later)).element : null;
    this.#element.insertBefore(element, next);
    const group = { element, captions: [], options: new Map(), stale: true };
    this.#groups.set(number, group);
    return group;
  }

  /** Fills groups that changed; what does not fit into a slice follows in the next one. */
  #fill() {
    clearTimeout(this.#filling);
    const end = performance.now() + SLICE_MS;
    for (const group of this.#groups.values()) {
      if (!group.stale) continue;
      this.#fillGroup(group);
      if (performance.now() > end) {
        this.#filling = setTimeout(() => this.#fill());
        return;
      }
    }
  }

  #fillGroup(group) {
    group.stale = false;
    const { element, options, captions } = group;
    const left = new Set(options.keys());
    let count = 0;
    let next = element.firstElementChild;
    for (const caption of captions) {
      left.delete(caption.id);
      const option = options.get(caption.id) ?? { element: this.#newOption(caption.id) };
      options.set(caption.id, option);
      if (option.caption !== caption) write(option, caption);
      option.element.hidden = !this.#fits(caption);
      option.element.ariaSelected = String(caption.id === this.#chosen);
      count += !option.element.hidden;
      if (option.element === next) next = next.nextElementSibling;
      else element.insertBefore(option.element, next);
    }
    for (const id of left) {
      options.get(id).element.remove();
      options.delete(id);
    }
    element.hidden = !count;
    element.style.containIntrinsicSize = `auto ${ROW_REM * count}rem`;
  }

  #newOption(id) {
    const element = document.createElement("div");
    element.className = "option";
    element.id = `option-${id}`;
    element.dataset.id = id;
    element.role = "option";
    element.classList.toggle("sounding", id === this.#sounding);
    element.append(document.createElement("time"), document.createElement("p"));
    return element;
  }

  /** The element of a caption; its group is filled now if it was not. */
  #option(id) {
    if (id === null) return null;
    for (const group of this.#groups.values()) {
      const isHere = group.stale ? group.captions.some((caption) => caption.id === id) : group.options.has(id);
      if (!isHere) continue;
      if (group.stale) this.#fillGroup(group);
      return group.options.get(id).element;
    }
    return null;
  }

  #scrollTo(element) {
    const [box, frame] = [element.getBoundingClientRect(), this.#element.getBoundingClientRect()];
    if (box.top < frame.top) this.#element.scrollTop -= frame.top - box.top + 8;
    else if (box.bottom > frame.bottom) this.#element.scrollTop += box.bottom - frame.bottom + 8;
  }
}

const sameMembers = (a, b) => a.length === b.length && a.every((caption, at) => caption === b[at]);

/** Writes a caption into its option. */
function write(option, caption) {
  option.caption = caption;
  const { element } = option;
  element.classList.toggle("open", caption.open);
  element.classList.toggle("unsure", caption.confidence !== null && caption.confidence < UNSURE);
  element.firstChild.textContent = `${clock(caption.start)} – ${clock(caption.end)}`;
  element.lastChild.textContent = caption.caption || "(empty)";
}
