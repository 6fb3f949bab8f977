// Dialogs: what cannot be undone is asked for first.

import { byId, write } from "./document.js";

/** Opens a dialog whose `close` button closes it; the browser gives the focus back to where it was. */
export function closable(dialog, button) {
  button.addEventListener("click", () => dialog.close());
}

/**
 * Asks a person; gives { rate } when the answer is yes, null when it is no.
 * title, text, yes: the words; grave: whether it destroys something; rated: whether a rate is asked for as well.
 */
export function question({ title, text, yes, grave = false, rated = false }) {
  const dialog = byId("question");
  const field = byId("question-form").elements.rate;
  write(byId("question-title"), title);
  write(byId("question-text"), text);
  write(byId("question-yes"), yes);
  byId("question-yes").classList.toggle("grave", grave);
  byId("question-rate").hidden = !rated;
  field.value = "";
  return new Promise((resolve) => {
    let answer = null;
    byId("question-form").onsubmit = (event) => {
      event.preventDefault();
      answer = { rate: field.value === "" ? null : Number(field.value) };
      dialog.close();
    };
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
    byId("question-no").focus();
  });
}

closable(byId("question"), byId("question-no"));
