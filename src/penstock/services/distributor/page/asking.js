// HTTP: questions to the service, with the API key when it wants one.

import { byId, sheet, write } from "./document.js";
import { asObject } from "./text.js";

const TIMEOUT_MS = 4000;
const KEY = "penstock-api-key"; // in sessionStorage: this tab only, gone with it

let key = readKey();

function readKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // storage is forbidden; then the key is known until the page is left
  }
}

function keepKey(shown) {
  key = shown;
  try {
    if (shown) sessionStorage.setItem(KEY, shown);
    else sessionStorage.removeItem(KEY);
  } catch {
    /* as above */
  }
  byId("key-button").hidden = !shown;
}

/** Asks the service; `path` is relative, as the page may stand below a path of a proxy. */
export async function send(path, { headers, ...options } = {}) {
  const response = await fetch(path, { cache: "no-store", headers: { ...(key && { Authorization: `Bearer ${key}` }), ...headers }, ...options });
  if (response.ok) return response;
  const error = new Error(await problem(response));
  error.status = response.status;
  if (error.status === 401) wantKey(key ? "The service does not take this key." : "The service wants an API key. It is kept in this tab only.");
  throw error;
}

export async function ask(path, { readHeaders, timeout = TIMEOUT_MS, ...options } = {}) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new Error(`no answer in ${timeout / 1000} s`)), timeout);
  try {
    const response = await send(path, { signal: limit.signal, ...options });
    readHeaders?.(response.headers);
    return response.status === 204 ? null : await response.json();
  } finally {
    clearTimeout(timer);
  }
}

/** Asks for a change; the service takes JSON only. */
export function tell(method, path, body, options = {}) {
  return ask(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...options });
}

/** What an RFC 9457 answer says, or at least its status. */
async function problem(response) {
  const { title, detail } = asObject(await response.json().catch(() => null));
  const said = [title, detail].filter((part) => typeof part === "string" && part).join(": ") || `HTTP ${response.status}`;
  return response.status === 403 ? `${said} (“API key” above takes another one)` : said;
}

// The form for the key

/** Asks for another key than one that may not read: with it, there is nothing to show. */
export const wantReadingKey = () => wantKey("This key may not read: it is one for sending. The page wants one with may_read.");

/** Shows the form, once for each key that is not taken. */
function wantKey(why) {
  write(byId("key-note"), why);
  if (!byId("key").hidden) return;
  openKeyForm();
}

function openKeyForm() {
  byId("key").hidden = false;
  byId("key-forget").hidden = !key;
  byId("key-field").value = "";
  byId("key-field").focus();
}

/** Makes the form work; `again` asks the service with what was said. */
export function takeKeys(again) {
  byId("key-button").hidden = !key;
  byId("key-button").addEventListener("click", () => {
    write(byId("key-note"), "A key is in use. Another one takes its place.");
    if (byId("key").hidden) openKeyForm();
    else byId("key").hidden = true;
  });
  const use = (shown) => {
    keepKey(shown);
    byId("key").hidden = true;
    again();
  };
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    use(byId("key-field").value.trim());
  });
  byId("key-forget").addEventListener("click", () => use(null));
}

export const isLocked = () => sheet.dataset.state === "key wanted";
