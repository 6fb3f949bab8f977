// The analyzers, by group and tier: how they are, and what each gets of what it should get.

import { offerGroups } from "./adding.js";
import { openControl, turn } from "./control.js";
import { arrange, byId, clone, fill, showState, write } from "./document.js";
import { measureShares, shareOfLastMinute, trendLine } from "./shares.js";
import { asObject, count, duration, isNumber, milliseconds, share, signed, text } from "./text.js";

const HELD = { up: "held up", drain: "draining", down: "held down" };

function healthOf({ override, held_down: held, state, is_healthy: healthy }) {
  if (Object.hasOwn(HELD, override)) return HELD[override];
  if (held === true) return "held down";
  return state === "trial" ? "trial" : { true: "up", false: "down" }[healthy] ?? "unknown";
}

/** Why it is held, and how long still. */
function overrideOf({ override, override_reason: reason, override_ends_in: left, state }) {
  if (!override) return state === "trial" ? "one delivery at a time" : "";
  const why = typeof reason === "string" && reason ? reason : "";
  return [isNumber(left) ? `${duration(left)} left` : "", why].filter(Boolean).join(": ") || "until put back";
}

function showShare(row, { share: part, target_share: target, share_error_packets: off }, longest) {
  const drawn = (value) => (isNumber(value) ? value : 0);
  row.querySelector(".bar").style.setProperty("--fill", drawn(part) / longest);
  row.querySelector(".bar").style.setProperty("--target", drawn(target) / longest);
  fill(row, { share: share(part), target: `of ${share(target)}`, off: `${signed(off)} packets` });
}

function showMinute(row, id, { target_share: target }) {
  const line = trendLine(id, target);
  const path = row.querySelector(".line");
  if (path.getAttribute("d") !== line) path.setAttribute("d", line);
  fill(row, { minute: share(shareOfLastMinute(id)) });
}

function label(button, words, name) {
  write(button, words);
  const whole = `${words.replace("…", "")} ${name}`;
  if (button.getAttribute("aria-label") !== whole) button.setAttribute("aria-label", whole);
}

function showAnalyzer(row, id, analyzers, longest) {
  const analyzer = asObject(analyzers[id]);
  const name = text(analyzer.name ?? id);
  const health = healthOf(analyzer);
  const held = Boolean(analyzer.override) || (analyzer.held_down ?? health === "down");
  const { p50, p99 } = asObject(analyzer.delivery_ms);
  showState(row.querySelector(".state"), health, name);
  showShare(row, analyzer, longest);
  showMinute(row, id, analyzer);
  fill(row, { id, name, override: overrideOf(analyzer), processed: count(analyzer.processed_count), errors: count(analyzer.error_count) });
  fill(row, { delivery: isNumber(p50) ? `${milliseconds(p50)} / ${milliseconds(p99)}` : "–" });
  fill(row, { queued: count(analyzer.queued), in_flight: count(analyzer.in_flight), last_error: text(analyzer.last_error) });
  for (const cut of ["last_error", "override"]) titled(row.querySelector(`[data-value="${cut}"]`));
  label(row.querySelector(".hold"), held ? "Put back" : "Hold down", name);
  label(row.querySelector(".more"), "Change…", name);
  row.querySelector(".hold").onclick = ({ target }) => turn(target, id, held);
  row.querySelector(".more").onclick = () => openControl(id, analyzers, describe(health, analyzer));
}

/** One line is seen of it; the pointer shows all. */
function titled(node) {
  if (node.title !== node.textContent) node.title = node.textContent;
}

function describe(health, { url, target_share: target, group, tier, weight, concurrency, batch_packets: batch }) {
  const part = `${share(target)} of group ${text(group)}, tier ${tier ?? "–"}, weight ${isNumber(weight) ? weight : "–"}`;
  return `${health}; ${part}; up to ${count(batch)} packets a delivery, ${count(concurrency)} at a time; ${text(url)}`;
}

// Groups

const orderOf = ({ group, tier }) => [String(group ?? ""), isNumber(tier) ? tier : 0];

/** [group, tier, ids] in the order in which they are shown: that of the service, by group and tier. */
function sectionsOf(analyzers) {
  const sections = new Map();
  for (const [id, analyzer] of Object.entries(analyzers)) {
    const [group, tier] = orderOf(asObject(analyzer));
    const key = JSON.stringify([group, tier]);
    if (!sections.has(key)) sections.set(key, [group, tier, []]);
    sections.get(key)[2].push(id);
  }
  const groups = [...new Set([...sections.values()].map(([group]) => group))];
  return [...sections.values()].sort((a, b) => groups.indexOf(a[0]) - groups.indexOf(b[0]) || a[1] - b[1]);
}

function showGroup(row, [group, tier, ids], sections, isUp) {
  const up = ids.filter(isUp).length;
  const serving = sections.find((section) => section[0] === group && section[2].some(isUp));
  const standing = !serving ? "nobody is up, packets wait" : serving[1] === tier ? "gets the packets" : serving[1] < tier ? "in reserve" : "down";
  const tiers = sections.filter((section) => section[0] === group).length;
  fill(row, { group, standing: `${tiers > 1 ? `tier ${tier}, ` : ""}${up} of ${ids.length} up, ${standing}` });
}

export function showAnalyzers(analyzers) {
  measureShares(analyzers);
  const known = Object.values(analyzers).map(asObject);
  const isUp = (id) => asObject(analyzers[id]).is_healthy === true;
  const longest = 1.1 * Math.max(0.01, ...known.flatMap(({ share: part, target_share: target }) => [part, target]).filter(isNumber));
  const sections = sectionsOf(analyzers);
  const rows = sections.flatMap((section) => [...(sections.length > 1 ? [{ section }] : []), ...section[2].map((id) => ({ id }))]);
  const keys = rows.map(({ section, id }) => (section ? `group ${section[1]} ${section[0]}` : `analyzer ${id}`));
  const nodes = arrange(byId("analyzers"), keys, (i) => clone(rows[i].section ? "group-row" : "analyzer-row"));
  rows.forEach(({ section, id }, i) => (section ? showGroup(nodes[i], section, sections, isUp) : showAnalyzer(nodes[i], id, analyzers, longest)));
  write(byId("up"), `${Object.keys(analyzers).filter(isUp).length} of ${known.length} up`);
  offerGroups([...new Set(sections.map(([group]) => group))].filter(Boolean));
}
