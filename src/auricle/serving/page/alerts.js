// Sounds to wait for: sentences with a sensitivity, checked before they are taken, and tried by a button.

import * as api from "./api.js";
import { button } from "./elements.js";

const $ = (id) => document.getElementById(id);
const KEY = "auricle-alerts";
// The lowest score at which a sentence counts as heard; the server's default is the middle one.
const THRESHOLDS = { low: 1, medium: 0.7, high: 0.4 };

let alerts = []; // {sentence, sensitivity, usable}
let on = {}; // functions: `changed()` after the alerts changed, `test(sentence)`

export async function begin(receivers) {
  on = receivers;
  alerts = JSON.parse(localStorage.getItem(KEY) ?? "[]").map((alert) => ({ ...alert, usable: true }));
  $("wish").addEventListener("submit", (event) => {
    event.preventDefault();
    add($("alert-sentence").value.trim());
  });
  $("alert-sentence").addEventListener("input", () => complain(""));
  draw();
  // A server with another model may know other words.
  const check = async (alert) => {
    alert.usable = await api.checked(alert.sentence).then((found) => found.usable, () => true);
  };
  await Promise.all(alerts.map(check));
  draw();
}

/** The alerts that the server can wait for, as it takes them. */
export const usable = () =>
  alerts.filter((alert) => alert.usable).map(({ sentence, sensitivity }) => ({ sentence, threshold: THRESHOLDS[sensitivity] }));

function complain(message) {
  $("wish-trouble").textContent = message;
  $("alert-sentence").ariaInvalid = message ? "true" : "false";
}

async function add(sentence) {
  if (!sentence) return;
  if (alerts.some((alert) => alert.sentence === sentence)) {
    complain("This alert is already in the list.");
    return;
  }
  complain("");
  let checked;
  try {
    checked = await api.checked(sentence);
  } catch (error) {
    complain(error.message);
    return;
  }
  if (!checked.usable) {
    complain(`The model does not know the words ${checked.unknown.map((word) => `“${word}”`).join(", ")}. Name the sound in other words.`);
    return;
  }
  $("alert-sentence").value = "";
  if (checked.unknown.length) complain(`The model ignores words that it does not know: ${checked.unknown.join(", ")}.`);
  change([...alerts, { sentence, sensitivity: "medium", usable: true }]);
}

function change(next) {
  alerts = next;
  localStorage.setItem(KEY, JSON.stringify(alerts.map(({ sentence, sensitivity }) => ({ sentence, sensitivity }))));
  draw();
  on.changed();
}

function draw() {
  $("wishlist").replaceChildren(
    ...alerts.map((alert, at) => {
      const { sentence, sensitivity, usable } = alert;
      const item = document.createElement("li");
      const text = document.createElement("span");
      text.className = "wish";
      text.textContent = usable ? sentence : `${sentence} (this server does not know the words)`;
      const select = document.createElement("select");
      select.ariaLabel = `Sensitivity for “${sentence}”`;
      for (const level of Object.keys(THRESHOLDS)) select.add(new Option(`Sensitivity: ${level}`, level, false, level === sensitivity));
      select.addEventListener("change", () => {
        change(alerts.map((other) => (other === alert ? { ...alert, sensitivity: select.value } : other)));
        $("wishlist").children[at].querySelector("select").focus();
      });
      const test = button("Test", () => on.test(sentence), `Test the alert “${sentence}”`);
      const removed = () => {
        change(alerts.filter((other) => other !== alert));
        $("alert-sentence").focus();
      };
      const remove = button("×", removed, `Remove the alert “${sentence}”`);
      item.append(text, select, test, remove);
      return item;
    }),
  );
}
