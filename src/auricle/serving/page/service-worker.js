// Keeps the page's own files, so that the page opens and kept captions can be downloaded while the server is away.
// The server comes first: kept files are used only if it cannot be reached.

const SHELF = "auricle-page";
const FILES = [
  "./",
  "alerts.js",
  "api.js",
  "capture.js",
  "colours.js",
  "detail.js",
  "editor.js",
  "elements.js",
  "events.js",
  "explanation.js",
  "files.js",
  "formats.js",
  "label-tracks.js",
  "history.js",
  "icon.svg",
  "keep.js",
  "list.js",
  "live.js",
  "main.js",
  "manifest.webmanifest",
  "microphone.js",
  "overview.js",
  "player.js",
  "status.js",
  "store.js",
  "style.css",
  "subtitles.js",
  "timeline.js",
  "work.js",
];
const OTHERS = /\/(v1|examples)\/|\/(metrics|healthz|readyz|openapi\.json)$/; // not files of the page

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(SHELF).then((shelf) => shelf.addAll(FILES)));
});
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || OTHERS.test(pathname)) return;
  event.respondWith(answered(request));
});

async function answered(request) {
  const shelf = await caches.open(SHELF);
  try {
    const response = await fetch(request);
    if (response.ok) await shelf.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await shelf.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}
