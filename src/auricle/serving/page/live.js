// Live sound: the current caption, in large text if the person likes, with alerts and a history.

import * as alerts from "./alerts.js";
import * as api from "./api.js";
import * as history from "./history.js";
import * as microphone from "./microphone.js";
import * as status from "./status.js";
import { notify } from "./elements.js";
import { likelyTags } from "./formats.js";

const $ = (id) => document.getElementById(id);
const QUIET = -70; // dBFS at the meter's left end
const WAITS = [1, 2, 5, 10, 30]; // seconds before a lost connection is tried again
const LOST_AFTER = 3; // attempts in vain
const NO_SOUND_MS = 5000; // without a level, after which the microphone counts as gone
const UNSENT_SECONDS = 5; // of sound that wait to be sent, after which the connection counts as lost
const TRY_LATER = 1013; // the code of a socket that a busy server closes
const SETTINGS = { vibrate: "auricle-vibrate", notify: "auricle-notify", hide: "auricle-hide" };

let session = null; // while the page listens: {socket, rate, close, ready, tries, lastLevel, silentSince}
let awake = null;
let hidden = []; // words of sounds that are not shown

export async function begin(info) {
  const { hasMicrophone } = microphone;
  $("sources").hidden = !info.microphone;
  if (info.microphone && !hasMicrophone()) {
    $("source").value = "server";
    $("source").options[0].disabled = true;
  }
  if (!info.microphone && !hasMicrophone()) {
    $("listen").disabled = true;
    trouble(microphone.missing());
  }
  status.begin({ stop: () => stop() });
  $("listen").addEventListener("click", () => (session ? stop() : start()));
  $("source").addEventListener("change", () => session && (stop(), start()));
  $("large").addEventListener("click", large);
  $("big-close").addEventListener("click", small);
  addEventListener("keydown", (event) => event.key === "Escape" && !$("big").hidden && small());
  document.addEventListener("fullscreenchange", () => !document.fullscreenElement && !$("big").hidden && small());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && stayAwake());
  addEventListener("beforeunload", (event) => session && event.preventDefault());
  settings();
  setInterval(watchOver, 1000);
  await history.begin();
  await alerts.begin({ changed: renew, test: (sentence) => alarm(`Test: ${sentence}`, "This is a test.") });
}

function settings() {
  $("vibrate").disabled = !navigator.vibrate;
  $("vibrate").checked = localStorage.getItem(SETTINGS.vibrate) === "yes";
  $("vibrate").addEventListener("change", () => localStorage.setItem(SETTINGS.vibrate, $("vibrate").checked ? "yes" : "no"));
  $("notify").checked = localStorage.getItem(SETTINGS.notify) === "yes" && globalThis.Notification?.permission === "granted";
  $("notify").addEventListener("change", askToNotify);
  $("hide").value = localStorage.getItem(SETTINGS.hide) ?? "";
  const hide = () => {
    hidden = $("hide").value.toLowerCase().split(",").map((word) => word.trim()).filter(Boolean);
  };
  $("hide").addEventListener("input", () => {
    localStorage.setItem(SETTINGS.hide, $("hide").value);
    hide();
  });
  hide();
}

const trouble = (message) => notify($("live-trouble"), message);

async function start() {
  trouble("");
  const own = { socket: null, ready: false, tries: 0, close: () => {}, lastLevel: Date.now(), silentSince: 0 };
  session = own;
  buttons();
  status.setLive("connecting");
  say("Listening …", true);
  stayAwake();
  if ($("source").value === "own") {
    try {
      const opened = await microphone.open({
        piece: (samples, decibels) => {
          if (session !== own) return;
          heard(own, decibels);
          if (own.ready && own.socket.readyState === WebSocket.OPEN) own.socket.send(samples);
        },
        ended: () => session === own && stop("gone", "The microphone was taken away."),
      });
      Object.assign(own, opened);
    } catch (error) {
      if (session === own) stop("off", microphone.refusal(error));
      return;
    }
  }
  if (session === own) connect(own);
  else own.close();
}

function connect(own) {
  own.ready = false;
  const begin = { alerts: alerts.usable(), ...(own.rate ? { rate: own.rate } : { microphone: true }) };
  const socket = api.listen(
    begin,
    (row) => own.socket === socket && session === own && receive(row, own),
    (problem, code) => own.socket === socket && session === own && closed(own, problem, code),
  );
  own.socket = socket;
}

async function closed(own, problem, code) {
  if (problem.includes("token")) {
    await api.info().catch(() => {}); // asks for it
    if (session === own) connect(own);
    return;
  }
  if (problem && code !== TRY_LATER) {
    stop("lost", `The server does not listen any more: ${problem}`);
    return;
  }
  lost(own);
}

/** Connects again after a while, and says so meanwhile. */
function lost(own) {
  own.ready = false;
  own.silentSince ||= Date.now();
  own.socket = null;
  quiet(own.tries < LOST_AFTER ? "reconnecting" : "lost");
  const wait = WAITS[Math.min(own.tries++, WAITS.length - 1)];
  setTimeout(() => session === own && connect(own), 1000 * wait);
}

