// Dead letters: the last ones or those that match, replayed and purged.

import { ask, tell } from "./asking.js";
import { announce, arrange, byId, clone, doing, fill, write } from "./document.js";
import { wake } from "./polling.js";
import { question } from "./questions.js";
import { startReplay } from "./replaying.js";
import { tellStory } from "./story.js";
import { asList, asObject, count, isNumber, localTime, plural, text } from "./text.js";

const LETTERS_EVERY_MS = 5000;
const LETTERS_AT_ONCE = 20;
const MESSAGES_SHOWN = 100; // of one letter

let countsRead = "0 0 0"; // dead, replayed and purged packets when the letters were last read
let counts = countsRead; // as of the last answer
let there = 0; // letters that there are, as of the last answer
let lettersAskedAt = -Infinity;
let wanted = LETTERS_AT_ONCE;
let shownQuery = "";
let until = {}; // so that what is purged is what was counted: new letters come all the time

const searched = () => byId("search").value.trim();

function messageLine({ level, source, message }) {
  const line = document.createElement("li");
  line.dataset.level = String(level).toUpperCase();
  for (const part of [level, source, message]) line.append(Object.assign(document.createElement("span"), { textContent: text(part) }));
  return line;
}

function newLetter({ seq, packet, final_error: error, failed_at: failedAt }) {
  const letter = Object.assign(clone("letter"), { failedAt });
  const { id, messages, retry_count: retries } = asObject(packet);
  const list = asList(messages);
  const left = list.length - MESSAGES_SHOWN;
  const lines = () => list.slice(0, MESSAGES_SHOWN).map((message) => messageLine(asObject(message)));
  const rest = left > 0 ? [messageLine({ message: `and ${plural(left, "more message")}` })] : [];
  fill(letter, { id: text(id), failed_at: localTime(failedAt), error: text(error) });
  fill(letter, { size: plural(list.length, "message"), retries: `retried ${count(retries)}×` });
  letter.addEventListener("toggle", () => letter.querySelector("ul").replaceChildren(...lines(), ...rest), { once: true });
  letter.querySelector(".replay-one").addEventListener("click", ({ target }) => replayOne(target, seq));
  letter.querySelector(".purge-one").addEventListener("click", ({ target }) => purgeOne(target, seq, text(id)));
  letter.querySelector(".tell").addEventListener("click", () => tellStory(text(id)));
  return letter;
}

const keyOf = ({ seq, packet, failed_at: failedAt }) => `${seq} ${asObject(packet).id} ${failedAt}`;

function showLetters(list, query, note) {
  const letters = list.map(asObject).sort((a, b) => Date.parse(b.failed_at) - Date.parse(a.failed_at));
  const keys = letters.map(keyOf);
  if (query === shownQuery && list.length >= wanted) keys.push(...pushedOut(letters.at(-1), keys));
  shownQuery = query;
  arrange(byId("letters"), keys, (i) => newLetter(letters[i]));
  write(byId("letters-note"), note);
}

/** Letters that somebody has open, and that are not shown any more only as newer ones came. */
function pushedOut({ failed_at: oldest }, keys) {
  const open = [...byId("letters").children].filter((letter) => letter.open && !keys.includes(letter.key));
  return open.filter(({ failedAt }) => Date.parse(failedAt) <= Date.parse(oldest)).map(({ key }) => key);
}

/** How many letters are shown, and of how many. found: that match, searched: among so many. */
function noteOf(shown, dead, { found, searched: among }) {
  if (found !== null) return found > shown ? `last ${shown} of ${count(found)} that match` : `${count(found)} of ${count(among)} match`;
  return dead > shown ? `last ${shown} of ${count(dead)}` : dead ? count(dead) : "none";
}

/** Reads them again when some came or went, every 5 seconds at most. */
export async function refreshLetters({ dead, replayed, purged, timestamp }) {
  if (!isNumber(dead)) return;
  const whole = (value) => (isNumber(value) ? value : 0);
  counts = `${dead} ${whole(replayed)} ${whole(purged)}`;
  there = Math.max(0, dead - whole(replayed) - whole(purged));
  const now = new Date(timestamp); // the service's own clock, to the second
  until = Number.isNaN(now.getTime()) ? {} : { until: new Date(now.getTime() + 1000).toISOString() };
  await readLetters();
}

