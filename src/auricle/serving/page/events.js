// Runs in a worker: sends a file, and reads the events of the answer while they come.
// Hours of sound have thousands of events. Here they do not hold up the page.

/**
 * Takes one message: {address, headers, file}. Posts {upload: fraction} while the file goes out, {events: [[name, data]]}
 * while the answer comes in, and {end} at last: done, lost, or refused with {status, said, retryAfter}.
 */
addEventListener("message", ({ data: { address, headers, file } }) => {
  const request = new XMLHttpRequest(); // fetch cannot tell how much was sent
  const reader = new EventReader();
  const refused = (status, said, retryAfter) => postMessage({ end: "refused", status, said, retryAfter });
  const pass = () => {
    if (request.status !== 200) return;
    const events = reader.read(request.responseText);
    if (events.length) postMessage({ events });
  };
  request.upload.onprogress = (event) => event.lengthComputable && postMessage({ upload: event.loaded / event.total });
  request.onprogress = pass;
  request.onload = () => {
    pass();
    if (request.status !== 200) refused(request.status, errorOf(request), request.getResponseHeader("retry-after"));
    else if (reader.problem) refused(422, reader.problem);
    else postMessage({ end: reader.done ? "done" : "lost" }); // an answer without its end broke off
  };
  request.onerror = () => postMessage({ end: "lost" });
  request.open("POST", address);
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  request.send(file);
});

/** Reads server-sent events from a text that grows. */
class EventReader {
  problem = "";
  done = false;
  #at = 0;

  /** The events that came since the last call, as [name, data]. */
  read(text) {
    const events = [];
    for (;;) {
      const end = text.indexOf("\n\n", this.#at);
      if (end < 0) return events;
      const message = { event: "", data: "" };
      for (const line of text.slice(this.#at, end).split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) message[line.slice(0, colon)] += line.slice(colon + 2);
      }
      this.#at = end + 2;
      const data = JSON.parse(message.data);
      if (message.event === "error") this.problem = data.error;
      else if (message.event === "done") this.done = true;
      else events.push([message.event, data]);
    }
  }
}

function errorOf(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return undefined;
  }
}
