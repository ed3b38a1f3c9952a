// Small things that every part of the page needs.

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** Make an element with a class and a text; never markup, so what others write stays text. */
export function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

/** Show a text, and touch nothing where it is shown already: screen readers would read it again. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Read or write what is remembered; a browser that forbids storage gets a page without a memory. */
export function remember(store, key, value) {
  try {
    const box = store === "tab" ? sessionStorage : localStorage;
    if (value !== undefined) box.setItem(`hybridws-demo-${key}`, value);
    return box.getItem(`hybridws-demo-${key}`);
  } catch {
    return value ?? null;
  }
}

export const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** Make a name of so many letters and digits. */
export const randomName = (size) =>
  Array.from(crypto.getRandomValues(new Uint8Array(size)), (byte) => (byte % 36).toString(36)).join("");

const whole = new Intl.NumberFormat("en");
export const count = (number) => whole.format(number);

/** Say a size in few characters. */
export const amount = (bytes) =>
  bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${(bytes / 1000).toPrecision(3)} KB` : `${(bytes / 1e6).toPrecision(3)} MB`;

/** Say a time in few characters. */
export const duration = (ms) => (ms < 1000 ? `${Math.max(Math.round(ms), 1)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`);

/** Tell whether a box is scrolled to its end. */
export const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 60;

export const KINDS = { websocket: "socket", "websocket-raw": "socket", stream: "stream", poll: "poll" };

/** Draw a transport: see .line in base.css. */
export function wireOf(transport) {
  const drawing = make("span", "line");
  drawing.dataset.kind = KINDS[transport] ?? "none";
  drawing.setAttribute("aria-hidden", "true");
  return drawing;
}
