// The chart of both rates.

import { byId, write } from "./document.js";
import { WINDOW_MS, samples } from "./rates.js";
import { count, rate, timeOfDay } from "./text.js";

const chart = byId("chart");
const EDGE = { left: 46, right: 6, top: 10, bottom: 22 };
let cursor = null; // the sample that the pointer or the arrow keys chose

function svg(name, attributes, content = "") {
  const node = document.createElementNS(chart.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = content;
  return node;
}

/** The next round number, at least 10: an axis that rarely moves. */
function roundUp(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return decade * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * decade >= value);
}

function plotArea() {
  const right = chart.clientWidth - EDGE.right;
  const bottom = chart.clientHeight - EDGE.bottom;
  const top = roundUp(Math.max(10, ...samples.flatMap(({ accepted, delivered }) => [accepted, delivered])));
  const now = performance.now();
  const x = (age) => right - (age / WINDOW_MS) * (right - EDGE.left);
  return { right, bottom, top, x, at: (sample) => x(now - sample.at).toFixed(1), y: (value) => bottom - (value / top) * (bottom - EDGE.top) };
}

function drawGrid({ right, bottom, top, x, y }) {
  const lines = [0, 1, 2, 3, 4].flatMap((quarter) => {
    const at = Math.round(y((quarter / 4) * top)) + 0.5;
    const label = quarter % 2 ? "" : count((quarter / 4) * top);
    return [svg("line", { x1: EDGE.left, x2: right, y1: at, y2: at }), svg("text", { x: EDGE.left - 8, y: at + 4, "text-anchor": "end" }, label)];
  });
  const minutes = ["now", "−1", "−2", "−3", "−4", "−5 min"].map((label, minute) =>
    svg("text", { x: x(minute * 60_000), y: bottom + 17, "text-anchor": ["end", , , , , "start"][minute] ?? "middle" }, label));
  byId("grid").replaceChildren(...lines, ...minutes);
}

/** Runs of samples that know their rate: a line breaks where the service was away. */
function runs(name) {
  const found = [[]];
  for (const sample of samples) sample[name] === null ? found.push([]) : found.at(-1).push(sample);
  return found.filter((run) => run.length);
}

export function drawChart() {
  const area = plotArea();
  const line = (name) => (run) => `M${run.map((sample) => `${area.at(sample)},${area.y(sample[name]).toFixed(1)}`).join("L")}`;
  const filled = (run) => `${line("accepted")(run)}V${area.bottom}H${area.at(run[0])}Z`;
  const upright = (sample) => `M${area.at(sample)},${EDGE.top}V${area.bottom}`;
  const draw = (id, paths) => byId(id).setAttribute("d", paths.join(""));
  drawGrid(area);
  draw("area", runs("accepted").map(filled));
  draw("accepted", runs("accepted").map(line("accepted")));
  draw("delivered", runs("delivered").map(line("delivered")));
  draw("restarts", samples.filter((sample) => sample.restarted).map(upright));
  draw("cursor", samples.filter((sample) => sample === cursor).map(upright));
  showReading(samples.includes(cursor) ? cursor : null);
}

function reading({ date, accepted, delivered, restarted }) {
  if (restarted) return `${timeOfDay(date)}  restarted`;
  if (accepted === null) return `${timeOfDay(date)}  no reading`;
  return `${timeOfDay(date)}  accepted ${rate(accepted)}/s  delivered ${rate(delivered)}/s`;
}

function showReading(chosen) {
  const sample = chosen ?? samples.at(-1);
  write(byId("readout"), chosen ? reading(chosen) : "");
  if (!sample) return;
  chart.setAttribute("aria-valuenow", Math.round((sample.at - performance.now()) / 1000));
  chart.setAttribute("aria-valuetext", reading(sample));
}

function moveCursor(sample) {
  cursor = sample;
  drawChart();
}

function cursorToPointer(event) {
  const area = plotArea();
  const x = event.clientX - chart.getBoundingClientRect().left;
  const distance = (sample) => Math.abs(area.at(sample) - x);
  moveCursor(samples.reduce((best, sample) => (best && distance(best) < distance(sample) ? best : sample), null));
}

function cursorByKey(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const from = samples.includes(cursor) ? samples.indexOf(cursor) : samples.length - 1;
  moveCursor(samples[Math.min(Math.max(from + step, 0), samples.length - 1)]);
}

chart.addEventListener("pointermove", cursorToPointer);
chart.addEventListener("pointerleave", () => moveCursor(null));
chart.addEventListener("blur", () => moveCursor(null));
chart.addEventListener("keydown", cursorByKey);
new ResizeObserver(drawChart).observe(chart);
