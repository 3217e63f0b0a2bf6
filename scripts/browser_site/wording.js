// Words the events of a sound: search, check, and the folder's own sentences where nothing passes.
// docs/portable.md, "Search" and "Check and choice".

import { beamSearch } from "./beam_search.js";
import { Checker } from "./faithful.js";
import { sum } from "./arrays.js";

export class Speaker {
  #model;
  #classes;
  #vocabulary;
  #arrays;
  #networks;
  #numbers;
  #checker;

  /** `arrays` holds the typed arrays of model.json by name; `networks` runs the graphs (networks.js). */
  constructor(model, classes, vocabulary, arrays, networks) {
    this.#model = model;
    this.#classes = classes;
    this.#vocabulary = vocabulary;
    this.#arrays = arrays;
    this.#networks = networks;
    this.#numbers = new Map(vocabulary.map((word, number) => [word, number]));
    this.#checker = new Checker(model, classes);
  }

  /** Returns captions of the events, the best first: each {text, score, similarity}. */
  async word(chosen, embedding) {
    const memory = await this.#networks.rememberPlan(this.#planned(chosen), this.#whole(chosen));
    const used = this.#usedWords(chosen);
    const own = new Set(chosen.events.flatMap(({ index }) => this.#classes[index].own_words));
    const told = this.#checker.toldWords(chosen);
    const forbidden = new Set(this.#model.wording.time_words.filter((word) => !told.has(word) && !own.has(word)));
    const allowed = this.#vocabulary.map((word, number) => (used[number] || told.has(word)) && !forbidden.has(word));
    const known = new Set([...own, ...this.#vocabulary.filter((_, number) => used[number])]);

    const found = await beamSearch(this.#model.search, this.#networks.steps(memory), (tokens) => this.#followers(tokens), allowed);
    const { least_score: least } = this.#model.wording;
    let weight = this.#model.wording.similarity_weight;
    let captions = found
      .map(({ tokens, score }) => ({ words: tokens.map((token) => this.#vocabulary[token]), score }))
      .filter(({ words, score }) => score >= least && this.#checker.isFaithful(words, chosen, forbidden, known))
      .map(({ words, score }) => ({ text: words.join(" "), score }));
    if (!captions.length) {
      captions = this.#ownCaptions(chosen).map((text) => ({ text, score: 0 }));
      weight = 1;
    }
    const embedded = await this.#networks.embedSentences(captions.map(({ text }) => this.#known(text)));
    return captions
      .map((caption, place) => ({ ...caption, similarity: sum(embedding.map((value, axis) => value * embedded[place][axis])) }))
      .sort((a, b) => b.score + weight * b.similarity - (a.score + weight * a.similarity));
  }

  /** A caption as people write it. */
  written(text) {
    const phrases = this.#model.wording.comma_before.map((phrase) => phrase.split(" "));
    const words = text.split(" ");
    const loose = (place) => place > 0 && phrases.some((phrase) => phrase.every((word, offset) => words[place + offset] === word));
    const sentence = words.map((word, place) => (loose(place + 1) ? `${word},` : word)).join(" ");
    return `${sentence[0].toUpperCase()}${sentence.slice(1)}.`;
  }

  /** Class, repetition and trend of each event, as numbers. */
  #planned({ events }) {
    const { repetitions, trends } = this.#model.plan;
    return events.map(({ index, repetition, trend }) => [index, repetitions[repetition], trends[trend]]);
  }

  /** Relation and manner, as numbers. */
  #whole({ events, relation }) {
    const { relations, manners } = this.#model.plan;
    const one = this.#classes[events[0].index].by_people ? manners.one_event_by_people : manners.one_event_by_us;
    return [relations[relation], events.length > 1 ? manners.two_events : one];
  }

  /** Which words captions of the planned classes use. */
  #usedWords({ events }) {
    const bits = this.#arrays.class_words;
    const bytes = this.#model.arrays.class_words.shape[1];
    const has = (index, number) => bits[index * bytes + (number >> 3)] & (128 >> (number & 7));
    return this.#vocabulary.map((_, number) => events.some(({ index }) => has(index, number)));
  }

  /** The tokens that may follow the last two, or the start. */
  #followers(tokens) {
    const { starts, followers, pair_starts: pairStarts, pair_followers: pairFollowers } = this.#arrays;
    const [first, second] = [this.#model.search.start, ...tokens].slice(-2);
    const after = followers.subarray(starts[first], starts[first + 1]);
    if (second === undefined) return [...after];
    const pair = starts[first] + after.indexOf(second);
    return [...pairFollowers.subarray(pairStarts[pair], pairStarts[pair + 1])];
  }

  /** The numbers of the known words of a text. */
  #known(text) {
    return text.split(" ").flatMap((word) => this.#numbers.get(word) ?? []);
  }

  /** The folder's own captions of the events. */
  #ownCaptions({ events, relation }) {
    const { template_repetitions: repetitions, template_trends: trends } = this.#model.wording;
    const plain = ({ repetition, trend }) => repetition === "none" && trend === "none";
    if (events.length === 1 && plain(events[0])) return this.#classes[events[0].index].sentences;
    const clauses = this.#planned({ events }).map(([index, repetition, trend]) =>
      [this.#classes[index].clause, repetitions[repetition], trends[trend]].filter(Boolean).join(" "),
    );
    return [clauses.join(relation === "then" ? " and then " : " while ")];
  }
}
