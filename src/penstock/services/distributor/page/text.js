// Text: every field of an answer may be absent, or not what it should be.

const TEXT_SHOWN = 2000; // characters of one message or error

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
export const asObject = (value) => (typeof value === "object" && value !== null ? value : {});
export const asList = (value) => (Array.isArray(value) ? value : []);

export const count = (value) => (isNumber(value) ? whole.format(value) : "–");
export const rate = (value) => (isNumber(value) && value < 9.95 ? tenths.format(value) : count(value));
export const percent = (value) => (isNumber(value) ? `${tenths.format(value)} %` : "–");
export const share = (value) => percent(isNumber(value) ? value * 100 : null);
export const text = (value) => (typeof value === "string" && value !== "" ? value.slice(0, TEXT_SHOWN) : "–");
export const plural = (n, noun) => `${count(n)} ${n === 1 ? noun : `${noun}s`}`;
export const timeOfDay = (date) => date.toLocaleTimeString("en-GB");

export function signed(value) {
  const size = isNumber(value) ? tenths.format(Math.abs(value)) : "–";
  return size === "–" || size === "0.0" ? size : `${value < 0 ? "−" : "+"}${size}`;
}

export function bytes(value) {
  if (!isNumber(value)) return "–";
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, Math.abs(value))) / 10));
  return `${power ? rate(value / 1024 ** power) : count(value)} ${UNITS[power]}`;
}

/** A latency or a wait: three digits are enough of any. */
export function milliseconds(value) {
  if (!isNumber(value)) return "–";
  if (value >= 99_950) return duration(value / 1000);
  if (value >= 999.5) return `${tenths.format(value / 1000)} s`;
  return `${value < 9.995 ? value.toFixed(value < 0.995 ? 2 : 1) : count(value)} ms`;
}

export function duration(seconds) {
  const two = (n) => String(Math.floor(n) % 60).padStart(2, "0");
  const days = Math.floor(seconds / 86_400);
  return `${days ? `${days} d ` : ""}${Math.floor(seconds / 3600) % 24}:${two(seconds / 60)}:${two(seconds)}`;
}

export function localTime(stamp) {
  const date = new Date(stamp);
  return Number.isNaN(date.getTime()) ? "–" : date.toLocaleString("sv-SE"); // 2025-01-25 21:30:45
}

/** The same to the millisecond, or only its time of day. */
export function exactTime(stamp, withDate = true) {
  const date = new Date(stamp);
  if (Number.isNaN(date.getTime())) return "–";
  return `${withDate ? date.toLocaleString("sv-SE") : timeOfDay(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
