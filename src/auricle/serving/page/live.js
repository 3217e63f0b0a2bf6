// Live sound: what is heard now, large if wanted, and alerts.

import * as api from "./api.js";
import { save, table, TYPES } from "./formats.js";

const $ = (id) => document.getElementById(id);
const QUIET = -70; // dBFS at the meter's left end
const ALARM_SECONDS = 12; // for which an alert stands
const KEPT = 5000; // rows of history; more than a day's
const WAITS = [1, 2, 5, 10, 30]; // seconds before a lost connection is tried again

let state = null; // while it listens: { stop, socket }
let rows = []; // what was heard, by its time
let wishes = [];
let awake = null;

export function begin(info) {
  $("sources").hidden = !info.microphone;
  if (info.microphone && !hasMicrophone()) {
    $("source").value = "server";
    $("source").options[0].disabled = true;
  }
  if (!info.microphone && !hasMicrophone()) {
    $("listen").disabled = true;
    trouble(missing());
  }
  $("listen").addEventListener("click", () => (state ? stop() : start()));
  $("source").addEventListener("change", () => state && restart());
  $("wish").addEventListener("submit", (event) => {
    event.preventDefault();
    const sentence = $("wanted").value.trim();
    $("wanted").value = "";
    if (sentence && !wishes.includes(sentence)) setWishes([...wishes, sentence]);
  });
  $("vibrate").disabled = !navigator.vibrate;
  $("notify").addEventListener("change", askToNotify);
  $("clear").addEventListener("click", () => {
    rows = [];
    history();
  });
  $("save-history").addEventListener("click", download);
  $("large").addEventListener("click", large);
  $("big-close").addEventListener("click", small);
  addEventListener("keydown", (event) => event.key === "Escape" && !$("big").hidden && small());
  document.addEventListener("fullscreenchange", () => !document.fullscreenElement && !$("big").hidden && small());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && stayAwake());
}

const hasMicrophone = () => Boolean(navigator.mediaDevices?.getUserMedia);

function missing() {
  return window.isSecureContext
    ? "This browser has no microphone to offer."
    : "Browsers give the microphone only to pages that came over https, or from this machine itself, and this one did not. " +
        "Start the server with TLS (auricle serve --tls), or with --listen to hear its own microphone.";
}

function trouble(message) {
  $("live-trouble").textContent = message;
  $("live-trouble").hidden = !message;
}

async function start() {
  trouble("");
  const own = { stopped: false, socket: null, close: () => {} };
  state = own;
  listening(true);
  say("Listening …", true);
  try {
    if ($("source").value === "own") own.close = await openMicrophone(own);
  } catch (error) {
    if (state === own) stop();
    trouble(
      error.name === "NotAllowedError"
        ? "The microphone was not allowed: allow it beside the address of this page, and press Listen again."
        : error.name === "NotFoundError"
          ? "No microphone was found."
          : hasMicrophone()
            ? `The microphone cannot be opened: ${error.message}`
            : missing(),
    );
    return;
  }
  if (state === own) connect(own, 0);
  else own.close();
}

