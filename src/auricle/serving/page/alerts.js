// Sounds to wait for: sentences with a sensitivity, checked before they are taken, and tried by a button.

import * as api from "./api.js";

const $ = (id) => document.getElementById(id);
const KEY = "auricle-alerts";
// The score from which on a sentence counts as heard; the server's own is the middle one.
const THRESHOLDS = { low: 1, medium: 0.7, high: 0.4 };

let alerts = []; // {sentence, sensitivity, usable}
let on = {}; // functions: `changed()` after the alerts changed, `test(sentence)`

export async function begin(receivers) {
  on = receivers;
  alerts = JSON.parse(localStorage.getItem(KEY) ?? "[]").map((alert) => ({ ...alert, usable: true }));
  $("wish").addEventListener("submit", (event) => {
    event.preventDefault();
    add($("wanted").value.trim());
  });
  $("wanted").addEventListener("input", () => complain(""));
  draw();
  // A server with another model may know other words.
  for (const alert of alerts) {
    alert.usable = await api.checked(alert.sentence).then((found) => found.usable, () => true);
  }
  draw();
}

/** The alerts that the server can wait for, as it takes them. */
export const wanted = () =>
  alerts.filter((alert) => alert.usable).map(({ sentence, sensitivity }) => ({ sentence, threshold: THRESHOLDS[sensitivity] }));

function complain(message) {
  $("wish-trouble").textContent = message;
  $("wanted").ariaInvalid = message ? "true" : "false";
}

async function add(sentence) {
  if (!sentence) return;
  if (alerts.some((alert) => alert.sentence === sentence)) {
    complain("It is in the list already.");
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
  $("wanted").value = "";
  if (checked.unknown.length) complain(`The model passes over words that it does not know: ${checked.unknown.join(", ")}.`);
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
      for (const level of Object.keys(THRESHOLDS)) select.add(new Option(level, level, false, level === sensitivity));
      select.addEventListener("change", () => {
        change(alerts.map((other) => (other === alert ? { ...alert, sensitivity: select.value } : other)));
        $("wishlist").children[at].querySelector("select").focus();
      });
      const test = button("Test", `Test the alert “${sentence}”`, () => on.test(sentence));
      const remove = button("×", `Do not wait for “${sentence}” any more`, () => {
        change(alerts.filter((other) => other !== alert));
        $("wanted").focus();
      });
      item.append(text, select, test, remove);
      return item;
    }),
  );
}

function button(text, label, action) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.ariaLabel = label;
  element.addEventListener("click", action);
  return element;
}
