// Shares of the last minute: who got which part of what was assigned in it, now and over 5 minutes.

import { asObject, isNumber } from "./text.js";

const MINUTE_MS = 60_000;
const STEP_MS = 5000;
const STEPS = 60; // 5 minutes
const HEIGHT = 24; // of the drawing; the target lies at half of it

let snapshots = []; // { at, assigned } every 5 s, back to the one that a minute is reckoned from
let now = new Map(); // id -> share of the last minute, null when nothing was assigned
const trends = new Map(); // id -> the same at every step, the newest last

/** Takes up an answer. */
export function measureShares(analyzers) {
  const at = performance.now();
  const assigned = new Map(Object.entries(analyzers).map(([id, analyzer]) => [id, asObject(analyzer).first_assigned]));
  if (snapshots.length && fewer(assigned, snapshots.at(-1).assigned)) forget();
  while (snapshots.length > 1 && snapshots[1].at <= at - MINUTE_MS) snapshots.shift();
  now = sharesSince(analyzers, assigned, snapshots[0]?.assigned ?? assigned);
  if (snapshots.length && at < snapshots.at(-1).at + STEP_MS) return;
  snapshots.push({ at, assigned });
  for (const id of trends.keys()) if (!now.has(id)) trends.delete(id);
  for (const [id, share] of now) trends.set(id, [...(trends.get(id) ?? []), share].slice(-STEPS));
}

const fewer = (assigned, before) => [...assigned].some(([id, packets]) => packets < before.get(id));

function forget() {
  snapshots = [];
  trends.clear();
}

/** Shares are of a group. */
function sharesSince(analyzers, assigned, before) {
  const gained = (id) => {
    const gain = assigned.get(id) - (before.get(id) ?? assigned.get(id));
    return isNumber(gain) ? gain : 0;
  };
  const totals = new Map();
  const groupOf = (id) => asObject(analyzers[id]).group;
  for (const id of assigned.keys()) totals.set(groupOf(id), (totals.get(groupOf(id)) ?? 0) + gained(id));
  return new Map([...assigned.keys()].map((id) => [id, totals.get(groupOf(id)) ? gained(id) / totals.get(groupOf(id)) : null]));
}

export const shareOfLastMinute = (id) => now.get(id) ?? null;

/** The line of an analyzer's shares, whose target is in the middle; it breaks where nothing was assigned. */
export function trendLine(id, target) {
  const shares = trends.get(id) ?? [];
  const scale = HEIGHT / 2 / Math.max(0.0001, isNumber(target) ? target : 0);
  let line = "";
  let pen = "M";
  shares.forEach((share, i) => {
    if (share !== null) line += `${pen}${STEPS - shares.length + i},${(HEIGHT - Math.min(HEIGHT, share * scale)).toFixed(1)}`;
    pen = share === null ? "M" : "L";
  });
  return line;
}
