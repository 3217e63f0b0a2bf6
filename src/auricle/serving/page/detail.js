// The chosen caption: its words and bounds, and how sure the model is of them.

import * as api from "./api.js";
import { button } from "./elements.js";
import { draw } from "./explanation.js";
import { clock, save, seconds } from "./formats.js";
import { schemeChanged } from "./colours.js";

const $ = (id) => document.getElementById(id);
const MOST_TAGS = 6;
const LONGEST_SECONDS = 30; // of a stretch that gets one caption

const round = (value) => Math.round(value * 1000) / 1000;

export class Detail {
  #on;
  #timeline;
  #caption = null;
  #typing = 0; // the number of the visit of the text in which the person types; 0 before they do
  #visits = 0;
  #asked = new Map(); // explanations by work, caption and bounds

  /** `on` holds functions: `edit(change, key)` and `work()`. */
  constructor(timeline, on) {
    this.#timeline = timeline;
    this.#on = on;
    $("text").addEventListener("focus", () => {
      this.#visits++;
      this.#typing = 0;
    });
    $("text").addEventListener("input", () => {
      this.#typing = this.#visits;
      this.#on.edit({ caption: $("text").value }, `text-${this.#caption.id}-${this.#visits}`);
    });
    for (const [id, other] of [["from", "to"], ["to", "from"]]) {
      $(id).addEventListener("change", () => this.#bound(id, other, seconds($(id).value)));
      $(id).addEventListener("keydown", (event) => {
        const step = { ArrowUp: 0.1, ArrowDown: -0.1 }[event.key];
        if (!step) return;
        event.preventDefault();
        this.#bound(id, other, Math.max(0, seconds($(id).value) + step));
      });
    }
    $("more").addEventListener("toggle", () => this.#explain());
    $("save-picture").addEventListener("click", () =>
      $("explanation").querySelector("canvas").toBlob((picture) => save("words.png", picture, "image/png")),
    );
    schemeChanged(() => this.#explain());
  }

  /** Shows a caption, or none. */
  show(caption) {
    if (caption === this.#caption) return;
    const before = this.#caption;
    const another = caption?.id !== before?.id;
    this.#caption = caption;
    $("detail").hidden = !caption;
    if (!caption) return;
    // The person's words stay while they type; words of the server follow it.
    if (another || document.activeElement !== $("text") || !this.#typing) {
      if ($("text").value !== caption.caption) $("text").value = caption.caption;
    }
    for (const [id, value] of [["from", caption.start], ["to", caption.end]]) {
      if (another || document.activeElement !== $(id)) $(id).value = clock(value, 2);
    }
    if (another) $("bounds-trouble").textContent = "";
    const { confidence, tags } = caption;
    bars("confidence", typeof confidence === "number" ? [["Confidence", confidence]] : []);
    bars("tags", tags.slice(0, MOST_TAGS).map(({ name, probability }) => [name, probability]));
    if (another || caption.start !== before.start || caption.end !== before.end) this.#explain();
  }

  #bound(id, other, value) {
    const { start, end } = this.#caption;
    const bound = { start, end, [id === "from" ? "start" : "end"]: round(value) };
    const wrong = Number.isNaN(value)
      ? "Write a time like 1:02.5."
      : bound.start >= bound.end
        ? "It would end before it begins."
        : bound.end > this.#timeline.seconds + 0.001
          ? `The sound ends at ${clock(this.#timeline.seconds, 2)}.`
          : "";
    $(id).ariaInvalid = wrong ? "true" : "false";
    $("bounds-trouble").textContent = wrong;
    if (wrong || (bound.start === start && bound.end === end)) return;
    this.#on.edit(bound, `bound-${id}-${this.#caption.id}`);
    $(id).value = clock(value, 2);
    $(other).ariaInvalid = "false";
  }

  /** Shows other wordings and an explanation, which the server makes only when they are looked at. */
  async #explain() {
    $("alternatives").hidden = $("explanation").hidden = true;
    $("more-note").textContent = "";
    const [caption, work] = [this.#caption, this.#on.work()];
    if (!caption || caption.open || !$("more").open) return;
    if (!work.file) {
      $("more-note").textContent = "Choose the file again to see them.";
      return;
    }
    const [start, end] = [Math.max(caption.start, caption.end - LONGEST_SECONDS), caption.end];
    const key = `${work.id} ${start} ${end}`;
    $("more-note").textContent = "The server listens again …";
    try {
      if (!this.#asked.has(key)) this.#asked.set(key, await api.explained(work.file, start, end));
    } catch (error) {
      if (caption === this.#caption) $("more-note").textContent = error.message;
      return;
    }
    if (caption.id !== this.#caption?.id) return;
    const found = this.#asked.get(key);
    $("more-note").textContent = found ? "" : "There is nothing to hear.";
    if (!found) return;
    this.#showAlternatives(found);
    $("explanation").hidden = !found.explanation;
    if (found.explanation) draw($("explanation").querySelector("canvas"), found.explanation, this.#timeline.overview);
  }

  #showAlternatives({ caption, alternatives = [] }) {
    const texts = new Set([caption, ...alternatives.map((other) => other.caption)]);
    texts.delete(this.#caption.caption);
    $("alternatives").querySelector("ul").replaceChildren(
      ...[...texts].map((text) => {
        const item = document.createElement("li");
        const take = () => {
          this.#on.edit({ caption: text });
          $("text").focus();
        };
        item.append(button(text, take));
        return item;
      }),
    );
    $("alternatives").hidden = !texts.size;
  }
}

function bars(id, rows) {
  $(id).hidden = !rows.length;
  $(id).querySelector(".bars").replaceChildren(
    ...rows.map(([name, share]) => {
      const row = document.createElement("div");
      const [label, value, bar] = ["span", "span", "i"].map((kind) => document.createElement(kind));
      label.textContent = name;
      value.textContent = `${Math.round(100 * share)} %`;
      bar.style.width = `${100 * share}%`;
      row.append(bar, label, value);
      return row;
    }),
  );
}
