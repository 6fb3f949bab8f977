// The story of one packet, as the journal knows it.

import { ask } from "./asking.js";
import { announce, byId, clone, doing, fill, write } from "./document.js";
import { asList, asObject, exactTime, isNumber, milliseconds, plural, text } from "./text.js";

const CHAPTERS_SHOWN = 500;

function chapter({ at, what, analyzer, error, attempt }, previous) {
  const node = clone("chapter");
  const since = Date.parse(at) - Date.parse(previous?.at);
  const said = [isNumber(attempt) ? `attempt ${attempt}` : "", typeof error === "string" ? error : ""].filter(Boolean).join(": ");
  node.dataset.what = text(what);
  fill(node, { at: exactTime(at), after: isNumber(since) ? `+${milliseconds(since)}` : "", what: text(what) });
  fill(node, { analyzer: analyzer ? text(analyzer) : "", said: said ? text(said) : "" });
  return node;
}

function showStory(id, events) {
  const chapters = events.slice(0, CHAPTERS_SHOWN).map(asObject);
  byId("story").replaceChildren(...chapters.map((event, i) => chapter(event, chapters[i - 1])));
  const took = Date.parse(chapters.at(-1)?.at) - Date.parse(chapters[0]?.at);
  write(byId("story-note"), `${id}: ${plural(events.length, "event")}${took > 0 ? ` in ${milliseconds(took)}` : ""}`);
  announce(byId("story-note").textContent);
}

function askStory() {
  const id = byId("story-id").value.trim();
  const button = byId("story-form").querySelector("button");
  return doing(button, byId("story-note"), "No story", async () => {
    byId("story").replaceChildren();
    const { events } = asObject(await ask(`api/v1/packets/${encodeURIComponent(id)}`, { timeout: 30_000 }));
    showStory(id, asList(events));
  });
}

/** Tells the story of a packet that was met elsewhere on the page. */
export function tellStory(id) {
  byId("story-id").value = id;
  byId("story-title").scrollIntoView({ block: "start" });
  byId("story-id").focus({ preventScroll: true });
  return askStory();
}

byId("story-form").addEventListener("submit", (event) => {
  event.preventDefault();
  askStory();
});