async function openMicrophone(own) {
  const stream = await navigator.mediaDevices.getUserMedia({
    // What makes speech clear for others makes other sounds go away.
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("capture.js");
  const source = context.createMediaStreamSource(stream);
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  own.rate = context.sampleRate;
  capture.port.onmessage = ({ data }) => {
    level(data.level);
    if (own.ready && own.socket.readyState === WebSocket.OPEN) own.socket.send(data.samples);
  };
  source.connect(capture);
  stream.getAudioTracks()[0].addEventListener("ended", () => {
    if (state === own) {
      stop();
      trouble("The microphone was taken away.");
    }
  });
  return () => {
    for (const track of stream.getTracks()) track.stop();
    context.close();
  };
}

function connect(own, tries) {
  const alerts = wishes.map((sentence) => ({ sentence }));
  const begin = own.rate ? { rate: own.rate, alerts } : { microphone: true, alerts };
  own.ready = false;
  own.socket = api.listen(
    begin,
    (row) => {
      tries = 0;
      receive(row, own);
    },
    (failure) => {
      if (state !== own || own.renewed) {
        own.renewed = false;
        return;
      }
      if (failure) {
        stop();
        trouble(failure);
        return;
      }
      const wait = WAITS[Math.min(tries, WAITS.length - 1)];
      trouble(`The connection was lost: trying again in ${wait} s.`);
      setTimeout(() => state === own && connect(own, tries + 1), 1000 * wait);
    },
  );
}

function stop() {
  const own = state;
  state = null;
  own?.socket?.close();
  own?.close();
  listening(false);
  level(QUIET);
  $("sentence").classList.add("past");
  letSleep();
}

/** With other alerts, or from another microphone. */
function restart() {
  stop();
  start();
}

function listening(on) {
  $("listen").textContent = on ? "Stop" : "Listen";
  $("listen").classList.toggle("primary", !on);
  if (on) stayAwake();
}

function receive(row, own) {
  switch (row.state) {
    case "ready":
      own.ready = true;
      trouble("");
      return;
    case "level":
      level(row.level);
      return;
    case "alert":
      alarm(row);
      add({ kind: "alert", time: new Date(row.time), caption: row.alert });
      return;
  }
  say(row.caption, row.state === "end");
  $("live-tags").textContent = row.tags.filter((tag) => tag.probability > 0.15).slice(0, 4).map((tag) => tag.name).join(" · ");
  if (row.state === "end") add({ kind: "sound", time: new Date(row.time), seconds: row.end - row.start, caption: row.caption, confidence: row.confidence });
}

/** The sentence of the moment; `past` once it is over. */
function say(sentence, past) {
  if ($("sentence").textContent !== sentence) $("sentence").textContent = sentence;
  $("sentence").classList.toggle("past", past);
  $("big-sentence").textContent = sentence;
}

function level(decibels) {
  const share = Math.max(0, Math.min(1, 1 - decibels / QUIET));
  for (const id of ["level", "big-level"]) $(id).firstElementChild.style.transform = `scaleX(${share})`;
  $("level").ariaValueNow = String(Math.round(Math.max(QUIET, Math.min(0, decibels))));
}

function add(row) {
  rows.push(row);
  if (rows.length > KEPT) rows.shift();
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = row.time.toISOString();
  time.textContent = row.time.toLocaleTimeString();
  const text = document.createElement("p");
  text.textContent = row.kind === "alert" ? `● ${row.caption}` : row.caption;
  item.className = row.kind;
  item.append(time, text);
  $("history").prepend(item);
  if ($("history").children.length > KEPT) $("history").lastElementChild.remove();
  known();
}

function history() {
  $("history").replaceChildren();
  $("big-before").textContent = "";
  known();
}

function known() {
  $("clear").disabled = $("save-history").disabled = !rows.length;
  $("no-history").hidden = rows.length > 0;
  $("big-before").textContent = rows.slice(-3).map((row) => row.caption).reverse().join("  ·  ");
}

function download() {
  const format = $("history-format").value;
  const shown = rows.map((row) => ({ ...row, time: row.time.toISOString(), seconds: row.seconds && Math.round(row.seconds * 10) / 10 }));
  const text = {
    txt: () => rows.map((row) => `${row.time.toLocaleString()}  ${row.kind === "alert" ? "ALERT: " : ""}${row.caption}\n`).join(""),
    csv: () => table([["time", "kind", "seconds", "caption", "confidence"], ...shown.map((r) => [r.time, r.kind, r.seconds ?? "", r.caption, r.confidence ?? ""])]),
    json: () => `${JSON.stringify(shown, null, 2)}\n`,
  };
  save(`heard-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}.${format}`, text[format](), TYPES[format]);
}

// Alerts

function setWishes(next) {
  wishes = next;
  $("wishlist").replaceChildren(
    ...wishes.map((sentence) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${sentence} ×`;
      button.ariaLabel = `Do not wait for “${sentence}” any more`;
      button.addEventListener("click", () => {
        setWishes(wishes.filter((other) => other !== sentence));
        $("wanted").focus();
      });
      item.append(button);
      return item;
    }),
  );
  if (state?.socket) {
    // Another socket with the new sentences: the microphone stays open.
    state.renewed = state.socket.readyState <= WebSocket.OPEN;
    state.socket.close();
    connect(state, 0);
  }
}

let silenced = 0;

function alarm(row) {
  for (const id of ["alarm", "big-alarm"]) {
    $(id).textContent = row.alert;
    $(id).hidden = false;
  }
  clearTimeout(silenced);
  silenced = setTimeout(() => {
    $("alarm").hidden = $("big-alarm").hidden = true;
  }, 1000 * ALARM_SECONDS);
  if ($("vibrate").checked) navigator.vibrate?.([400, 150, 400, 150, 400]);
  if ($("notify").checked) {
    try {
      new Notification(row.alert, { body: row.caption ?? "Heard just now.", tag: row.alert, renotify: true });
    } catch {
      hintAlerts("This browser shows notifications only for installed pages."); // as on Android
      $("notify").checked = false;
    }
  }
}

function hintAlerts(text) {
  $("alert-hint").textContent = text;
}

async function askToNotify() {
  if (!$("notify").checked) return;
  if (!("Notification" in window) || !window.isSecureContext) {
    hintAlerts("Browsers give notifications only to pages that came over https, or from this machine itself.");
  } else if ((await Notification.requestPermission()) === "granted") return;
  else hintAlerts("Notifications were not allowed: allow them beside the address of this page.");
  $("notify").checked = false;
}

// Large text, and a screen that stays on

let returnTo = null;

async function large() {
  returnTo = document.activeElement;
  $("big").hidden = false;
  document.querySelector("main").inert = true;
  $("big-close").focus();
  stayAwake();
  await document.documentElement.requestFullscreen?.().catch(() => {});
}

function small() {
  $("big").hidden = true;
  document.querySelector("main").inert = false;
  if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  returnTo?.focus();
  if (!state) letSleep();
}

async function stayAwake() {
  if (!state && $("big").hidden) return;
  try {
    awake ??= await navigator.wakeLock?.request("screen");
    awake?.addEventListener("release", () => (awake = null), { once: true });
  } catch {
    awake = null; // on low battery, for one
  }
}

function letSleep() {
  awake?.release();
  awake = null;
}
