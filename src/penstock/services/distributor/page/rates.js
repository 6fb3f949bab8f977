// Rates: differences of counters, over the server's clock where it gives one.

import { isNumber } from "./text.js";

export const WINDOW_MS = 300_000;
const SHORTEST_INTERVAL = 0.5; // seconds: the rate between two answers closer than this is noise
const COUNTERS = ["accepted", "messages", "delivered"];

export const samples = []; // the last 5 minutes: { at, date, restarted, accepted, messages, delivered } per second
let previous = null; // the counters of the last answer
let unbroken = false; // no question went unanswered since

function readCounters({ uptime_seconds: uptime, accepted, messages_accepted: messages, delivered }) {
  return { uptime: isNumber(uptime) ? uptime : performance.now() / 1000, accepted, messages, delivered };
}

function addSample(restarted, rates = []) {
  const at = performance.now();
  samples.push({ at, date: new Date(), restarted, accepted: null, messages: null, delivered: null, ...Object.fromEntries(rates) });
  while (samples[0].at < at - WINDOW_MS) samples.shift();
}

/** Takes up an answer; says whether the service has restarted since the one before. */
export function measure(stats) {
  const now = readCounters(stats);
  const gained = (name) => now[name] - (previous ?? now)[name];
  const restarted = ["uptime", ...COUNTERS].some((name) => gained(name) < 0);
  if (previous && unbroken && !restarted) {
    const seconds = gained("uptime");
    if (seconds < SHORTEST_INTERVAL) return false;
    addSample(false, COUNTERS.filter((name) => isNumber(gained(name))).map((name) => [name, gained(name) / seconds]));
  } else {
    addSample(restarted);
  }
  previous = now;
  unbroken = true;
  return restarted;
}

/** A question went unanswered. */
export function missSample() {
  unbroken = false;
  addSample(false);
}
