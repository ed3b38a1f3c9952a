// The console: shows what the server tells once a second, and asks for just the rows that are in view.
//
// It is told, as JSON: hello (what does not change), history and pulse (sums), rows (the list's part in view: only what
// has changed), session (all about the inspected one), done and sorry. It asks: view, inspect, send, close.

import { HybridWS } from "./live/hybridws.mjs";
import { life, lines, stack } from "./charts.js";

const ROW = 28; // px: the height of a row, as in console.css
const MARGIN = 12; // rows above and below what is in view, so that scrolling shows no gaps
const POINTS = 120; // looks that charts show
const AGAIN = 1500; // ms after which an ended session of ours is followed by another
const SURE = 4000; // ms in which a second click closes a session
const NOTICE = 4000; // ms that a notice stands
const FAMILIES = ["sockets", "streams", "polls", "none"];

/** What a cell of a row means: in the list of the living, and of the ended. */
const LIVING = [
  ["name", "User or session"],
  ["mount", "Mount"],
  ["transport", "Transport"],
  ["state", "State"],
  ["address", "Address"],
  ["opened", "Open for"],
  ["in", "In /s"],
  ["out", "Out /s"],
  ["trip", "Round trip"],
  ["waiting", "Waiting"],
];
const ENDED = ["User or session", "Mount", "Last transport", "Ended by", "Why", "Lasted", "In", "Out", "Round trip", "Ended"];
const NUMBERS = new Set([5, 6, 7, 8, 9]); // columns that are numbers

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
const page = document.documentElement;
const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** What is known. */
const view = { ended: false, filter: "", sort: "opened", down: true, first: 0, count: 40 };
let pulse = /** @type {any} */ ({});
let points = /** @type {any[]} */ ([]);
let list = { total: 0, first: 0, ids: /** @type {string[]} */ ([]), rows: new Map() };
let chosen = "";
let story = /** @type {any} */ (null);
let rates = /** @type {number[][]} */ ([[], []]);
let skew = 0; // ms by which the server's clock is ahead of ours

// ── words and numbers ───────────────────────────────────────────────────────────────────────────────────────────────

/** Make an element with a class and a text; never markup, so what clients say of themselves stays text. */
function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

function size(bytes) {
  if (bytes < 1000) return `${whole.format(Math.round(bytes))} B`;
  const step = Math.min(Math.floor(Math.log10(bytes) / 3), 3);
  return `${short.format(bytes / 1000 ** step)} ${["B", "kB", "MB", "GB"][step]}`;
}

function rate(value) {
  return value >= 1000 ? whole.format(Math.round(value)) : short.format(value);
}

