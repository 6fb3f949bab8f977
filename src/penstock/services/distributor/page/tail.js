// The live tail: packets as they go by, as many as a person can read.

import { send } from "./asking.js";
import { announce, arrange, byId, clone, fill, write } from "./document.js";
import { eventsOf } from "./events.js";
import { tellStory } from "./story.js";
import { asList, asObject, count, exactTime, isNumber, text } from "./text.js";

const ROWS = 200;
const SHOW_EVERY_MS = 250;
const SHOWN_AT_ONCE = 25; // 100 a second; who looks sees no more
const AGAIN_MS = 3000; // after which a lost stream is asked for again
const FILTER_PAUSE_MS = 400;

const list = byId("tail");
const filter = byId("tail-filter");
let stream = null; // the AbortController of the stream that is open
let waiting = []; // events that are not shown yet, as they came: the newest SHOWN_AT_ONCE, or ROWS in a pause
let paused = false;
let [seen, passedOver, missed] = [0, 0, 0]; // events that came, that were not shown, that did not even come
let trouble = "";
let filterTimer;

/** What the filter says, in the words of the API. */
function query() {
  const { what, level, source, analyzer, sample } = Object.fromEntries(new FormData(filter));
  const asked = new URLSearchParams();
  const several = (name, words) => words.split(",").map((word) => word.trim()).filter(Boolean).forEach((word) => asked.append(name, word));
  several("level", level);
  several("source", source);
  for (const [name, value] of [["what", what], ["analyzer", analyzer], ["sample", sample === "1" ? "" : sample]]) if (value) asked.set(name, value);
  return asked.size ? `?${asked}` : "";
}

function start() {
  clearTimeout(filterTimer); // the filter is taken as it is now
  [waiting, seen, passedOver, missed, trouble] = [[], 0, 0, 0, ""];
  stream?.abort();
  stream = new AbortController();
  watch(stream);
  showTail();
  announce("Live tail: watching");
}

function stop() {
  stream?.abort();
  stream = null;
  showTail();
  announce(`Live tail: ${trouble || "stopped"}`);
}

/** Reads events until it is told to stop; a stream that is lost is asked for again. */
async function watch(own) {
  while (!own.signal.aborted) {
    try {
      const response = await send(`api/v1/tail${query()}`, { signal: own.signal });
      trouble = "";
      for await (const event of eventsOf(response.body)) if (own === stream) takeUp(event);
      trouble = "the stream has ended";
    } catch (error) {
      trouble = error.message;
      if (own === stream && error.status && error.status !== 503) stop(); // it would be refused again
    }
    if (!own.signal.aborted) await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
  }
}

function takeUp({ event, data }) {
  if (event === "missed") {
    missed += JSON.parse(data).missed;
    return;
  }
  seen += 1;
  waiting.push(data);
  if (waiting.length > (paused ? ROWS : SHOWN_AT_ONCE)) {
    waiting.shift();
    passedOver += 1;
  }
}

function newRow(data) {
  const { at, what, id, analyzer, error, packet } = asObject(JSON.parse(data));
  const messages = asList(asObject(packet).messages);
  const { level, source, message } = asObject(messages[0]);
  const row = clone("event");
  const said = [typeof error === "string" ? error : "", messages.length ? [level, source, message].map(brief).filter(Boolean).join(" ") : ""];
  const more = messages.length > 1 ? ` (+${messages.length - 1})` : "";
  row.dataset.what = text(what);
  fill(row, { at: exactTime(at, false), what: text(what), analyzer: analyzer ? text(analyzer) : "", id: text(id) });
  fill(row, { said: said.filter(Boolean).join(" · ") + more });
  row.querySelector(".id").title = `Story of ${text(id)}`;
  row.querySelector(".id").setAttribute("aria-label", `Story of ${text(id)}`);
  return row;
}

const brief = (value) => (typeof value === "string" ? value.slice(0, 300) : "");

/** Shows what came since; the newest is on top. */
function showTail() {
  if (!paused && waiting.length) {
    list.prepend(...waiting.map(newRow).reverse());
    waiting = [];
    while (list.children.length > ROWS) list.lastElementChild.remove();
  }
  const parts = [trouble || (stream ? (paused ? "paused" : "watching") : seen ? "stopped" : "")];
  if (seen) parts.push(`${count(seen)} events`);
  if (passedOver) parts.push(`${count(passedOver)} passed over`);
  if (isNumber(missed) && missed) parts.push(`${count(missed)} dropped`);
  write(byId("tail-note"), parts.filter(Boolean).join(", "));
  write(byId("tail-start"), stream ? "Stop" : "Start");
  byId("tail-pause").disabled = !stream;
  write(byId("tail-pause"), paused ? "Go on" : "Pause");
}

/** The analyzers that there are, to be chosen from. */
export function offerAnalyzers(ids) {
  const choices = ["", ...ids];
  arrange(filter.elements.analyzer, choices, (i) => new Option(choices[i] || "any", choices[i]));
}

byId("tail-start").addEventListener("click", () => (stream ? stop() : start()));
byId("tail-pause").addEventListener("click", () => {
  paused = !paused;
  showTail();
});
byId("tail-clear").addEventListener("click", () => {
  waiting = [];
  list.replaceChildren();
});
list.addEventListener("click", ({ target }) => {
  if (target.matches(".id")) tellStory(target.textContent);
});
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", () => {
  clearTimeout(filterTimer);
  filterTimer = setTimeout(() => stream && start(), FILTER_PAUSE_MS);
});
setInterval(() => stream && showTail(), SHOW_EVERY_MS);
