// The service as a whole: state, totals, queues.

import { byId, fill, sheet, showState, write } from "./document.js";
import { samples } from "./rates.js";
import { asObject, bytes, count, duration, isNumber, milliseconds, percent, plural, rate, text } from "./text.js";

const TOTALS = ["accepted", "replayed", "delivered", "dead", "pending", "conservation_error", "messages_accepted", "duplicates", "refused", "refused_records", "retrying"];

export function showService(state) {
  showState(byId("state"), state, "Service");
  sheet.dataset.state = state;
  const title = `${state} · penstock`;
  if (document.title !== title) document.title = title;
}

/** Totals are of all nodes where there are several: what one accepts another one delivers. */
export const booksOf = (stats) => ({ ...stats, ...asObject(stats.fleet) });

export function showTotals(stats) {
  write(byId("whose-books"), Object.keys(asObject(asObject(stats.fleet).nodes)).length ? "all nodes" : "");
  showBooks(booksOf(stats));
}

function showBooks(stats) {
  fill(sheet, Object.fromEntries(TOTALS.map((name) => [name, count(stats[name])])));
  sheet.querySelector('[data-value="conservation_error"]').classList.toggle("bad", Boolean(stats.conservation_error));
  const { uptime_seconds: seconds, uptime, durability, pending_bytes: pending, accept_ms: accept } = stats;
  fill(sheet, { durability: text(durability), uptime: isNumber(seconds) ? duration(seconds) : text(uptime), pending_bytes: bytes(pending) });
  fill(sheet, { accept_p50: milliseconds(asObject(accept).p50), accept_p99: milliseconds(asObject(accept).p99) });
  write(byId("losses"), lossesOf(stats));
}

/** What is not in the sum and seldom there. */
function lossesOf({ lost, limited_requests: limited }) {
  const parts = [];
  if (isNumber(lost) && lost) parts.push(`${plural(lost, "packet")} lost by a damaged disk`);
  if (isNumber(limited) && limited) parts.push(`${plural(limited, "request")} refused for their rate`);
  return parts.join(", ");
}

export function showRates() {
  const { accepted, messages, delivered } = samples.at(-1);
  fill(sheet, { accepted_rate: rate(accepted), messages_rate: rate(messages), delivered_rate: rate(delivered) });
}

export function showQueues(stats) {
  for (const bar of document.querySelectorAll("[data-queue]")) {
    const name = bar.dataset.queue;
    const used = isNumber(stats[name]) ? Math.min(Math.max(stats[name], 0), 100) : 0;
    fill(sheet, { [name]: percent(stats[name]) });
    bar.dataset.level = used >= 95 ? "full" : used >= 75 ? "high" : "";
    bar.setAttribute("aria-valuenow", used); // of 0 to 100, a meter's default
    bar.style.setProperty("--fill", used / 100);
  }
}
