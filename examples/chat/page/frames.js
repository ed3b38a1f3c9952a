// The log of frames: direction, transport, size, numbers; a filter; each may be copied as curl.

import { $, amount, atEnd, make, put } from "./dom.js";
import { wire } from "./wire.js";

const KEPT = 500; // frames in memory
const SHOWN = 200; // rows on the page
const CHARS = 120; // of a frame in its row
const DRAW = 150; // ms between two drawings

/** @type {any[]} */
const frames = [];
let drawn = 0; // frames that came before the next drawing
let total = 0;
let held = false; // the log stands still while somebody reads in it

/** Quote for a shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The newest attach that was seen: what a request of the session must begin with. @type {any[] | null} */
let attach = null;

/** Say what a frame says with curl. What came down is asked for again; what went up on a WebSocket goes up as a POST. */
function asCurl({ way, kind, url, text }) {
  const post = (address, body) => `curl -sS -N ${quoted(address)} --data-binary $${quoted(escaped(body))}`;
  if (kind !== "websocket") {
    const request = way === "out" ? text : (frames.findLast((frame) => frame.way === "out" && frame.url === url)?.text ?? "");
    return post(new URL(url, location.href).href, request);
  }
  const send = url.replace(/^ws/, "http").replace("/v1/websocket", `/v1/${attach?.[1]}/send`);
  const head = JSON.stringify(["@", attach?.[1], attach?.[2], 0, attach?.[4] ?? 0]);
  return post(send, text.startsWith('["@"') || way === "in" ? head : `${head}\n${text}`);
}

/** Write what $'…' of a shell reads. */
const escaped = (text) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");

function matches(frame, words, way) {
  if (way && frame.way !== way) return false;
  const all = `${frame.over} ${frame.first ? `#${frame.first}` : ""} ${frame.text}`.toLowerCase();
  return words.every((word) => all.includes(word));
}

const clock = (at) => new Date(at).toISOString().slice(17, 23);

function rowOf(frame) {
  const row = make("li", frame.way);
  const arrow = make("span", "arrow", frame.way === "out" ? "↑" : "↓");
  arrow.setAttribute("aria-label", frame.way === "out" ? "up" : "down");
  arrow.setAttribute("role", "img");
  const numbers = frame.first ? `#${frame.first}${frame.last > frame.first ? `–${frame.last}` : ""}` : "";
  const whole = make("details");
  const head = make("summary");
  head.append(
    make("span", "time", clock(frame.at)),
    arrow,
    make("span", `via via-${frame.over}`, frame.over),
    make("span", "number", numbers),
    make("span", "size", amount(frame.size)),
    make("span", "text", frame.text.slice(0, CHARS)),
  );
  whole.append(head);
  whole.addEventListener("toggle", () => whole.open && !whole.lastElementChild.matches(".whole") && whole.append(wholeOf(frame)));
  row.append(whole);
  return row;
}

/** Show all of a frame, with a button that copies it. */
function wholeOf(frame) {
  const box = make("div", "whole");
  const copy = make("button", "chip", "Copy as curl");
  copy.addEventListener("click", async () => {
    const done = await navigator.clipboard.writeText(asCurl(frame)).then(
      () => "Copied",
      () => "The browser does not allow it",
    );
    put(copy, done);
    setTimeout(() => put(copy, "Copy as curl"), 1500);
  });
  box.append(make("pre", "", frame.text), copy);
  return box;
}

function draw(all = false) {
  const list = $("frame-log");
  if ($("frames-panel").hidden || (held && !all)) return;
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const way = $("way").value;
  const fresh = all ? frames : frames.slice(Math.max(frames.length - drawn, 0));
  drawn = 0;
  const rows = fresh.filter((frame) => matches(frame, words, way)).slice(-SHOWN);
  const follow = all || atEnd(list);
  if (all) list.replaceChildren();
  list.append(...rows.map(rowOf));
  while (list.childElementCount > SHOWN) list.firstElementChild.remove();
  if (follow) list.scrollTop = list.scrollHeight;
  put($("frames-says"), `${total} frames`);
}

wire.on("frame", (frame) => {
  total++;
  drawn++;
  frames.push(frame);
  if (frames.length > KEPT) frames.shift();
  if (frame.way === "out" && frame.text.startsWith('["@"')) attach = JSON.parse(frame.text.split("\n")[0]);
});

export const redraw = () => draw(true);

$("filter").addEventListener("input", redraw);
$("way").addEventListener("change", redraw);
$("hold").addEventListener("change", ({ target }) => {
  held = target.checked;
  if (!held) redraw();
});
$("clear").addEventListener("click", () => {
  frames.length = 0;
  redraw();
});
setInterval(draw, DRAW);
