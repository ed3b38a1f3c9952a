// The browser's side of the chat demo: one SockJS session, a choice of transport, rooms, people, and a log of frames.

const ENDPOINT = new URL("chat", document.baseURI).href;

const RETRY_FIRST = 500; // ms before the first new try: a restarted server is usually back by then
const RETRY_LONGEST = 20_000; // ms: an hour without a server costs it 240 requests
const STEADY = 5_000; // ms a connection must hold before the next loss counts as the first one again
const OPEN_WITHIN = 5_000; // ms for a chosen transport to open; `auto` has sockjs-client's own, shorter limits
const ALL_FAILED = 2000; // sockjs-client's close code for: the server answers, but no transport that was allowed works
const TYPING_EVERY = 2_000; // ms between two "still typing"
const TYPING_LASTS = 4_000; // ms after which someone's "typing" is taken as over
const SAME_BREATH = 300_000; // ms within which one person's messages stand under one name
const MESSAGES_SHOWN = 300; // older ones leave the page
const FRAMES_SHOWN = 400; // older ones leave the log
const FRAME_CHARS = 2_000; // of one frame in the log: a history of 50 long messages is 100 KB
const PULSES = 12; // on the wire at once
const WAITING = 50; // own messages that may wait for a connection
const ERROR_LASTS = 8_000; // ms

const HOME = "lobby"; // a room that is always there

// Every transport of sockjs-client 1.6.1, in the order in which it tries them: its name, how it is drawn (see .line in
// chat.css), what it does, and why it may be missing.
const TRANSPORTS = [
  ["auto", "none", "the best one that works here"],
  ["websocket", "socket", "one socket, both ways", "not in this browser, or not on the server"],
  ["xhr-streaming", "stream", "one long response, a POST per send", "this browser cannot read an unfinished response"],
  ["xdr-streaming", "stream", "the same for old Internet Explorers", "only Internet Explorer 8 and 9"],
  ["eventsource", "stream", "server-sent events, a POST per send", "this browser has no EventSource"],
  ["iframe-eventsource", "stream", "the same, inside a hidden frame", "this browser has no EventSource"],
  ["htmlfile", "stream", "an endless page of script tags", "only on the server's own pages"],
  ["iframe-htmlfile", "stream", "the same, inside a hidden frame", "this browser has no postMessage"],
  ["xhr-polling", "poll", "one request per batch", "this browser has no XMLHttpRequest"],
  ["xdr-polling", "poll", "the same for old Internet Explorers", "only Internet Explorer 8 and 9"],
  ["iframe-xhr-polling", "poll", "the same, inside a hidden frame", "this browser has no postMessage"],
  ["jsonp-polling", "poll", "script tags and a form, works anywhere", "this page has no document"],
];
const KIND = Object.fromEntries(TRANSPORTS);
const DRAWN = { ...KIND, "websocket-raw": "socket" }; // and what only others use

const CALM = "Amber Brisk Calm Clever Dusky Early Gentle Hazel Kind Lively Mellow Quiet Sunny Tidy Witty".split(" ");
const WILD = "Badger Crane Finch Hare Heron Lynx Marten Newt Otter Plover Robin Stoat Swift Vole Wren".split(" ");

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
const page = document.documentElement;
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const bytes = (text) => new TextEncoder().encode(text).length;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const count = new Intl.NumberFormat();

/** Make an element with a class and a text; never markup, so what others write stays text. */
function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

/** Read or write what is remembered; a browser that forbids storage gets a chat without a memory. */
function remember(store, key, value) {
  try {
    const box = store === "tab" ? sessionStorage : localStorage;
    if (value !== undefined) box.setItem(`hybridws-chat-${key}`, value);
    return box.getItem(`hybridws-chat-${key}`);
  } catch {
    return value ?? null;
  }
}

// ---- Who I am: the name is the browser's, the key is the tab's, so that two tabs are two people.

const friendly = () => `${pick(CALM)} ${pick(WILD)}`;
const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (number) => number.toString(36)).join("");
const key = remember("tab", "key") ?? randomKey();
remember("tab", "key", key);

const me = { id: "", name: remember("tab", "name") ?? remember("browser", "name") ?? friendly() };

