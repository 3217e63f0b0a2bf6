// What every view must show: whether the page listens, and alarms. The document's title says it too.

const $ = (id) => document.getElementById(id);
const ALARM_SECONDS = 30; // for which an alarm stands, unless it is confirmed

const WORDS = {
  off: "",
  connecting: "Connecting …",
  listening: "Listening",
  reconnecting: "Connection lost. The page connects again",
  lost: "Connection lost. No sound is heard",
  gone: "No sound comes from the microphone",
};
const MARKS = { connecting: "○", listening: "●", reconnecting: "✕", lost: "✕", gone: "✕" };
const BROKEN = ["reconnecting", "lost", "gone"];

let title = "auricle";
let live = "off";
let since = Date.now();
let alarmed = "";
let silence = 0;

/** The state of live sound: off, connecting, listening, reconnecting, lost, or gone for a microphone without sound. */
export const liveState = () => live;
export const listens = () => live === "listening";
export const broken = () => BROKEN.includes(live);

export function begin({ stop }) {
  $("alarm-seen").addEventListener("click", calm);
  $("live-banner-stop").addEventListener("click", stop);
}

/** Names the view. */
export function name(text) {
  title = text;
  draw();
}

export function setLive(next) {
  if (next === live) return;
  live = next;
  since = Date.now();
  draw();
}

/** Shows an alarm in every view. */
export function alarm(text) {
  alarmed = text;
  clearTimeout(silence);
  silence = setTimeout(calm, 1000 * ALARM_SECONDS);
  draw();
}

function calm() {
  alarmed = "";
  clearTimeout(silence);
  draw();
}

/** Draws all of it; after the view or the large text changed, too. */
export function draw() {
  const large = !$("big").hidden;
  const onLive = location.hash === "#live";
  const words = broken() ? `${WORDS[live]} (since ${new Date(since).toLocaleTimeString()}).` : WORDS[live];
  document.body.dataset.live = live;
  show("alarm", alarmed && !large, alarmed, "alarm-text");
  show("big-alarm", alarmed && large, alarmed);
  show("live-banner", !large && (live === "off" ? false : !onLive), live === "listening" ? "The microphone is open. The page listens." : words, "live-banner-text");
  show("big-state", large && live !== "off" && live !== "listening", words);
  show("live-state", true, words || "Not listening");
  const parts = [alarmed ? `⚠ ${alarmed}` : "", MARKS[live] ? `${MARKS[live]} ${live === "listening" ? "" : WORDS[live]}`.trim() : "", title];
  const text = parts.filter(Boolean).join(" · ").replace("● · ", "● ");
  if (document.title !== text) document.title = text;
}

function show(id, visible, text, inside = id) {
  $(id).hidden = !visible;
  if (visible && $(inside).textContent !== text) $(inside).textContent = text;
}
