// What stands in a room: messages with their ticks, pictures, and lines about the wire between them.

import { $, atEnd, make } from "./dom.js";
import { me } from "./me.js";

const SAME_BREATH = 300_000; // ms within which one person's messages stand under one name
const SHOWN = 300; // older rows leave the page
const LINES = 3; // lines about the wire that stand together; older ones are counted
const TICKS = { queued: "Waiting for a connection", sent: "Sent", acked: "The server has it" };

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
let last = null; // what the newest row shows: {who, at}
let folded = 0; // lines about the wire that the newest run has and does not show

/** Draw somebody. */
export function face(id, name) {
  const letters = name.split(" ").map((word) => [...word][0] ?? "");
  const box = make("span", "face", letters.slice(0, 2).join("").toUpperCase());
  const hue = ((parseInt(id.slice(0, 6), 16) || 0) % 12) * 30; // twelve hues can be told apart
  box.style.setProperty("--hue", String(hue));
  box.setAttribute("aria-hidden", "true");
  return box;
}

/** Make the row of one message. A person's messages in one breath stand under one name. */
export function bubble({ who, name, text, at, picture }) {
  const mine = who === me.id || who === "";
  const row = make("li", mine ? "mine" : "");
  const more = last !== null && last.who === who && at - last.at < SAME_BREATH;
  const head = make("div", "who");
  const time = make("time", "", clock.format(at));
  time.dateTime = new Date(at).toISOString();
  head.append(mine ? make("b", "unseen", "You") : make("b", "", name), time);
  if (more) {
    row.classList.add("more");
    head.classList.add("unseen");
  } else if (!mine) row.append(face(who, name));
  const said = make(picture ? "figure" : "p", picture ? "said shown" : "said", picture ? "" : text);
  if (picture) said.append(picture, make("figcaption", "unseen", text));
  row.append(head, said);
  last = { who, at };
  return row;
}

/** Show how far an own message has come: queued, sent or acked. */
export function tick(row, state) {
  if (row.dataset.tick === state || row.dataset.tick === "acked") return;
  row.dataset.tick = state;
  row.querySelector(".ticks")?.remove();
  const mark = make("span", "ticks");
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  icon.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#tick-${state}`);
  icon.append(use);
  mark.append(icon, make("span", "unseen", TICKS[state]));
  mark.title = TICKS[state];
  row.append(mark);
}

/** Put a row below all others, and stay at the end if that was in sight. */
export function append(row, follow = atEnd($("scroll"))) {
  $("log").append(row);
  while ($("log").childElementCount > SHOWN) $("log").firstElementChild.remove();
  if (!row.classList.contains("turn")) $("empty").hidden = true;
  if (follow) scrollDown();
  return follow;
}

/** Say something about the wire, quietly: of a long run only the newest lines are shown. @param {string} text @param {string} over */
export function wireLine(text, over) {
  const row = make("li", "turn", text);
  row.dataset.over = over;
  row.setAttribute("aria-live", "off"); // the badge tells screen readers; this would be a stream of it
  const lines = [];
  for (let one = $("log").lastElementChild; one?.classList.contains("turn"); one = one.previousElementSibling) lines.push(one);
  const shown = lines.filter((one) => !one.classList.contains("fold"));
  if (!lines.length) folded = 0;
  if (shown.length >= LINES) {
    folded++;
    shown.at(-1).remove();
    const fold = lines.find((one) => one.classList.contains("fold")) ?? make("li", "turn fold");
    fold.textContent = folded === 1 ? "1 switch before" : `${folded} switches before`;
    shown.at(-2).before(fold);
  }
  last = null;
  append(row);
}

export function scrollDown() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
  $("newer").hidden = true;
}

/** Begin anew, with the story of a room. @param {any[]} rows what `bubble` takes */
export function retell(rows) {
  $("scroll").setAttribute("aria-live", "off"); // fifty old messages are not news
  $("log").replaceChildren();
  last = null;
  for (const row of rows) append(bubble(row), false);
  $("empty").hidden = rows.length > 0;
  requestAnimationFrame(() => $("scroll").setAttribute("aria-live", "polite"));
}
