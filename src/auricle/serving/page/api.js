// The server's API, as the page uses it.

const KEY = "auricle-token";

// The token comes with the address that `auricle serve` prints, and leaves the address bar at once.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname);
}

export const token = () => sessionStorage.getItem(KEY) ?? "";

const authorised = () => (token() ? { authorization: `Bearer ${token()}` } : {});

/** What the server is; asks for the token until it is the right one. */
export async function info() {
  const response = await fetch("v1/info", { headers: authorised() });
  if (response.status === 401) {
    await askForToken();
    return info();
  }
  if (!response.ok) throw new Error((await response.json()).error);
  return response.json();
}

function askForToken() {
  const dialog = document.querySelector("#ask");
  const field = document.querySelector("#token");
  document.querySelector("#ask-trouble").textContent = token() ? "That is not the token." : "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        sessionStorage.setItem(KEY, field.value.trim());
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
  const request = new XMLHttpRequest(); // fetch cannot tell how much was sent
  let read = 0;
  const finished = new Promise((resolve, reject) => {
    let failure = null;
    const parse = () => {
      if (request.status !== 200) return;
      for (;;) {
        const end = request.responseText.indexOf("\n\n", read);
        if (end < 0) return;
        const message = { event: "", data: "" };
        for (const line of request.responseText.slice(read, end).split("\n")) {
          const colon = line.indexOf(": ");
          if (colon > 0) message[line.slice(0, colon)] += line.slice(colon + 2);
        }
        read = end + 2;
        const data = JSON.parse(message.data);
        if (message.event === "error") failure = data.error;
        else on[message.event]?.(data);
      }
    };
    request.upload.onprogress = (event) => event.lengthComputable && on.upload(event.loaded / event.total);
    request.onprogress = parse;
    request.onload = () => {
      parse();
      if (request.status === 200) return failure ? reject(new Error(failure)) : resolve();
      const error = new Error(failureOf(request));
      error.retryAfter = Number(request.getResponseHeader("retry-after"));
      reject(error);
    };
    request.onerror = () => reject(new Error("The server cannot be reached: is it still running?"));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
  });
  request.open("POST", `v1/captions?${new URLSearchParams({ ...query, name: file.name, format: "sse" })}`);
  request.setRequestHeader("content-type", "application/octet-stream");
  for (const [name, value] of Object.entries(authorised())) request.setRequestHeader(name, value);
  request.send(file);
  return { finished, stop: () => request.abort() };
}

function failureOf(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `The server answered ${request.status} ${request.statusText}.`;
  }
}

/** The sound of a file as mp3, decoded by the server. */
export async function decoded(file) {
  const response = await fetch("v1/sound", {
    method: "POST",
    headers: { "content-type": "application/octet-stream", ...authorised() },
    body: file,
  });
  if (!response.ok) throw new Error((await response.json()).error);
  return response.blob();
}

/** Captions as subtitles: `format` is srt, vtt or ass, `style` written or label. */
export async function subtitles(captions, format, style) {
  const lines = captions.map(({ start, end, caption, tags }) => ({ start, end, caption, tags }));
  const response = await fetch("v1/subtitles", {
    method: "POST",
    headers: { "content-type": "application/json", ...authorised() },
    body: JSON.stringify({ captions: lines, format, style }),
  });
  if (!response.ok) throw new Error((await response.json()).error);
  return response.text();
}

/** An example as a file. */
export async function example(name) {
  const response = await fetch(`examples/${encodeURIComponent(name)}`);
  if (!response.ok) throw new Error(`${name} is not there`);
  return new File([await response.blob()], name);
}

/** A socket of live sound; `row` is called with what comes, `closed` with the reason when it ends. */
export function listen(start, row, closed) {
  const address = new URL("v1/listen", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  const socket = new WebSocket(address);
  let failure = "";
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(JSON.stringify({ token: token(), ...start }));
  socket.onmessage = (event) => {
    const data = JSON.parse(event.data);
    if (data.state === "error") failure = data.error;
    else row(data);
  };
  socket.onclose = () => closed(failure);
  return socket;
}