/** Shows that no sound is heard: nothing of it may look alive. */
function quiet(state) {
  if (!status.broken()) tremble([800, 200, 200]);
  status.setLive(state);
  level(QUIET);
  $("sentence").classList.add("past");
  $("live-tags").textContent = "";
}

/** Looks once a second whether sound comes in and goes out. */
function watchOver() {
  const own = session;
  if (!own?.ready) return;
  const silent = Date.now() - own.lastLevel > NO_SOUND_MS;
  if (silent && status.listens()) {
    own.silentSince ||= own.lastLevel;
    quiet("gone");
  }
  if (own.socket && own.rate && own.socket.bufferedAmount > UNSENT_SECONDS * own.rate * 2) {
    const { socket } = own;
    lost(own);
    socket.close();
  }
}

/** A level came: the microphone works. */
function heard(own, decibels) {
  own.lastLevel = Date.now();
  if (!own.ready) return;
  if (status.liveState() === "gone") hears(own);
  level(decibels);
}

/** Sound is heard, for the first time or again. */
function hears(own) {
  own.tries = 0;
  if (own.silentSince) {
    const seconds = Math.round((Date.now() - own.silentSince) / 1000);
    history.add({ kind: "gap", time: new Date(), seconds, caption: `No sound was received for ${seconds} s.` });
    say("Listening again …", true);
  }
  own.silentSince = 0;
  status.setLive("listening");
  trouble("");
}

/** With other alerts: another socket, and the microphone stays open. */
function renew() {
  const own = session;
  if (!own?.socket) return;
  const { socket } = own;
  own.socket = null;
  socket.close();
  connect(own);
}

function stop(state = "off", message = "") {
  const own = session;
  session = null;
  const { socket } = own ?? {};
  if (own) own.socket = null;
  socket?.close();
  own?.close();
  if (state !== "off") quiet(state);
  else status.setLive("off");
  trouble(message);
  buttons();
  level(QUIET);
  $("sentence").classList.add("past");
  letSleep();
}

function buttons() {
  $("listen").textContent = session ? "Stop" : "Listen";
  $("listen").classList.toggle("primary", !session);
}

function receive(row, own) {
  if (row.state === "ready") {
    own.ready = true;
    own.lastLevel = Date.now();
    hears(own);
  } else if (row.state === "level") heard(own, row.level);
  else if (row.state === "alert") {
    alarm(row.alert, row.caption);
    history.add({ kind: "alert", time: new Date(row.time), caption: row.alert });
  } else if (!isHidden(row)) {
    say(row.caption, row.state === "end");
    $("live-tags").textContent = likelyTags(row.tags, 4).join(" · ");
    if (row.state === "end") {
      history.add({ kind: "sound", time: new Date(row.time), seconds: row.end - row.start, caption: row.caption, confidence: row.confidence });
    }
  }
}

/** Whether the person chose not to see a sound. */
function isHidden({ caption, tags }) {
  const text = [caption, ...likelyTags(tags)].join(" ").toLowerCase();
  return hidden.some((word) => text.includes(word));
}

/** The sentence of the moment; `past` once it is over. */
function say(sentence, past) {
  for (const id of ["sentence", "big-sentence"]) {
    if ($(id).textContent !== sentence) $(id).textContent = sentence;
  }
  history.update();
  $("sentence").classList.toggle("past", past);
}

function level(decibels) {
  const share = Math.max(0, Math.min(1, 1 - decibels / QUIET));
  for (const id of ["level", "big-level"]) $(id).firstElementChild.style.transform = `scaleX(${share})`;
  $("level").ariaValueNow = String(Math.round(Math.max(QUIET, Math.min(0, decibels))));
}

// Alarms

function tremble(pattern) {
  if ($("vibrate").checked) navigator.vibrate?.(pattern);
}

function alarm(sentence, caption) {
  status.alarm(sentence);
  tremble([400, 150, 400, 150, 400]);
  if (!$("notify").checked) return;
  try {
    new Notification(sentence, { body: caption ?? "Heard just now.", tag: sentence, renotify: true });
  } catch {
    hintAlerts("This browser shows notifications only for installed pages."); // as on Android
    $("notify").checked = false;
  }
}

function hintAlerts(text) {
  $("alert-hint").textContent = text;
}

async function askToNotify() {
  localStorage.setItem(SETTINGS.notify, $("notify").checked ? "yes" : "no");
  if (!$("notify").checked) return;
  if (!("Notification" in window) || !window.isSecureContext) {
    hintAlerts("Browsers give notifications only to pages that came over https, or from this machine itself.");
  } else if ((await Notification.requestPermission()) === "granted") return;
  else hintAlerts("Notifications were not allowed. Allow them next to the address of this page.");
  $("notify").checked = false;
}

// Large text, and a screen that stays on

let returnTo = null;

async function large() {
  returnTo = document.activeElement;
  $("big").hidden = false;
  document.querySelector("main").inert = true;
  $("big-close").focus();
  status.draw();
  stayAwake();
  await document.documentElement.requestFullscreen?.().catch(() => {});
}

function small() {
  $("big").hidden = true;
  document.querySelector("main").inert = false;
  status.draw();
  if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  returnTo?.focus();
  if (!session) letSleep();
}

async function stayAwake() {
  if (!session && $("big").hidden) return;
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
