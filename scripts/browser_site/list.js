// The captions on the page.

import { clock, likelyTags } from "./formats.js";

const UNSURE = 0.5; // captions of a lower confidence are shown fainter

/** Adds a heading with a sound's name; returns the element that its captions and problems go to. */
export function addSound(list, name) {
  const section = document.createElement("section");
  const heading = document.createElement("h2");
  heading.textContent = name;
  const state = document.createElement("p");
  state.className = "small";
  state.setAttribute("role", "status");
  const captions = document.createElement("ol");
  section.append(heading, state, captions);
  list.prepend(section);
  return { captions, say: (text) => (state.textContent = text) };
}

/** Adds a caption; times are in seconds. */
export function addCaption(captions, { start, end, text, confidence, tags }, newestFirst = false) {
  const row = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = `${clock(start)} – ${clock(end)}`;
  const told = document.createElement("div");
  const sentence = document.createElement("p");
  sentence.textContent = text;
  const more = document.createElement("span");
  more.className = "small";
  const sure = confidence === null ? [] : [`${Math.round(100 * confidence)} % sure`];
  more.textContent = [...sure, ...likelyTags(tags, 3)].join(" · ");
  told.append(sentence, more);
  row.append(time, told);
  row.className = confidence !== null && confidence < UNSURE ? "option unsure" : "option";
  if (newestFirst) captions.prepend(row);
  else captions.append(row);
}
