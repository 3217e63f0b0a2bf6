// The server's API, as the page uses it, and its failures in words for people.

const KEY = "auricle-token";

export const token = () => localStorage.getItem(KEY) ?? "";

/** Takes a token from the address, and takes it out of the address bar; returns whether there was one. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return false;
  localStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname);
  return true;
}

const authorised = () => (token() ? { authorization: `Bearer ${token()}` } : {});

/** A request that failed. `status` is 0 where the server cannot be reached; `retryAfter` is in seconds. */
class Failure extends Error {
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const LOST = "The server cannot be reached. Is it still running?";
const WORDS = {
  401: "The server asks for its token.",
  408: "The file came too slowly, and the server gave up.",
  413: "The file is larger than this server takes.",
  429: "The server is busy.",
  500: "The server failed. Its log says why.",
  503: "The server is busy or stopping.",
  507: "The server's disk is full.",
};

function failure(status, said, retryAfter) {
  // The server's own words about a sound name the file; those about parameters are for programs.
  const forPeople = said?.includes("segments=")
    ? "It is longer than 30 seconds. Choose a caption for each sound, or for every 10 seconds."
    : said;
  return new Failure(WORDS[status] ?? forPeople ?? `The server answered ${status}.`, status, Number(retryAfter) || 0);
}

async function asked(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...authorised() } });
  } catch {
    throw new Failure(LOST);
  }
  if (response.ok) return response;
  if (response.status === 401) {
    await askForToken();
    return asked(path, options);
  }
  const said = await response.json().catch(() => ({}));
  throw failure(response.status, said.error, response.headers.get("retry-after"));
}

const posted = (path, body, type = "application/octet-stream") =>
  asked(path, { method: "POST", headers: { "content-type": type }, body });

/** What the server is. */
export const info = async () => (await asked("v1/info")).json();

let asking = null;

/** Asks for the token; questions at the same time share one answer. */
function askForToken() {
  asking ??= tokenGiven().finally(() => (asking = null));
  return asking;
}

function tokenGiven() {
  const dialog = document.querySelector("#ask");
  const field = document.querySelector("#token");
  document.querySelector("#ask-trouble").textContent = token() ? "That is not the token." : "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        localStorage.setItem(KEY, field.value.trim());
        field.value = "";
        resolve();
      },
      { once: true },
    );
  });
}

/**
 * Captions a file, and tells what happens by and by.
 *
 * `on` holds functions: `upload(fraction)`, `progress({seconds, fraction})`, `overview({...})`, `caption({...})`.
 * Returns the promise of its end, and a function that stops it.
 */
export function captions(file, query, on) {
  const worker = new Worker("events.js");
  let stop;
  const finished = new Promise((resolve, reject) => {
    stop = () => reject(new DOMException("stopped", "AbortError"));
    worker.onmessage = ({ data }) => {
      if ("upload" in data) on.upload?.(data.upload);
      for (const [name, value] of data.events ?? []) on[name]?.(value);
      if (data.end === "done") resolve();
      else if (data.end === "lost") reject(new Failure(LOST));
      else if (data.end === "refused") reject(failure(data.status, data.said, data.retryAfter));
    };
    worker.onerror = () => reject(new Failure(LOST));
  }).finally(() => {
    worker.onmessage = null;
    worker.terminate(); // breaks off the request, too
  });
  const address = `v1/captions?${new URLSearchParams({ ...query, name: file.name, format: "sse" })}`;
  const headers = { "content-type": "application/octet-stream", ...authorised() };
  worker.postMessage({ address, headers, file });
  return { finished, stop };
}

/** One caption of a stretch, with other wordings and where each word was heard. */
export async function explained(file, start, end) {
  const query = new URLSearchParams({ segments: "whole", explain: 1, start, end, name: file.name });
  return (await (await posted(`v1/captions?${query}`, file)).json()).captions[0];
}

/** The sound of a file as mp3, decoded by the server. */
export const decoded = async (file) => (await posted("v1/sound", file)).blob();

/** Captions as subtitles with labels, like [dog barking]: `format` is srt, vtt or ass. */
export async function labels(captions, format) {
  const lines = captions.map(({ start, end, caption, tags }) => ({ start, end, caption, tags }));
  const body = JSON.stringify({ captions: lines, format, style: "label" });
  return (await posted("v1/subtitles", body, "application/json")).text();
}

/** A film with captions as a track, which players can show. */
export async function film(file, captions) {
  const lines = captions.map(({ start, end, caption }) => ({ start, end, caption }));
  const body = new FormData();
  body.append("file", file);
  body.append("file", new Blob([JSON.stringify({ captions: lines })]), "captions.json");
  return (await asked("v1/film", { method: "POST", body })).blob();
}

/** How similar a file is to a sentence, from -1 to 1. */
export async function similarity(file, sentence) {
  const { sounds } = await (await posted(`v1/rank?${new URLSearchParams({ sentence, name: file.name })}`, file)).json();
  if (sounds[0].error) throw new Failure(sounds[0].error, 422);
  return sounds[0].similarities[0];
}

/** Whether an alert can wait for a sentence, and the words of it that the model does not know. */
export const checked = async (sentence) => (await asked(`v1/sentences?${new URLSearchParams({ sentence })}`)).json();

/** An example as a file. */
export async function example(name) {
  return new File([await (await asked(`examples/${encodeURIComponent(name)}`)).blob()], name);
}

/** A socket of live sound; `row` is called with what comes, `closed` with the reason and the code when it ends. */
export function listen(start, row, closed) {
  const address = new URL("v1/listen", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  const socket = new WebSocket(address);
  let problem = "";
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(JSON.stringify({ token: token(), ...start }));
  socket.onmessage = (event) => {
    const data = JSON.parse(event.data);
    if (data.state === "error") problem = data.error;
    else row(data);
  };
  socket.onclose = ({ code }) => closed(problem, code);
  return socket;
}
