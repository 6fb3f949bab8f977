// The loop: the service is asked once a second, and what it says is shown.

import { showAnalyzers } from "./analyzers.js";
import { ask, isLocked, takeKeys, wantReadingKey } from "./asking.js";
import { drawChart } from "./chart.js";
import { byId, fill, sheet, write } from "./document.js";
import { showInputs, showNodes } from "./inputs.js";
import { refreshLetters } from "./letters.js";
import { pause, wake } from "./polling.js";
import { measure, missSample } from "./rates.js";
import { followReplay } from "./replaying.js";
import { booksOf, showQueues, showRates, showService, showTotals } from "./service.js";
import { offerAnalyzers } from "./tail.js";
import { asObject, text, timeOfDay } from "./text.js";

const POLL_MS = 1000;
const LOCKED_POLL_MS = 10_000; // while it wants a key; a new key is tried at once

let answeredAt = null;

function answered(stats) {
  const analyzers = asObject(stats.analyzers);
  answeredAt = timeOfDay(new Date());
  if (isLocked()) byId("key").hidden = true; // else a person has opened it
  write(byId("contact"), `last answer ${answeredAt}`);
  measure(stats);
  showService(stats.draining === true ? "draining" : stats.status ? text(stats.status) : "unknown");
  showTotals(stats);
  showQueues(stats);
  showAnalyzers(analyzers);
  showInputs(stats);
  showNodes(stats);
  offerAnalyzers(Object.keys(analyzers));
  followReplay(stats); // these are not awaited: they may be slow, and they answer for their own errors
  refreshLetters(booksOf(stats));
}

function unanswered({ status }) {
  missSample();
  if (status === 401) {
    write(byId("contact"), "the service wants an API key");
    showService("key wanted");
  } else if (status === 403) {
    wantReadingKey();
    write(byId("contact"), "this API key may not read");
    showService("key wanted");
  } else {
    write(byId("contact"), answeredAt ? `no answer since ${answeredAt}, retrying` : "no answer yet, retrying");
    showService("no answer");
  }
}

async function poll() {
  let error = null;
  const stats = await ask("api/v1/stats").catch((why) => {
    error = why;
  });
  sheet.classList.toggle("stale", error !== null);
  if (error) unanswered(error);
  else answered(asObject(stats));
  showRates();
  drawChart();
}

/** Copies the command; where the browser forbids it (plain HTTP from afar), selects it. */
async function copyCommand() {
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    write(byId("copy"), "Copied");
  } catch {
    getSelection().selectAllChildren(byId("curl"));
    write(byId("copy"), "Selected: press Ctrl+C");
  }
  setTimeout(() => write(byId("copy"), "Copy"), 3000);
}

fill(sheet, { url: new URL("api/v1/logs", location.href).href });
byId("copy").addEventListener("click", copyCommand);
takeKeys(wake);
for (;;) {
  await poll();
  await pause(isLocked() ? LOCKED_POLL_MS : POLL_MS);
}
