// Elements that several views have: notices of errors, and buttons.

/** Shows a message in a notice; an empty message hides it. */
export function notify(notice, message) {
  notice.textContent = message;
  notice.hidden = !message;
}

/** Runs an action, and shows its error in the notice of the view that is open. */
export async function attempt(action) {
  notify(openNotice(), "");
  try {
    await action();
  } catch (error) {
    notify(openNotice(), error.message);
  }
}

const openNotice = () => document.querySelector("main > section:not([hidden]) .notice[role=alert]");

/** A button; `label` is its accessible name where its text is not enough. */
export function button(text, action, label = "") {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  if (label) element.ariaLabel = label;
  element.addEventListener("click", action);
  return element;
}
