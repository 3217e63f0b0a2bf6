// The list of captions: an option each, searched, and moved along with the sound.

import { clock } from "./formats.js";

const UNSURE = 0.35; // confidence below which a caption is shown so
const STILL_MS = 4000; // after the person scrolled, in which the list does not move by itself

export class List {
  #element;
  #options = new Map(); // elements and the captions that they show, by id
  #query = "";
  #scrolled = 0;
  #sounding = null;

  constructor(element) {
    this.#element = element;
    for (const kind of ["wheel", "touchmove", "pointerdown"]) {
      element.addEventListener(kind, () => (this.#scrolled = performance.now()), { passive: true });
    }
  }

  /** Shows captions; elements of those that did not change stay. */
  show(captions, chosen) {
    const left = new Set(this.#options.keys());
    let before = null;
    for (const caption of captions) {
      left.delete(caption.id);
      let option = this.#options.get(caption.id);
      if (!option) {
        option = { element: this.#made(caption.id) };
        this.#options.set(caption.id, option);
      }
      if (option.caption !== caption) this.#fill(option, caption);
      const { element } = option;
      element.ariaSelected = String(caption.id === chosen);
      const next = before ? before.nextElementSibling : this.#element.firstElementChild;
      if (next !== element) this.#element.insertBefore(element, next);
      before = element;
    }
    for (const id of left) {
      this.#options.get(id).element.remove();
      this.#options.delete(id);
    }
  }

  choose(before, chosen) {
    const old = this.#options.get(before)?.element;
    if (old) old.ariaSelected = "false";
    const element = this.#options.get(chosen)?.element;
    if (element) {
      element.ariaSelected = "true";
      this.#element.setAttribute("aria-activedescendant", element.id);
    } else this.#element.removeAttribute("aria-activedescendant");
  }

  /** Scrolls the list, and never the page, to a caption. */
  reveal(id) {
    const element = this.#options.get(id)?.element;
    if (!element) return;
    const [box, frame] = [element.getBoundingClientRect(), this.#element.getBoundingClientRect()];
    if (box.top < frame.top) this.#element.scrollTop -= frame.top - box.top + 8;
    else if (box.bottom > frame.bottom) this.#element.scrollTop += box.bottom - frame.bottom + 8;
  }

  /** Marks the caption that sounds now; the list follows where the sound plays. */
  sound(id, follow) {
    if (id === this.#sounding) return;
    this.#options.get(this.#sounding)?.element.classList.remove("sounding");
    this.#options.get(id)?.element.classList.add("sounding");
    this.#sounding = id;
    if (follow && id !== null && performance.now() - this.#scrolled > STILL_MS) this.reveal(id);
  }

  /** Shows only captions with these words; returns how many there are. */
  find(query) {
    this.#query = query.trim().toLowerCase();
    let count = 0;
    for (const { element, caption } of this.#options.values()) {
      element.hidden = !this.#fits(caption);
      count += !element.hidden;
    }
    return count;
  }

  #fits(caption) {
    return caption.caption.toLowerCase().includes(this.#query);
  }

  #made(id) {
    const element = document.createElement("div");
    element.className = "option";
    element.id = `option-${id}`;
    element.dataset.id = id;
    element.role = "option";
    element.append(document.createElement("time"), document.createElement("p"));
    return element;
  }

  #fill(option, caption) {
    option.caption = caption;
    const { element } = option;
    element.classList.toggle("open", caption.open);
    element.classList.toggle("unsure", caption.confidence !== null && caption.confidence < UNSURE);
    element.hidden = !this.#fits(caption);
    element.firstChild.textContent = `${clock(caption.start)} – ${clock(caption.end)}`;
    element.lastChild.textContent = caption.caption || "(empty)";
  }
}
