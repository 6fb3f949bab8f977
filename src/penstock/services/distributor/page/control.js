// What a person may do to an analyzer: hold it, put it back, weigh it anew, remove it.

import { tell } from "./asking.js";
import { announce, byId, doing, write } from "./document.js";
import { wake } from "./polling.js";
import { closable, question } from "./questions.js";
import { asObject, isNumber, share, text } from "./text.js";

const controlDialog = byId("control");
const override = byId("override");
const weighing = byId("weighing");
const controlRefusal = byId("control-refusal");
let chosen = { id: "", name: "", analyzers: {} }; // whom the controlDialog is about, and all as they were when it opened

const pathOf = (id) => `api/v1/analyzers/${encodeURIComponent(id)}`;

/** Holds an analyzer down or puts it back; the next answer, asked for at once, shows what came of it. */
export function turn(button, id, healthy) {
  return doing(button, byId("refusal"), `${id} not ${healthy ? "put back" : "held down"}`, async () => {
    await tell("POST", `${pathOf(id)}/health`, { healthy });
    wake();
  });
}

export function openControl(id, analyzers, now) {
  const analyzer = asObject(analyzers[id]);
  chosen = { id, name: text(analyzer.name ?? id), analyzers };
  write(byId("control-name"), chosen.name);
  write(byId("control-now"), now);
  write(controlRefusal, "");
  override.reset();
  if (analyzer.override) override.elements.state.value = analyzer.override;
  override.elements.reason.value = typeof analyzer.override_reason === "string" ? analyzer.override_reason : "";
  byId("put-back").disabled = !analyzer.override && analyzer.state === "up";
  weighing.elements.weight.value = isNumber(analyzer.weight) ? analyzer.weight : "";
  showWeighed();
  controlDialog.showModal();
}

/** What share a weight would give it. */
function showWeighed() {
  const own = asObject(chosen.analyzers[chosen.id]);
  const weight = Number(weighing.elements.weight.value);
  const peers = Object.values(chosen.analyzers).map(asObject).filter((one) => one.group === own.group && one.tier === own.tier);
  const all = peers.reduce((sum, one) => sum + (isNumber(one.weight) ? one.weight : 0), 0) - (isNumber(own.weight) ? own.weight : 0) + weight;
  write(byId("weighed"), weight > 0 ? `that is ${share(weight / all)} of group ${text(own.group)}, tier ${own.tier ?? "–"}` : "must be more than 0");
}

/** Does what a button says, and closes the controlDialog when it is done. */
function change(button, what, done, ask) {
  const { id, name } = chosen;
  return doing(button, controlRefusal, `${name} not ${what}`, async () => {
    await ask(pathOf(id));
    controlDialog.close();
    announce(`${name}: ${done}`);
    wake();
  });
}

function hold(event) {
  event.preventDefault();
  const { state, ttl, reason } = override.elements;
  const wanted = { state: state.value, reason: reason.value.trim(), ...(ttl.value && { ttl: Number(ttl.value) }) };
  change(event.submitter, "held", `held, ${state.value}`, (path) => tell("POST", `${path}/health`, wanted));
}

function weigh(event) {
  event.preventDefault();
  const weight = Number(weighing.elements.weight.value);
  change(event.submitter, "weighed anew", `weight ${weight}`, (path) => tell("PATCH", path, { weight }));
}

async function remove() {
  const answer = await question({
    title: `Remove ${chosen.name}?`,
    text: `What waits for ${chosen.id} goes to the others of its group. Its counts stay in the books.`,
    yes: "Remove it",
    grave: true,
  });
  if (answer) change(byId("remove"), "removed", "removed", (path) => tell("DELETE", path));
}

override.addEventListener("submit", hold);
weighing.addEventListener("submit", weigh);
weighing.addEventListener("input", showWeighed);
byId("put-back").addEventListener("click", (event) =>
  change(event.target, "put back", "put back", (path) => tell("POST", `${path}/health`, { state: null })));
byId("remove").addEventListener("click", remove);
closable(controlDialog, byId("control-close"));
