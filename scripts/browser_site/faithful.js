// Checks that a caption tells its plan, and nothing beyond it. docs/portable.md, "Check and choice".

export class Checker {
  #rule;
  #classes;
  #phrases = new Map(); // phrase -> the classes that it mentions
  #longest = 1; // words of a phrase

  constructor(model, classes) {
    this.#rule = model;
    this.#classes = classes;
    classes.forEach(({ phrases }, index) => {
      for (const phrase of phrases) {
        if (!this.#phrases.has(phrase)) this.#phrases.set(phrase, new Set());
        this.#phrases.get(phrase).add(index);
        this.#longest = Math.max(this.#longest, phrase.split(" ").length);
      }
    });
  }

  /** The phrases that tell a repetition or a trend. */
  telling(kind, name) {
    const number = this.#rule.plan[`${kind}s`][name];
    const table = this.#rule.wording[`${kind}_phrases`];
    return Object.keys(table).filter((phrase) => table[phrase] === number);
  }

  /** The words of relation, count and trend that a caption of these events may hold. */
  toldWords({ events, relation }) {
    const phrases = events.flatMap(({ repetition, trend }) => [...this.telling("repetition", repetition), ...this.telling("trend", trend)]);
    return new Set([...(this.#rule.wording.relation_words[relation] ?? []), ...phrases.flatMap((phrase) => phrase.split(" "))]);
  }

  /** Whether a caption tells all events; `known` are the words that belong to their classes. */
  isFaithful(words, chosen, forbidden, known) {
    const starts = chosen.events.map(({ index }) => this.#firstMention(words, index));
    if (starts.includes(-1)) return false;
    if (chosen.relation === "then" && starts.some((start, place) => place && start < starts[place - 1])) return false;
    const text = ` ${words.join(" ")} `;
    const told = (phrases) => phrases.some((phrase) => text.includes(` ${phrase} `));
    if (chosen.relation === "then" && !told(this.#rule.wording.order_phrases)) return false;
    for (const { repetition, trend } of chosen.events) {
      if (repetition !== "none" && !told(this.telling("repetition", repetition))) return false;
      if (trend !== "none" && !told(this.telling("trend", trend))) return false;
    }
    if (words.some((word) => forbidden.has(word)) || this.#tellsTwice(words, chosen)) return false;
    return !this.#invents(words, chosen, known);
  }

  /** Whether two clauses tell a single event. */
  #tellsTwice(words, { events }) {
    if (events.length !== 1) return false;
    const mentions = (part) => this.#firstMention(part, events[0].index) >= 0;
    const joins = (word) => this.#rule.wording.joining_words.includes(word);
    return words.some((word, place) => joins(word) && mentions(words.slice(0, place)) && mentions(words.slice(place + 1)));
  }

  #firstMention(words, index) {
    const phrases = new Set(this.#classes[index].phrases);
    return words.findIndex((_, start) => {
      const most = Math.min(words.length, start + this.#longest);
      for (let end = start + 1; end <= most; end++) if (phrases.has(words.slice(start, end).join(" "))) return true;
      return false;
    });
  }

  /** Whether a caption mentions a class or people that its events do not. */
  #invents(words, { events }, known) {
    const people = new Set(this.#rule.wording.people);
    const fine = new Set(events.flatMap(({ index }) => [index, ...this.#classes[index].ancestors]));
    const stems = new Set([...known].map((word) => this.#stem(word)));
    for (let start = 0, end; start < words.length; start = end) {
      end = Math.min(words.length, start + this.#longest);
      while (end > start && !this.#phrases.has(words.slice(start, end).join(" "))) end--;
      if (end === start) {
        end = start + 1;
        continue;
      }
      const phrase = words.slice(start, end);
      const planned = [...this.#phrases.get(phrase.join(" "))].some((index) => fine.has(index));
      const ours = phrase.every((word) => stems.has(this.#stem(word)));
      if (!planned && !ours && !phrase.every((word) => people.has(word))) return true;
    }
    return ![...known].some((word) => people.has(word)) && words.some((word) => people.has(word));
  }

  /** A word roughly without its ending. */
  #stem(word) {
    const { stem_endings: endings, shortest_stem: shortest } = this.#rule.wording;
    const ending = endings.find((one) => word.endsWith(one) && word.length - one.length >= shortest);
    const stem = ending ? word.slice(0, -ending.length) : word;
    return stem.length > shortest && stem.at(-1) === stem.at(-2) ? stem.slice(0, -1) : stem;
  }
}
