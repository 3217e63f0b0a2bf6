// Which view is shown, and what the server says of itself.

import * as api from "./api.js";
import * as editor from "./editor.js";
import * as files from "./files.js";
import * as live from "./live.js";
import * as status from "./status.js";
import { find, restore } from "./work.js";

const VIEWS = ["home", "work", "live"];

/** The view that the address names: #live, #file, or #file/ and the id of a work. */
function show() {
  if (api.takeToken()) return location.reload();
  const [place, id] = location.hash.slice(1).split("/");
  const work = place === "file" && id ? find(id) : null;
  const view = place === "live" ? "live" : work ? "work" : "home";
  for (const name of VIEWS) document.getElementById(`${name}-view`).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if ((link.dataset.view === "live") === (view === "live")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  status.name(work ? `${work.name} · auricle` : view === "live" ? "Live · auricle" : "auricle");
  if (work) editor.open(work);
  else editor.leave();
  files.draw();
}

function open(work) {
  if (location.hash === `#file/${work.id}`) show();
  else location.hash = `file/${work.id}`;
}

addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
  const title = document.getElementById("name");
  const target = document.getElementById("work-view").hidden ? document.getElementById("main") : title;
  target.focus({ preventScroll: true });
});

api.takeToken();
await restore();
editor.begin();
show();

try {
  const info = await api.info();
  document.getElementById("version").textContent = info.version;
  document.getElementById("licence").textContent = `Model: ${info.licence}`;
  files.begin(info, open);
  await live.begin(info);
} catch (error) {
  // Kept captions can still be read, edited and downloaded.
  document.getElementById("listen").disabled = true;
  files.begin({ upload: Infinity, examples: [] }, open);
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.role = "alert";
  notice.textContent = error.message;
  document.getElementById("main").prepend(notice);
}
document.body.dataset.ready = "yes";
// Browsers allow it on localhost and with a trusted certificate; elsewhere the page works without it.
if (window.isSecureContext) navigator.serviceWorker?.register("service-worker.js").catch(() => {});