function span(ms) {
  const s = Math.max(ms, 0) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${String(Math.floor(s % 60)).padStart(2, "0")}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

function millis(ms) {
  if (ms === null) return "–";
  return ms < 1000 ? `${short.format(ms)} ms` : `${short.format(ms / 1000)} s`;
}

const WHOSE = { local: "application", remote: "client", network: "network" };
const now = () => Date.now() + skew;

/** What some words mean to people; the rest are read as they are. */
const MEANINGS = { client: "the client's own code", application: "the application's own code" };
const words = (text) => MEANINGS[text] ?? text.replaceAll("_", " ").replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();

function family(transport) {
  if (transport.startsWith("websocket")) return "sockets";
  if (["poll", "xhr-polling", "jsonp-polling"].includes(transport)) return "polls";
  return transport === "none" ? "none" : "streams";
}

// ── the overview ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Show counts as bars, the largest first. @param {[string, number, string?][]} items */
function bars(id, items, nothing, limit = 6) {
  const sorted = items.filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  const most = Math.max(1, ...sorted.map(([, count]) => count));
  const rows = sorted.slice(0, limit).map(([name, count, kind = ""]) => {
    const row = make("li");
    const bar = make("i", kind);
    bar.style.width = `${(count / most) * 100}%`;
    row.append(bar, make("span", "", name), make("b", "", whole.format(count)));
    row.title = `${name}: ${whole.format(count)}`;
    return row;
  });
  if (sorted.length > limit) rows.push(make("li", "more", `and ${sorted.length - limit} more`));
  $(id).replaceChildren(...(rows.length ? rows : [make("li", "more", nothing)]));
}

function showPulse() {
  const last = points.at(-1);
  if (!last) return;
  const states = pulse.states ?? {};
  $("sessions").textContent = whole.format(pulse.sessions);
  $("states").textContent = ["away", "slow", "new"].filter((word) => states[word]).map((word) => `${whole.format(states[word])} ${word}`).join(" · ");
  $("in").textContent = rate(last.in);
  $("out").textContent = rate(last.out);
  $("bytes").textContent = size(last.bytes);
  $("churn").textContent = `${rate(last.opens)} · ${rate(last.ends)}`;
  $("lag").textContent = millis(last.lag);
  $("waiting").textContent = pulse.waiting ? `${size(pulse.waiting)} unacked` : "nothing unacked";
  const of = (name) => points.map((point) => point[name]);
  const sums = points.map((point) => point.families.reduce((sum, part) => sum + part, 0));
  lines($("chart-sessions"), [sums], { names: ["sockets"] });
  lines($("chart-in"), [of("in")], { floor: 10, names: ["streams"] });
  lines($("chart-out"), [of("out")], { floor: 10, names: ["streams"] });
  lines($("chart-bytes"), [of("bytes")], { floor: 1000, names: ["streams"] });
  lines($("chart-churn"), [of("opens"), of("ends")], { floor: 2, names: ["sockets", "polls"] });
  lines($("chart-lag"), [of("lag")], { floor: 20, names: ["polls"] });
  stack($("chart-families"), points.map(({ families: [none, polls, streams, sockets] }) => [sockets, streams, polls, none]), FAMILIES);
  bars("transports", Object.entries(pulse.transports ?? {}).map(([name, count]) => [name === "none" ? "not attached yet" : name, count, family(name)]), "No session is here.");
  const ends = Object.entries(pulse.ends ?? {});
  $("ends-count").textContent = `${whole.format(ends.reduce((sum, [, count]) => sum + count, 0))} since the start`;
  bars("ends", ends.map(([name, count]) => [words(name), count]), "None has ended yet.");
  const refused = Object.entries(pulse.refused ?? {}).map(([name, count]) => [`refused: ${words(name)}`, count, "polls"]);
  const changes = Object.entries(pulse.changes ?? {}).map(([name, count]) => [words(name), count, name.startsWith("upgrade") ? "sockets" : "streams"]);
  bars("refused", [...refused, ...changes], "Nothing was refused, nobody has changed transports.");
  $("rooms-count").textContent = pulse.roomCount ? whole.format(pulse.roomCount) : "";
  bars("rooms", (pulse.rooms ?? []).map(([mount, name, members]) => [pulse.mounts.length > 1 ? `${mount} ${name}` : name, members, "streams"]), "There are no rooms.");
  $("mounts").replaceChildren(
    ...(pulse.mounts ?? []).map(([name, count, draining]) => {
      const item = make("li", draining ? "draining" : "");
      item.append(make("span", "code", name || "/"), ` ${whole.format(count)}${draining ? " · draining" : ""}`);
      return item;
    }),
  );
  showProcess();
}

let card = /** @type {any} */ (null);

function showProcess() {
  if (!card) return;
  const row = make("tr");
  const facts = [
    `pid ${card.pid} on ${card.host}`,
    `CPU ${Math.round((pulse.cpu ?? 0) * 100)} %`,
    size(pulse.memory ?? 0),
    ...(pulse.descriptors ? [`${whole.format(pulse.descriptors)} descriptors`] : []),
    `up ${span(now() - card.began)}`,
  ];
  row.append(...facts.map((text) => make("td", "", text)));
  row.title = `hybridws ${card.version} · Python ${card.python} · ${card.loop} · ${card.system}`;
  $("processes").replaceChildren(row);
}

// ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────

function showHead() {
  $("table").classList.toggle("ended", view.ended);
  const titles = view.ended ? ENDED.map((title) => ["", title]) : LIVING;
  $("head").replaceChildren(
    ...titles.map(([key, title], column) => {
      const head = make("th", NUMBERS.has(column) ? "number" : "");
      head.scope = "col";
      if (!key) {
        head.textContent = title;
        return head;
      }
      const button = make("button", "", title);
      const sorted = view.sort === key;
      head.setAttribute("aria-sort", sorted ? (view.down ? "descending" : "ascending") : "none");
      button.addEventListener("click", () => {
        view.down = view.sort === key ? !view.down : NUMBERS.has(column);
        view.sort = key;
        showHead();
        $("scroll").scrollTop = 0;
        ask(true);
      });
      head.append(button);
      return head;
    }),
  );
}

/** What each column shows of a row's cells. */
function texts(id, cells) {
  const [name, mount, transport, state, address, opened, came, said, trip, waiting] = cells;
  const middle = [name || id, mount || "/", transport === "none" ? "–" : transport, WHOSE[state] ?? state, address];
  if (view.ended) return [...middle, span(waiting - opened), whole.format(came), whole.format(said), millis(trip), `${span(now() - waiting)} ago`];
  return [...middle, span(now() - opened), came ? rate(came) : "·", said ? rate(said) : "·", millis(trip), waiting ? size(waiting) : "·"];
}

const made = new Map(); // rows of the table, by id

function showRow(id) {
  let row = made.get(id);
  if (!row) {
    row = make("tr");
    row.dataset.id = id;
    for (let column = 0; column < LIVING.length; column++) row.append(make("td", NUMBERS.has(column) ? "number" : ""));
    const button = make("button");
    row.firstChild.append(button);
    made.set(id, row);
  }
  const cells = list.rows.get(id);
  if (cells) {
    texts(id, cells).forEach((text, column) => {
      const cell = row.children[column];
      const holder = column ? cell : cell.firstChild;
      if (holder.textContent !== text) holder.textContent = text;
      if (column === 0) holder.classList.toggle("code", !cells[0]);
      if (column === 4 && view.ended) cell.title = text;
    });
    row.children[2].className = `transport ${family(cells[2])}`;
    row.children[3].className = `state ${cells[3]}`;
  }
  row.setAttribute("aria-selected", String(id === chosen));
  return row;
}

function showList() {
  const body = $("rows");
  const above = make("tr", "space");
  above.style.height = `${list.first * ROW}px`;
  const below = make("tr", "space");
  below.style.height = `${Math.max(list.total - list.first - list.ids.length, 0) * ROW}px`;
  for (const [id, row] of made) if (!list.rows.has(id)) { row.remove(); made.delete(id); }
  const rows = list.ids.map(showRow);
  const there = [...body.children].filter((row) => row.dataset.id);
  if (there.length !== rows.length || there.some((row, index) => row !== rows[index]) || !body.firstChild) {
    const held = document.activeElement?.closest?.("tr[data-id]")?.dataset.id; // keep the focus where it was
    body.replaceChildren(above, ...rows, below);
    if (held && made.has(held)) made.get(held).querySelector("button").focus({ preventScroll: true });
  } else {
    body.firstChild.style.height = above.style.height;
    body.lastChild.style.height = below.style.height;
  }
  $("table").setAttribute("aria-rowcount", String(list.total));
  const what = view.ended ? "that ended last" : "living";
  $("total").textContent = view.filter ? `${whole.format(list.total)} found` : `${whole.format(list.total)} ${what}`;
  $("empty").hidden = list.total > 0;
  $("empty").textContent = view.filter ? `Nothing here matches “${view.filter}”.` : view.ended ? "No session has ended yet." : "No session is here. It will show as soon as one opens.";
}

let asked = "";

/** Ask for what is in view, if that is something else than before. */
function ask(anyway = false) {
  const { scrollTop, clientHeight } = $("scroll");
  view.first = Math.max(Math.floor(scrollTop / ROW) - MARGIN, 0);
  view.count = Math.min(Math.ceil(clientHeight / ROW) + 2 * MARGIN, 200);
  const question = JSON.stringify({ do: "view", ...view });
  if (question === asked && !anyway) return;
  asked = question;
  tell({ do: "view", ...view });
}

function choose(ended) {
  if (view.ended === ended) return;
  Object.assign(view, { ended, sort: "opened", down: true });
  $("tab-live").setAttribute("aria-selected", String(!ended));
  $("tab-ended").setAttribute("aria-selected", String(ended));
  list = { total: 0, first: 0, ids: [], rows: new Map() };
  $("scroll").scrollTop = 0;
  $("total").textContent = "";
  showHead();
  $("rows").replaceChildren();
  made.clear();
  ask(true);
}

// ── one session ─────────────────────────────────────────────────────────────────────────────────────────────────────

function inspect(id) {
  chosen = id;
  story = null;
  rates = [[], []];
  $("story").hidden = !id;
  for (const [other, row] of made) row.setAttribute("aria-selected", String(other === id));
  if (id) $("story-id").textContent = id;
  tell({ do: "inspect", id });
  ask();
}

function showStory() {
  if (!story || story.id !== chosen) return;
  if (story.forgotten) {
    $("story-end").hidden = false;
    $("story-end").textContent = "This session has ended and is no longer remembered (keep_ended).";
    $("acts").hidden = true;
    return;
  }
  const [name, mount, transport, state, address, opened, came, said, trip, waiting] = story.cells;
  const over = story.ended !== undefined;
  $("story-name").textContent = name || "Session";
  $("story-id").textContent = story.id;
  $("story-end").hidden = !over;
  $("acts").hidden = over || card?.readOnly;
  $("story-chart").classList.toggle("hidden", over);
  const until = over ? story.ended : now();
  if (over) {
    const reason = story.reason ? ` (${story.reason})` : "";
    $("story-end").textContent = `Ended with ${story.code}${reason}, by the ${WHOSE[story.by]}${story.by === "network" ? " or a limit" : ""}.`;
  }
  const { packets_in, packets_out, bytes_in, bytes_out, dropped } = story.traffic;
  const facts = [
    ["Mount", mount || "/"],
    ["Speaks", story.codec + (story.subprotocol ? `, ${story.subprotocol}` : "")],
    [over ? "Lasted" : "Open for", span(until - opened)],
    ["Opened", new Date(opened).toLocaleString()],
    ...(over ? [] : [["State", state], ["Address", address]]),
    ["Messages in", `${whole.format(packets_in)} (${size(bytes_in)})`],
    ["Messages out", `${whole.format(packets_out)} (${size(bytes_out)})`],
    ["Round trip", millis(trip)],
    ["Unconfirmed", `${whole.format(story.unconfirmed)}${over ? "" : ` (${size(waiting)})`}`],
    ...(dropped ? [["Dropped", whole.format(dropped)]] : []),
    ...(story.inbox ? [["Not taken", size(story.inbox)]] : []),
    ...(story.origin ? [["Origin", story.origin]] : []),
    ...(story.agent ? [["Agent", story.agent]] : []),
  ];
  $("facts").replaceChildren(...facts.flatMap(([term, fact]) => [make("dt", "", term), make("dd", "", fact)]));
  life($("story-bar"), story.timeline, opened, until, family);
  const stays = story.timeline.map((stay, index) => showStay(stay, story.timeline[index - 1], opened, until)).reverse();
  $("timeline").replaceChildren(...(stays.length ? stays : [make("li", "none", "None has attached.")]));
}

function showStay([name, since, end, reason, attaches], before, opened, until) {
  const item = make("li", family(name));
  const head = make("p");
  head.append(make("b", "", name), make("span", "", `${span((end ?? until) - since)}${attaches > 1 ? ` · ${whole.format(attaches)} requests` : ""}`));
  const gap = since - (before ? (before[2] ?? since) : opened);
  item.append(head, make("p", "why", `${reason ? `left: ${reason}` : "in use"}${gap >= 100 ? ` · came after ${span(gap)} without one` : ""}`));
  item.title = `${new Date(since).toLocaleTimeString()} – ${end ? new Date(end).toLocaleTimeString() : "now"}`;
  return item;
}

function noteRates() {
  if (!story || story.id !== chosen || story.ended !== undefined || story.forgotten) return;
  rates[0] = [...rates[0], story.cells[7]].slice(-POINTS);
  rates[1] = [...rates[1], story.cells[6]].slice(-POINTS);
  lines($("story-chart"), rates, { floor: 5, names: ["sockets", "streams"] });
}

let standing = 0;

function notice(text, bad = false) {
  $("notice").textContent = text;
  $("notice").classList.toggle("bad", bad);
  $("notice").hidden = false;
  clearTimeout(standing);
  standing = setTimeout(() => ($("notice").hidden = true), NOTICE);
}

// ── the wire ────────────────────────────────────────────────────────────────────────────────────────────────────────

const LIVE = new URL("live", location.origin + location.pathname).href; // without a password that the address may hold
const GIVE_UP = [4401, 4403]; // codes after which a new session would not be let in either
let socket = /** @type {HybridWS | null} */ (null);
let leaving = false;

function tell(message) {
  if (socket?.readyState === HybridWS.OPEN) socket.send(message);
}

/** Open a session, and another one whenever it has ended: the server may have started anew. */
function open() {
  const mine = (socket = new HybridWS(LIVE, { json: true, onlost: "reopen" }));
  mine.addEventListener("message", ({ data }) => hear[data.is]?.(data));
  mine.addEventListener("state", ({ state, reason }) => {
    page.dataset.state = state;
    const good = ["open", "transport", "resumed"].includes(state);
    $("link").classList.toggle("lost", !good);
    $("link").textContent = good ? `live over ${mine.transport ?? "…"}` : state === "closed" ? `ended: ${reason || "no reason"}` : `${state}…`;
  });
  mine.addEventListener("close", ({ code }) => {
    if (GIVE_UP.includes(code)) $("link").textContent = "not let in: load the page again";
    else if (!leaving) setTimeout(open, AGAIN);
  });
}

const hear = {
  hello({ process, readOnly }) {
    card = { ...process, readOnly };
    asked = "";
    list = { total: 0, first: 0, ids: [], rows: new Map() };
    ask(true);
    if (chosen) tell({ do: "inspect", id: chosen });
  },
  history({ points: past }) {
    points = past;
  },
  pulse({ is, point, ...changed }) {
    Object.assign(pulse, changed);
    skew = point.at - Date.now();
    points = [...points.filter(({ at }) => at !== point.at), point].slice(-POINTS);
    showPulse();
    list.ids.forEach(showRow);
    noteRates();
    if (story && story.ended === undefined) showStory();
    page.dataset.looks = String(Number(page.dataset.looks ?? 0) + 1);
  },
  rows({ total, first, ended, ids, rows }) {
    if (ended !== undefined && ended !== view.ended) return; // it has been asked for something else meanwhile
    if (total !== undefined) Object.assign(list, { total, first });
    if (ids) {
      list.ids = ids;
      list.rows = new Map(ids.map((id) => [id, rows?.[id] ?? list.rows.get(id)]));
    } else {
      for (const [id, cells] of Object.entries(rows ?? {})) list.rows.set(id, cells);
    }
    showList();
  },
  session(news) {
    story = news;
    showStory();
  },
  done: ({ text }) => notice(text),
  sorry: ({ text }) => notice(text, true),
};

open();
addEventListener("pagehide", () => {
  leaving = true;
  socket?.close();
});
addEventListener("pageshow", ({ persisted }) => {
  leaving = false;
  if (persisted) open();
});

// ── what the operator does ──────────────────────────────────────────────────────────────────────────────────────────

$("scroll").addEventListener("scroll", () => requestAnimationFrame(() => ask()), { passive: true });
new ResizeObserver(() => ask()).observe($("scroll"));
$("tab-live").addEventListener("click", () => choose(false));
$("tab-ended").addEventListener("click", () => choose(true));
let typing = 0;
$("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    view.filter = $("filter").value.trim();
    $("scroll").scrollTop = 0;
    ask();
  }, 120);
});
$("rows").addEventListener("click", ({ target }) => {
  const id = target.closest("tr")?.dataset.id;
  if (id) inspect(id);
});
$("rows").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const next = step && event.target.closest("tr")?.[step];
  if (next?.dataset.id) {
    event.preventDefault();
    next.querySelector("button").focus();
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen && event.target === document.body) inspect("");
  if (event.key === "/" && !event.target.closest("input, textarea")) {
    event.preventDefault();
    $("filter").focus();
  }
});
$("story-shut").addEventListener("click", () => inspect(""));
$("send").addEventListener("submit", (event) => {
  event.preventDefault();
  tell({ do: "send", id: chosen, text: $("send-text").value, json: $("send-json").checked });
});
let sure = 0;
$("close").addEventListener("submit", (event) => {
  event.preventDefault();
  const button = $("close").querySelector("button");
  if (Date.now() > sure) {
    sure = Date.now() + SURE;
    button.textContent = "Really?";
    setTimeout(() => (button.textContent = "Close"), SURE);
    return;
  }
  sure = 0;
  button.textContent = "Close";
  tell({ do: "close", id: chosen, code: Number($("close-code").value), reason: $("close-reason").value });
});
showHead();