/** Take a name. Only one that was chosen is remembered beyond this tab, so that two fresh tabs get two names. */
function rename(name) {
  me.name = name.trim().replace(/\s+/g, " ") || friendly();
  $("name").value = me.name;
  remember("tab", "name", me.name);
}

// ---- The session: opens, closes, comes back.

let sock = null; // the SockJS object in use
let joined = false; // the server has answered our join, and told what was said before
let failures = 0; // tries in a row that brought no steady connection
let retryAt = 0; // when the next try is due (ms of performance.now), 0 for none
let openedAt = 0;
let unfit = false; // the server answers, but the chosen transport does not get through
let chosen = new URLSearchParams(location.search).get("transport") ?? remember("tab", "transport") ?? "auto";
if (!Object.hasOwn(KIND, chosen)) chosen = "auto";

function connect() {
  retryAt = 0;
  joined = false;
  show("connecting");
  // The frame of htmlfile sets its document.domain; then Firefox lets it reach this page only if that is set here too.
  if (chosen === "htmlfile") document.domain = document.domain; // eslint-disable-line no-self-assign
  const forced = chosen === "auto" ? {} : { transports: [chosen], timeout: OPEN_WITHIN };
  const mine = new SockJS(ENDPOINT, null, forced);
  sock = mine;
  tapFrames(mine);
  mine.onopen = () => {
    openedAt = performance.now();
    unfit = false;
    note(`open, ${mine.transport}`);
    show("open");
    join();
    askTransports();
  };
  mine.onmessage = (event) => receive(JSON.parse(event.data));
  mine.onclose = (event) => {
    note(`closed, ${event.code} ${event.reason}`);
    unfit = chosen !== "auto" && event.code === ALL_FAILED;
    retry();
  };
}

/** Wait, longer each time and never quite as long as everyone else, then try again. */
function retry() {
  sock = null;
  joined = false;
  if (openedAt && performance.now() - openedAt >= STEADY) failures = 0;
  openedAt = 0;
  const longest = Math.min(RETRY_LONGEST, RETRY_FIRST * 2 ** failures);
  failures += 1;
  retryAt = performance.now() + longest * (0.5 + Math.random() / 2);
  show("closed");
}

/** Drop the session and open another, over the transport that is chosen now. */
function reconnect() {
  if (sock) {
    sock.onopen = sock.onmessage = sock.onclose = null;
    sock.close(1000, "Changing the transport");
  }
  failures = 0;
  openedAt = 0;
  unfit = false;
  connect();
}

function tryNow() {
  if (retryAt) connect();
}

function send(message) {
  if (page.dataset.state !== "open") return;
  const text = JSON.stringify(message);
  frame("out", JSON.stringify([text]));
  sock.send(text);
}

/** Show each frame as it is on the wire. sockjs-client has no event for that, but our copy of it is pinned. */
function tapFrames(socket) {
  const take = socket._transportMessage;
  socket._transportMessage = function (text) {
    frame("in", text);
    take.call(this, text);
  };
}

/** Ask sockjs-client which transports it would try here: the list is seen only when it starts to connect. */
let asked = false;
function askTransports() {
  if (asked) return;
  asked = true;
  const probe = new SockJS(ENDPOINT);
  probe._connect = function () {
    drawTransports(this._transports.map((transport) => transport.transportName));
    this.close();
  };
}

// ---- What is shown of the connection.

function show(state) {
  const transport = state === "open" ? sock.transport : "";
  page.dataset.state = state;
  page.dataset.transport = transport;
  if (state !== "open") page.dataset.server = "";
  const label = { connecting: "connecting", open: transport, closed: "offline" }[state];
  $("badge-text").textContent = label;
  $("client-says").textContent = transport || "–";
  $("server-says").textContent = page.dataset.server || "–";
  for (const line of [$("strip"), document.querySelector(".badge .line")])
    line.dataset.kind = KIND[transport] ?? "none";

  const calm = state === "open" || (state === "connecting" && failures === 0);
  $("notice").hidden = calm;
  $("retry").hidden = state !== "closed";
  $("automatic").hidden = !unfit;
  const why = unfit ? `${chosen} does not get through here.` : "No connection. Your messages wait here.";
  if ($("notice-text").textContent !== (calm ? "" : why)) $("notice-text").textContent = calm ? "" : why;
  countDown();
}

