// Captions files and the microphone on this device. No sound leaves the page.

import { addCaption, addSound } from "./list.js";
import { decode } from "./sound.js";
import { Model } from "./model.js";
import { notify } from "./elements.js";
import { resample } from "./resample.js";
import * as microphone from "./microphone.js";
import { stretches } from "./windows.js";

const LIVE_SECONDS = 5; // of microphone sound for each caption

const $ = (id) => document.getElementById(id);
const trouble = (message) => notify($("trouble"), message);
const model = new Model();
let listening = null; // while the microphone is open: {close}
let before = Promise.resolve(); // files are captioned one after another

model.ready.then(
  ({ licence }) => {
    $("licence").textContent = `Weights: ${licence}`;
    $("state").textContent = "Ready.";
    document.body.dataset.ready = "";
  },
  (error) => {
    $("state").textContent = "";
    trouble(`The model cannot be loaded: ${error.message}`);
  },
);

/** Captions a file, or a part of the page that has a name and can be fetched, after those before it. */
function captionLater(name, content) {
  const sound = addSound($("sounds"), name);
  sound.say("Waiting …");
  before = before.then(() => captionFile(sound, content)).catch((error) => sound.say(`This sound cannot be captioned: ${error.message}`));
}

async function captionFile(sound, content) {
  const { rule } = await model.ready;
  sound.say("Decoding …");
  const samples = await decode(await content(), rule.rate);
  const found = stretches(samples.length, rule);
  for (const [place, { start, end }] of found.entries()) {
    sound.say(found.length > 1 ? `Captioning ${place + 1} of ${found.length} …` : "Captioning …");
    const caption = await model.caption(samples.slice(start, end));
    const until = place === found.length - 1 ? samples.length : end;
    addCaption(sound.captions, { ...caption, start: start / rule.rate, end: until / rule.rate });
  }
  sound.say("Done.");
}

const captionFiles = (files) => {
  for (const file of files) captionLater(file.name, () => file.arrayBuffer());
};

/** Listens until the button is pressed again; each few seconds get a caption. */
async function listen() {
  trouble("");
  if (listening) return stopListening();
  if (!microphone.hasMicrophone()) return trouble("This browser gives no microphone to this page. Open it over https, or from this machine.");
  const { rule } = await model.ready;
  const sound = addSound($("sounds"), "Microphone");
  const own = { pieces: [], size: 0, seconds: 0, waiting: 0, rate: 0, close: () => {} };
  listening = own;
  $("listen").textContent = "Stop";
  $("level").hidden = false;
  try {
    Object.assign(own, await microphone.open({ piece: (samples, decibels) => heard(own, sound, rule, samples, decibels), ended: stopListening }));
    sound.say("Listening …");
  } catch (error) {
    stopListening();
    sound.say(microphone.refusal(error));
  }
  if (listening !== own) own.close();
}

function stopListening() {
  listening?.close();
  listening = null;
  $("listen").textContent = "Use the microphone";
  $("level").hidden = true;
}

/** Collects pieces of 16-bit samples; skips sound while the device is behind. */
async function heard(own, sound, rule, buffer, decibels) {
  if (listening !== own || !own.rate) return;
  $("level").firstElementChild.style.transform = `scaleX(${Math.min(1, Math.max(0, 1 + decibels / 70))})`;
  const piece = new Int16Array(buffer);
  own.pieces.push(piece);
  own.size += piece.length;
  if (own.size < LIVE_SECONDS * own.rate) return;
  const samples = Float32Array.from(own.pieces.flatMap((part) => [...part]), (sample) => sample / 32768);
  const start = own.seconds;
  own.seconds += own.size / own.rate;
  const end = own.seconds;
  own.pieces = [];
  own.size = 0;
  if (own.waiting > 1) return sound.say("This device is too slow to caption everything. Some sound was skipped.");
  own.waiting++;
  try {
    const caption = await model.caption(resample(samples, own.rate, rule.rate));
    addCaption(sound.captions, { ...caption, start, end }, true);
  } catch (error) {
    sound.say(`This sound cannot be captioned: ${error.message}`);
  } finally {
    own.waiting--;
  }
}

$("choose").addEventListener("click", () => $("chooser").click());
$("chooser").addEventListener("change", () => {
  captionFiles($("chooser").files);
  $("chooser").value = "";
});
$("listen").addEventListener("click", listen);
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name === "drop") captionFiles(event.dataTransfer.files);
  });
}
for (const example of document.querySelectorAll("#examples button")) {
  const file = `examples/${example.dataset.file}`;
  example.addEventListener("click", () => captionLater(example.textContent, async () => (await fetch(file)).arrayBuffer()));
}
