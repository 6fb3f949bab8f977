// Where records come in, and the other nodes of a fleet.

import { arrange, byId, clone, fill, write } from "./document.js";
import { asObject, count, duration, isNumber, plural, rate } from "./text.js";

const FIGURES = ["received", "stored", "refused", "dropped", "lost", "connections"];

let before = { at: 0, received: new Map() };
let ratesNow = new Map();

/** Records a second of every input, over the service's clock. */
function measureInputs(inputs, uptime) {
  const at = isNumber(uptime) ? uptime : performance.now() / 1000;
  const seconds = at - before.at;
  if (seconds >= 0 && seconds < 0.5) return;
  const received = new Map(Object.entries(inputs).map(([id, figures]) => [id, asObject(figures).received]));
  ratesNow = new Map([...received].map(([id, now]) => [id, (now - before.received.get(id)) / seconds]));
  before = { at, received };
}

export function showInputs(stats) {
  const inputs = asObject(stats.inputs);
  const ids = Object.keys(inputs);
  measureInputs(inputs, stats.uptime_seconds);
  const rows = arrange(byId("inputs"), ids, () => clone("input-row"));
  rows.forEach((row, i) => {
    const figures = asObject(inputs[ids[i]]);
    const gained = ratesNow.get(ids[i]);
    fill(row, { input: ids[i], rate: rate(gained >= 0 ? gained : null) });
    fill(row, Object.fromEntries(FIGURES.map((name) => [name, count(figures[name])])));
    for (const name of ["refused", "dropped", "lost"]) row.querySelector(`[data-value="${name}"]`).classList.toggle("bad", figures[name] > 0);
  });
  byId("inputs-table").hidden = !ids.length;
  write(byId("inputs-note"), ids.length ? count(ids.length) : "none but the REST API");
}

/** The nodes that share one queue, when there are several. */
export function showNodes(stats) {
  const nodes = asObject(asObject(stats.fleet).nodes);
  const names = Object.keys(nodes);
  byId("nodes-section").hidden = !names.length;
  write(byId("nodes-note"), plural(names.length, "node"));
  arrange(byId("nodes"), names, () => clone("node-row")).forEach((row, i) => {
    const { seen_seconds_ago: seen, stopped, accepted, delivered, dead, pending } = asObject(nodes[names[i]]);
    fill(row, { node: names[i], seen: seenAt(seen, stopped) });
    fill(row, { accepted: count(accepted), delivered: count(delivered), dead: count(dead), pending: count(pending) });
    row.querySelector('[data-value="seen"]').classList.toggle("bad", seen >= 30 && stopped !== true);
  });
}

function seenAt(seconds, stopped) {
  if (!isNumber(seconds)) return "–";
  const when = seconds < 5 ? "now" : `${duration(seconds)} ago`;
  return stopped === true ? `stopped ${when}` : when;
}