/** The seconds to the next try; not in the live region, so that a screen reader is not told each of them. */
function countDown() {
  const left = retryAt - performance.now();
  if (retryAt && left <= 0) connect();
  $("notice-wait").textContent = retryAt ? `Trying again in ${Math.ceil(left / 1000)} s` : "Trying…";
}

function drawTransports(enabled) {
  $("transports").replaceChildren(
    ...TRANSPORTS.map(([name, , what, needs]) => {
      const row = make("label");
      const radio = make("input");
      Object.assign(radio, { type: "radio", name: "transport", value: name, checked: name === chosen });
      radio.disabled = name !== "auto" && enabled !== null && !enabled.includes(name);
      const drawing = wireOf(name);
      drawing.hidden = name === "auto";
      row.append(radio, make("span", "name", name), drawing, make("span", "why", radio.disabled ? needs : what));
      return row;
    }),
  );
}

function choose(name) {
  chosen = name;
  remember("tab", "transport", name);
  for (const radio of $("picker").elements.transport) radio.checked = radio.value === name;
  reconnect();
}

// ---- The log of frames, and the pulses on the wire.

const sums = { in: { frames: 0, bytes: 0 }, out: { frames: 0, bytes: 0 } };

function frame(way, text) {
  const size = bytes(text);
  sums[way].frames += 1;
  sums[way].bytes += size;
  $(`sum-${way}`).textContent = `${count.format(sums[way].frames)} · ${amount(sums[way].bytes)}`;
  record(
    way,
    way === "out" ? "↑" : "↓",
    amount(size),
    text.length > FRAME_CHARS ? `${text.slice(0, FRAME_CHARS)}…` : text,
  );
  if ($("strip").childElementCount >= PULSES) return;
  const pulse = make("i", way);
  pulse.addEventListener("animationend", () => pulse.remove());
  $("strip").append(pulse);
}

const note = (text) => record("mark-line", "·", "", text);
const amount = (size) => (size < 10_000 ? `${size} B` : `${Math.round(size / 1024)} KB`);

function record(name, arrow, size, text) {
  const list = $("frame-log");
  const follow = atEnd(list);
  const row = make("li", name);
  const mark = make("span", "arrow", arrow);
  if (name !== "mark-line") mark.setAttribute("aria-label", name);
  row.append(make("span", "time", seconds()), mark, make("span", "size", size), make("span", "text", text));
  list.append(row);
  while (list.childElementCount > FRAMES_SHOWN) list.firstElementChild.remove();
  if (follow) list.scrollTop = list.scrollHeight;
}

/** Seconds and milliseconds: the log spans minutes, and its lines are narrow. */
function seconds() {
  const now = new Date();
  return `${String(now.getSeconds()).padStart(2, "0")}.${String(now.getMilliseconds()).padStart(3, "0")}`;
}

const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 60;

// ---- Rooms and people.

let room = decodeURIComponent(location.hash.slice(1)) || remember("tab", "room") || HOME;
let people = new Map(); // id -> {who, name, transport}
const typists = new Map(); // id -> when it is taken as over (ms of performance.now)

function join() {
  send({ do: "join", room, name: me.name, key });
}

/** Go to another room; until the server agrees we stay where we are. */
function enter(name) {
  $("side").hidePopover();
  if (joined) send({ do: "join", room: name, name: me.name, key });
  else room = name;
}

function drawRooms(rooms) {
  $("rooms").replaceChildren(
    ...rooms.map(({ name, people: here }) => {
      const row = make("li");
      const button = make("button");
      button.append(make("span", "name", name), make("span", "count", here ? String(here) : ""));
      if (here) button.lastElementChild.setAttribute("aria-label", `${here} here`);
      if (name === room) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => enter(name));
      row.append(button);
      return row;
    }),
  );
}

/** Draw a transport: see .line in chat.css. */
function wireOf(transport) {
  const drawing = make("span", "line");
  drawing.dataset.kind = DRAWN[transport] ?? "none";
  drawing.setAttribute("aria-hidden", "true");
  return drawing;
}

