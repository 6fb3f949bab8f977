// Adding an analyzer.

import { tell } from "./asking.js";
import { announce, arrange, byId, doing, write } from "./document.js";
import { wake } from "./polling.js";
import { closable } from "./questions.js";

const addingDialog = byId("adding");
const form = byId("adding-form");
let groups = [];

/** The groups that there are, to be chosen from. */
export function offerGroups(names) {
  groups = names;
}

function open() {
  form.reset();
  write(byId("adding-refusal"), "");
  arrange(byId("groups"), groups, (i) => new Option(groups[i], groups[i]));
  addingDialog.showModal();
}

function add(event) {
  event.preventDefault();
  const { id, url, weight, name, group, tier } = Object.fromEntries(new FormData(form));
  const analyzer = { id, url: url.trim(), weight: Number(weight), name: name.trim(), group, tier: Number(tier) };
  doing(event.submitter, byId("adding-refusal"), `${id} not added`, async () => {
    await tell("POST", "api/v1/analyzers", analyzer);
    addingDialog.close();
    announce(`${id}: added`);
    wake();
  });
}

byId("add").addEventListener("click", open);
form.addEventListener("submit", add);
closable(addingDialog, byId("adding-close"));
