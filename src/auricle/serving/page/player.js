// The player of a file: sound or film, with its captions over the picture.

import * as api from "./api.js";
import { clock } from "./formats.js";

const $ = (id) => document.getElementById(id);
const player = $("player");

const APART_SECONDS = 0.001;

let on = {}; // functions: `moved(seconds, follow)`, `hint(text)`
let work = null;
let unplayable = false; // by the browser, as far as that is known
let track = null; // of captions over the picture
const cues = new Map(); // shown captions and their cues, by id

export function begin(receivers) {
  on = receivers;
  track = player.addTextTrack("captions", "Sounds", "en");
  track.mode = "showing";
  $("play").addEventListener("click", toggle);
  player.addEventListener("click", toggle);
  for (const kind of ["play", "pause", "ended"]) {
    player.addEventListener(kind, () => {
      $("play").classList.toggle("playing", !player.paused);
      $("play").ariaLabel = player.paused ? "Play" : "Pause";
      if (kind === "play") tick();
    });
  }
  $("seek").addEventListener("input", () => seek(Number($("seek").value)));
  $("speed").addEventListener("change", () => (player.playbackRate = Number($("speed").value)));
}

export function toggle() {
  if (player.paused) play();
  else player.pause();
}

export function play() {
  player.play().catch(() => on.hint(work?.file ? "There is nothing to play yet." : "Choose the file again to hear it."));
}

export const pause = () => player.pause();

export function seek(at) {
  player.currentTime = at;
  moved(at);
}

function tick() {
  moved(player.currentTime, true);
  if (!player.paused) requestAnimationFrame(tick);
}

function moved(at, follow = false) {
  if ($("now").textContent !== clock(at)) {
    $("now").textContent = clock(at);
    if (document.activeElement !== $("seek") || player.paused) $("seek").value = at;
    $("seek").setAttribute("aria-valuetext", `${clock(at)} of ${$("total").textContent}`);
  }
  on.moved(at, follow);
}

/** Plays the sound of a work; returns its length in seconds where the player can tell. */
export function load(next) {
  work = next;
  player.pause();
  URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  player.load();
  player.hidden = true;
  $("work-view").classList.remove("film");
  clearCues();
  if (!work.file) return Promise.resolve(0);
  return new Promise((resolve) => {
    player.onloadedmetadata = () => {
      const film = player.videoWidth > 0;
      player.hidden = !film;
      $("work-view").classList.toggle("film", film);
      player.playbackRate = Number($("speed").value);
      resolve(Number.isFinite(player.duration) ? player.duration : 0);
    };
    player.onerror = () => {
      unplayable = true;
      resolve(0);
    };
    unplayable = false;
    player.src = URL.createObjectURL(next.file);
  });
}

/** Plays what the server decodes, where the browser cannot. */
export async function fallBack() {
  if (!unplayable) return;
  unplayable = false;
  const unplayed = work;
  on.hint("This browser cannot play the file. The page fetches its sound from the server.");
  try {
    const sound = await api.decoded(unplayed.file);
    if (work !== unplayed) return;
    player.src = URL.createObjectURL(sound);
    on.hint("This browser cannot play the file, so you hear the sound that the server decoded.");
  } catch {
    if (work === unplayed) on.hint("This browser cannot play the file.");
  }
}

function clearCues() {
  for (const { cue } of cues.values()) track.removeCue(cue);
  cues.clear();
}

/** Shows captions over the picture; those that did not change stay. */
export function subtitle(captions) {
  if (player.hidden) return;
  const left = new Set(cues.keys());
  for (const caption of captions) {
    left.delete(caption.id);
    const shown = cues.get(caption.id) ?? { cue: null };
    if (shown.caption === caption) continue;
    shown.caption = caption;
    const text = caption.caption.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    // At the time at which two captions touch, a browser shows both of them.
    const end = Math.max(caption.start, caption.end - APART_SECONDS);
    if (shown.cue) {
      // A cue that is removed while it is on the picture can stay there, so it is changed instead.
      Object.assign(shown.cue, { startTime: caption.start, endTime: end, text });
    } else {
      shown.cue = new VTTCue(caption.start, end, text);
      track.addCue(shown.cue);
      cues.set(caption.id, shown);
    }
  }
  for (const id of left) {
    track.removeCue(cues.get(id).cue);
    cues.delete(id);
  }
}
