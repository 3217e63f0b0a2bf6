// Which of the two pages is shown, and what the server says of itself.

import * as api from "./api.js";
import * as file from "./file.js";
import * as live from "./live.js";

const TITLES = { file: "auricle", live: "Live · auricle" };

function show() {
  const view = location.hash === "#live" ? "live" : "file";
  for (const name of Object.keys(TITLES)) document.getElementById(`${name}-view`).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = TITLES[view];
}

addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
  document.getElementById("main").focus({ preventScroll: true });
});
show();

try {
  const info = await api.info();
  document.getElementById("version").textContent = info.version;
  document.getElementById("licence").textContent = `Model: ${info.licence}`;
  file.begin(info);
  live.begin(info);
  document.body.dataset.ready = "yes";
} catch (error) {
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.role = "alert";
  notice.textContent = `The server does not answer as it should: ${error.message}`;
  document.getElementById("main").prepend(notice);
}