function face(id, name) {
  const letters = name.split(" ").map((word) => [...word][0] ?? "");
  const box = make("span", "face", letters.slice(0, 2).join("").toUpperCase());
  const hue = ((parseInt(id.slice(0, 6), 16) || 0) % 12) * 30; // twelve hues can be told apart
  box.style.setProperty("--hue", String(hue));
  box.setAttribute("aria-hidden", "true");
  return box;
}

function drawPeople() {
  const meFirst = ({ who }) => (who === me.id ? 0 : 1);
  const sorted = [...people.values()].sort((a, b) => meFirst(a) - meFirst(b) || a.name.localeCompare(b.name));
  $("people").replaceChildren(
    ...sorted.map(({ who, name, transport }) => {
      const row = make("li");
      const label = make("span", "name", name);
      if (who === me.id) label.append(make("span", "you", " you"));
      row.append(face(who, name), label, make("span", "over", transport), wireOf(transport));
      return row;
    }),
  );
  $("count").textContent = `${people.size === 1 ? "Only you" : `${people.size} people`} here`;
}

function drawTyping() {
  const now = performance.now();
  for (const [id, until] of typists) if (until < now || !people.has(id)) typists.delete(id);
  const names = [...typists.keys()].map((id) => people.get(id).name);
  const text =
    ["", `${names[0]} is typing…`, `${names.join(" and ")} are typing…`][names.length] ?? "Several are typing…";
  if ($("typing").textContent !== text) $("typing").textContent = text;
}

// ---- Messages. Own ones are shown at once and wait, with a tag, until the server has said them to all.

const waiting = new Map(); // tag -> {room, text, row}
let last = null; // what the newest row shows: {who, at}
let unread = 0;
let story = []; // what was said in the room before we came, while it comes in
let storyLength = 0;

function say(text) {
  if (waiting.size >= WAITING) return complain("Too many messages wait for the connection.");
  const tag = Math.random().toString(36).slice(2, 12);
  const row = bubble({ who: me.id, name: me.name, text, at: Date.now() });
  row.classList.add("waiting");
  waiting.set(tag, { room, text, row });
  append(row);
  scrollDown();
  if (joined) send({ do: "say", text, tag });
}

/** Make the row of one message. A person's messages in one breath stand under one name. */
function bubble({ who, name, text, at }) {
  const mine = who === me.id || who === "";
  const row = make("li", mine ? "mine" : "");
  const more = last !== null && last.who === who && at - last.at < SAME_BREATH;
  const head = make("div", "who");
  const time = make("time", "", clock.format(at));
  time.dateTime = new Date(at).toISOString();
  if (mine) head.append(make("b", "unseen", "You"), time);
  else head.append(make("b", "", name), time);
  if (more) {
    row.classList.add("more");
    head.classList.add("unseen");
  } else if (!mine) {
    row.append(face(who, name));
  }
  row.append(head, make("p", "said", text));
  last = { who, at };
  return row;
}

function append(row) {
  $("log").append(row);
  while ($("log").childElementCount > MESSAGES_SHOWN) $("log").firstElementChild.remove();
  $("empty").hidden = true;
}

function scrollDown() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
  $("newer").hidden = true;
}

function complain(text) {
  $("error").textContent = text;
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => ($("error").textContent = ""), ERROR_LASTS);
}

/** What the server says, by the word in `is`. */
const hear = {
  joined({ room: name, you, transport, people: here, rooms, past }) {
    joined = false;
    room = name;
    me.id = you;
    people = new Map(here.map((person) => [person.who, person]));
    page.dataset.room = name;
    page.dataset.server = transport;
    $("server-says").textContent = transport;
    $("room").textContent = name;
    remember("tab", "room", name);
    history.replaceState(null, "", `${location.pathname}${location.search}#${encodeURIComponent(name)}`);
    drawRooms(rooms);
    drawPeople();
    story = [];
    storyLength = past;
    if (past === 0) retell();
  },

  message(message) {
    const { room: name, who, name: called, text, at, tag } = message;
    if (name !== room) return;
    if (!joined) {
      if (story.push(message) === storyLength) retell();
      return;
    }
    const own = who === me.id ? waiting.get(tag) : undefined;
    typists.delete(who);
    if (own) {
      waiting.delete(tag);
      own.row.classList.remove("waiting");
      return;
    }
    const follow = atEnd($("scroll"));
    append(bubble({ who, name: called, text, at }));
    if (follow) scrollDown();
    else $("newer").hidden = false;
    if (document.hidden) unread += 1;
    drawTitle();
  },

  here(person) {
    people.set(person.who, person);
    drawPeople();
  },

  gone({ who }) {
    people.delete(who);
    drawPeople();
  },

  typing({ who, on }) {
    if (on) typists.set(who, performance.now() + TYPING_LASTS);
    else typists.delete(who);
    drawTyping();
  },

  rooms({ rooms }) {
    drawRooms(rooms);
  },

  error({ text }) {
    complain(text);
    if (joined || room === HOME) return;
    room = HOME; // the room that was asked for is not to be had
    join();
  },
};

