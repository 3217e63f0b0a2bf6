// A picture of where in the sound each word of a caption was heard.

import { clock } from "./formats.js";
import { colour, css, prepared, ramp } from "./colours.js";

const ROW = 24;
const WORDS = 92; // pixels for the words
const SOUND = 72;
const TAGS = 56;

/** Draws an explanation; `overview` gives the spectrogram above it. */
export function draw(canvas, explanation, overview) {
  const { words, sound, tags, start, end } = explanation;
  const guided = tags.some((share) => share > 0);
  const above = overview?.bands ? SOUND + 10 : 0;
  const height = above + words.length * ROW + 20;
  canvas.style.height = `${height}px`;
  const [context, width] = prepared(canvas, height);
  const [ink, quiet, accent, line, card] = ["ink", "quiet", "accent", "line", "card"].map(colour);
  const right = width - (guided ? TAGS + 10 : 0);
  context.fillStyle = css(card);
  context.fillRect(0, 0, width, height);
  if (overview?.bands) {
    const { image } = overview.image(start, end, Math.round(right - WORDS), ramp());
    const picture = new OffscreenCanvas(image.width, image.height);
    picture.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(picture, WORDS, 0, right - WORDS, SOUND);
  }
  context.textBaseline = "middle";
  words.forEach((word, i) => {
    const top = above + i * ROW;
    context.font = `15px ${getComputedStyle(document.querySelector("h1")).fontFamily}`;
    context.textAlign = "right";
    context.fillStyle = css(ink);
    context.fillText(word, WORDS - 10, top + ROW / 2, WORDS - 12);
    const peak = Math.max(...sound[i]);
    const step = (right - WORDS) / sound[i].length;
    sound[i].forEach((share, frame) => {
      context.fillStyle = css(accent, 0.06 + 0.94 * (share / peak));
      const from = Math.round(WORDS + frame * step); // whole pixels: seams would show otherwise
      context.fillRect(from, top + 2, Math.max(1, Math.round(WORDS + (frame + 1) * step) - from), ROW - 4);
    });
    if (guided) {
      context.fillStyle = css(line);
      context.fillRect(right + 10, top + 8, TAGS, ROW - 16);
      context.fillStyle = css(accent);
      context.fillRect(right + 10, top + 8, TAGS * tags[i], ROW - 16);
    }
  });
  context.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  context.fillStyle = css(quiet);
  const foot = height - 8;
  context.textAlign = "left";
  context.fillText(clock(start), WORDS, foot);
  context.textAlign = "right";
  context.fillText(clock(end), right, foot);
  if (guided) {
    context.textAlign = "left";
    context.fillText("from tags", right + 10, foot);
  }
  canvas.setAttribute("aria-label", said(explanation));
}

/** The same in words. */
function said({ words, sound, start, end }) {
  const heard = words.map((word, i) => {
    const frame = sound[i].indexOf(Math.max(...sound[i]));
    return `“${word}” at ${clock(start + ((frame + 0.5) / sound[i].length) * (end - start))}`;
  });
  return `Most attention: ${heard.join(", ")}.`;
}
