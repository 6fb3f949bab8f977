// Dead letters on their way again: how far it is.

import { ask, tell } from "./asking.js";
import { announce, byId, doing, write } from "./document.js";
import { wake } from "./polling.js";
import { asObject, count, isNumber, text } from "./text.js";

const PATH = "api/v1/dead-letter/replay";

let following = false;
let replayedBefore = null; // the count of replayed packets as of the last answer

/** Begins; `which` is what the service's API wants. */
export async function startReplay(which) {
  showProgress(await tell("POST", PATH, which, { timeout: 60_000 }));
  following = true;
  wake();
}

/** Follows a replay, another person's as well: the counter tells of it. */
export async function followReplay({ replayed }) {
  if (isNumber(replayed) && isNumber(replayedBefore) && replayed > replayedBefore) following = true;
  replayedBefore = replayed;
  if (following) showProgress(await ask(PATH).catch(() => null));
}

function showProgress(answer) {
  const { total, replayed, gone, done, error } = asObject(answer);
  if (!isNumber(total)) return;
  following = done !== true;
  byId("replaying").hidden = false;
  byId("replay-progress").max = Math.max(1, total);
  byId("replay-progress").value = replayed + gone;
  byId("replay-stop").hidden = done === true;
  const missing = gone ? `, ${count(gone)} were gone` : "";
  const ended = done === true ? (error ? `; ended: ${text(error)}` : "; done") : "";
  write(byId("replay-note"), `replayed ${count(replayed)} of ${count(total)}${missing}${ended}`);
  if (done === true) announce(byId("replay-note").textContent);
}

byId("replay-stop").addEventListener("click", ({ target }) =>
  doing(target, byId("letters-refusal"), "Not stopped", async () => showProgress(await tell("DELETE", PATH))));