function receive(message) {
  if (Object.hasOwn(hear, message.is)) hear[message.is](message);
}

/** Show the story of a room so far, and after it what of ours it does not hold; that is said once more. */
function retell() {
  joined = true;
  $("scroll").setAttribute("aria-live", "off"); // fifty old messages are not news
  $("log").replaceChildren();
  last = null;
  for (const message of story) {
    if (message.who === me.id) waiting.delete(message.tag);
    append(bubble(message));
  }
  for (const [tag, own] of waiting) {
    if (own.room !== room) continue;
    own.row = bubble({ who: me.id, name: me.name, text: own.text, at: Date.now() });
    own.row.classList.add("waiting");
    append(own.row);
    send({ do: "say", text: own.text, tag });
  }
  $("empty").hidden = $("log").childElementCount > 0;
  drawTyping();
  drawTitle();
  scrollDown();
  requestAnimationFrame(() => $("scroll").setAttribute("aria-live", "polite"));
}

function drawTitle() {
  document.title = `${unread ? `(${unread}) ` : ""}# ${room} · hybridws chat`;
}

// ---- What the visitor does.

const text = $("text");
let typingSaid = null; // when we last said so (ms of performance.now); null: that we are not

function typing(on) {
  const now = performance.now();
  if (on ? typingSaid !== null && now - typingSaid < TYPING_EVERY : typingSaid === null) return;
  typingSaid = on ? now : null;
  if (joined) send({ do: "typing", on });
}

text.addEventListener("input", () => {
  typing(text.value.trim() !== "");
  const left = text.maxLength - text.value.length;
  $("left").textContent = left <= 200 ? String(left) : "";
});

text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (said) say(said);
  typingSaid = null; // the message itself says that typing is over
  text.value = $("left").textContent = "";
  text.focus();
});

$("new-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room-name").value.trim();
  $("room-name").value = "";
  if (name) enter(name);
});

function takeName(name) {
  rename(name);
  remember("browser", "name", me.name);
  if (joined) send({ do: "name", name: me.name });
  else join();
}
$("name").addEventListener("change", (event) => takeName(event.target.value));
$("dice").addEventListener("click", () => takeName(friendly()));
$("me").addEventListener("submit", (event) => {
  event.preventDefault();
  $("name").blur(); // brings "change"
});

$("picker").addEventListener("change", (event) => choose(event.target.value));
$("automatic").addEventListener("click", () => choose("auto"));
$("retry").addEventListener("click", tryNow);
$("clear").addEventListener("click", () => $("frame-log").replaceChildren());
$("wrap").addEventListener("change", (event) => $("frame-log").classList.toggle("wrapped", event.target.checked));
$("newer").addEventListener("click", scrollDown);
$("scroll").addEventListener("scroll", () => {
  if (atEnd($("scroll"))) $("newer").hidden = true;
});

$("badge").addEventListener("click", (event) => {
  if (getComputedStyle($("wire")).position === "fixed") return; // a sheet: popovertarget opens it
  event.preventDefault();
  $("picker").querySelector(":checked").focus();
});

addEventListener("online", tryNow);
addEventListener("hashchange", () => {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name && name !== room) enter(name);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  drawTitle();
  tryNow();
});

setInterval(() => {
  if (retryAt) countDown();
  if (typists.size) drawTyping();
}, 250);

rename(me.name);
drawTransports(null);
connect();