async function readLetters() {
  nameButtons();
  if (counts === countsRead || performance.now() < lettersAskedAt + LETTERS_EVERY_MS) return;
  lettersAskedAt = performance.now();
  const [query, as] = [searched(), counts];
  try {
    const told = { found: null, searched: null };
    const readHeaders = (headers) => {
      if (query) [told.found, told.searched] = ["Penstock-Found", "Penstock-Searched"].map((name) => Number(headers.get(name)));
    };
    const asked = query && `&q=${encodeURIComponent(query)}`;
    const list = asList(await ask(`api/v1/dead-letter?limit=${wanted}${asked}`, { readHeaders }));
    if (query !== searched()) return; // an answer to what is no longer asked
    showLetters(list, query, noteOf(list.length, there, told));
    byId("more-letters").hidden = (told.found ?? there) <= list.length || list.length < wanted;
    countsRead = as;
  } catch (error) {
    if (query === searched()) write(byId("letters-note"), `${query ? "not searched" : "not readable"}: ${error.message}`);
  }
}

/** Reads them now. */
function readAnew() {
  [countsRead, lettersAskedAt] = ["", -Infinity];
  return readLetters();
}

let searchTimer;

/** Asks anew once the typing pauses. */
function searchLetters() {
  clearTimeout(searchTimer);
  wanted = LETTERS_AT_ONCE;
  searchTimer = setTimeout(readAnew, 250);
}

// Replaying and purging

const lettersRefusal = byId("letters-refusal");

function nameButtons() {
  const which = searched() ? "those found…" : "all…";
  write(byId("replay-all"), `Replay ${which}`);
  write(byId("purge-all"), `Purge ${which}`);
  for (const id of ["replay-all", "purge-all"]) if (!byId(id).ariaBusy) byId(id).disabled = !there;
}

/** Which letters the buttons mean, in the words of the API and of people. */
function choice() {
  const query = searched();
  if (query) return { which: { q: query, ...until }, match: ` that match “${query}”` };
  return { which: until.until ? until : { all: true }, match: "" };
}

/** How many letters it would be. */
async function matching(verb, which) {
  const { matching: number } = asObject(await tell("POST", `api/v1/dead-letter/${verb}`, { ...which, dry_run: true }, { timeout: 60_000 }));
  if (!number) throw new Error("no dead letter matches");
  return number;
}

async function replayAll({ target }) {
  const { which, match } = choice();
  await doing(target, lettersRefusal, "Nothing replayed", async () => {
    const number = await matching("replay", which);
    const title = `Replay ${plural(number, "dead letter")}${match}?`;
    const answer = await question({ title, text: "They become packets again, with their ids and all their attempts.", yes: "Replay", rated: true });
    if (answer) await startReplay({ ...which, ...(answer.rate && { rate: answer.rate }) });
  });
  nameButtons();
}

async function purgeAll({ target }) {
  const { which, match } = choice();
  await doing(target, lettersRefusal, "Nothing purged", async () => {
    const number = await matching("purge", which);
    const title = `Purge ${plural(number, "dead letter")}${match}?`;
    const answer = await question({ title, text: "They are removed for good. Nothing brings them back.", yes: `Purge ${count(number)}`, grave: true });
    if (answer) await purge(which);
  });
  nameButtons();
}

async function purge(which) {
  const { purged } = asObject(await tell("POST", "api/v1/dead-letter/purge", { ...which, dry_run: false }, { timeout: 60_000 }));
  announce(`${plural(purged, "dead letter")} purged`);
  lettersAskedAt = -Infinity; // they are to be seen to go
  wake();
}

function replayOne(button, seq) {
  return doing(button, lettersRefusal, "Not replayed", async () => {
    await startReplay({ seqs: [seq] });
    lettersAskedAt = -Infinity;
  });
}

async function purgeOne(button, seq, id) {
  const answer = await question({ title: "Purge this dead letter?", text: `Packet ${id} is removed for good. Nothing brings it back.`, yes: "Purge it", grave: true });
  if (answer) await doing(button, lettersRefusal, "Not purged", () => purge({ seqs: [seq] }));
}

byId("search").addEventListener("input", searchLetters);
byId("replay-all").addEventListener("click", replayAll);
byId("purge-all").addEventListener("click", purgeAll);
byId("more-letters").addEventListener("click", () => {
  wanted = Math.min(1000, wanted + LETTERS_AT_ONCE);
  readAnew();
});
