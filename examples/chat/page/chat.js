// Rooms, people and messages: what the page says to the chat, and what it does with the answers.

import { $, make, put, randomName, remember, wireOf } from "./dom.js";
import { append, bubble, face, retell, scrollDown, tick } from "./log.js";
import { me, rename } from "./me.js";
import { MARK, arrived, marked, own, place, shrink } from "./pictures.js";
import { wire } from "./wire.js";

const HOME = "lobby"; // a room that is always there
const TYPING_EVERY = 2000; // ms between two "still typing"
const TYPING_LASTS = 4000; // ms after which someone's "typing" is taken as over
const WAITING = 50; // own messages that may wait for a connection
const ERROR_LASTS = 8000; // ms
const ALONE = "Nobody else is here yet. Open this page in a second tab, say something, and break this tab’s network.";
const TOGETHER = "Nothing has been said yet. Say something, and break this tab’s network while you talk.";

const page = document.documentElement;
let room = decodeURIComponent(location.hash.slice(1)) || remember("tab", "room") || HOME;
let joined = false; // the server has answered our join, and told what was said before
let people = new Map(); // id -> {who, name, transport}
const typists = new Map(); // id -> when it is taken as over (ms of performance.now)
const waiting = new Map(); // tag -> {room, text, bytes, row}: own messages that the room has not said yet
let unread = 0;
let story = []; // what was said in the room before we came, while it comes in
let storyLength = 0;

// ---- Rooms and people.

const join = () => wire.send({ do: "join", room, name: me.name, key: me.key });

/** Go to another room; until the server agrees we stay where we are. */
export function enter(name) {
  if ($("side").matches(":popover-open")) $("side").hidePopover();
  if (joined) wire.send({ do: "join", room: name, name: me.name, key: me.key });
  else room = name;
}

export function takeName(name) {
  rename(name, true);
  if (joined) wire.send({ do: "name", name: me.name });
}

function drawRooms(rooms) {
  $("rooms").replaceChildren(
    ...rooms.map(({ name, people: here }) => {
      const row = make("li");
      const button = make("button");
      button.append(make("span", "name", name), make("span", "count", here ? String(here) : ""));
      if (here) button.append(make("span", "unseen", "here"));
      if (name === room) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => enter(name));
      row.append(button);
      return row;
    }),
  );
}

function drawPeople() {
  const meFirst = ({ who }) => (who === me.id ? 0 : 1);
  const sorted = [...people.values()].sort((a, b) => meFirst(a) - meFirst(b) || a.name.localeCompare(b.name));
  $("people").replaceChildren(
    ...sorted.map(({ who, name, transport }) => {
      const row = make("li");
      const over = `${who === me.id ? "you · " : ""}${transport ?? "away"}`;
      row.append(face(who, name), make("span", "name", name), make("span", "over", over), wireOf(transport));
      return row;
    }),
  );
  put($("empty"), people.size === 1 ? ALONE : TOGETHER);
  put($("count"), `${people.size === 1 ? "Only you" : `${people.size} people`} here`);
}

export function drawTyping() {
  const now = performance.now();
  for (const [id, until] of typists) if (until < now || !people.has(id)) typists.delete(id);
  const names = [...typists.keys()].map((id) => people.get(id).name);
  const texts = ["", `${names[0]} is typing…`, `${names.join(" and ")} are typing…`];
  put($("typing"), texts[names.length] ?? "Several are typing…");
}

function drawTitle() {
  document.title = `${unread ? `(${unread}) ` : ""}# ${room} · hybridws`;
}

export function seen() {
  unread = 0;
  drawTitle();
}

// ---- What is said. Own messages are shown at once; their ticks tell how far they have come.

let typingSaid = null; // when we last said so (ms of performance.now); null: that we are not

export function typing(on) {
  const now = performance.now();
  if (on ? typingSaid !== null && now - typingSaid < TYPING_EVERY : typingSaid === null) return;
  typingSaid = on ? now : null;
  if (joined) wire.send({ do: "typing", on });
}

/** Give an own message to the session, which keeps it until the server has it, whatever the network does. */
function give(tag, { text, bytes, row }) {
  const header = bytes ? { do: "show", text, tag } : { do: "say", text, tag };
  const done = wire.deliver(header);
  const all = bytes && done ? wire.deliver(marked(tag, bytes)) : done;
  all?.then(
    () => tick(waiting.get(tag)?.row ?? row, "acked"),
    () => {}, // the session is lost: it is said again in the next one
  );
  done?.catch(() => {});
}

function mine(text, bytes) {
  if (waiting.size >= WAITING) return complain("Too many messages wait for the connection.");
  const tag = randomName(MARK);
  const message = { room, text, bytes, row: drawOwn(tag, text, bytes) };
  waiting.set(tag, message);
  if (joined) give(tag, message);
  typingSaid = null; // the message itself says that typing is over
  scrollDown();
}

function drawOwn(tag, text, bytes) {
  const picture = bytes && own(tag, bytes, text, scrollDown);
  const row = bubble({ who: me.id, name: me.name, text, at: Date.now(), picture });
  row.classList.add("waiting");
  tick(row, "queued");
  append(row);
  return row;
}

export const say = (text) => mine(text);

/** Say a picture. @param {File} file */
export async function show(file) {
  const bytes = await shrink(file);
  if (bytes) mine(file.name || "a picture", bytes);
  else complain("That is no picture that this browser can read.");
}

export function complain(text) {
  $("error").textContent = text;
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => ($("error").textContent = ""), ERROR_LASTS);
}

// ---- What the server says, by the word in `is`.

/** Make what `bubble` draws of a message, with the place of its picture. */
function drawable(message) {
  const { picture, text } = message;
  return picture ? { ...message, picture: place(picture, text, () => {}) } : message;
}

const hear = {
  joined({ room: name, you, people: here, rooms, past }) {
    joined = false;
    room = name;
    me.id = you;
    people = new Map(here.map((person) => [person.who, person]));
    page.dataset.room = name;
    put($("room"), name);
    remember("tab", "room", name);
    history.replaceState(null, "", `${location.pathname}${location.search}#${encodeURIComponent(name)}`);
    drawRooms(rooms);
    drawPeople();
    story = [];
    storyLength = past;
    if (past === 0) begin();
  },

  message(message) {
    const { room: name, who, tag } = message;
    if (name !== room) return;
    if (!joined) {
      message = drawable(message);
      if (story.push(message) === storyLength) begin();
      return;
    }
    const said = who === me.id ? waiting.get(tag) : undefined;
    typists.delete(who);
    if (said) {
      waiting.delete(tag);
      said.row.classList.remove("waiting");
      tick(said.row, "acked"); // the room has said it, so the server has it
      return;
    }
    const follow = append(bubble(drawable(message)));
    $("newer").hidden = follow;
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

/** Show the story of a room so far, and after it what of ours it does not hold; that is said once more. */
function begin() {
  joined = true;
  for (const { who, tag } of story) if (who === me.id) waiting.delete(tag);
  retell(story);
  for (const [tag, message] of waiting) {
    if (message.room !== room) continue;
    message.row = drawOwn(tag, message.text, message.bytes);
    give(tag, message);
  }
  drawTyping();
  drawTitle();
  scrollDown();
}

wire.on("open", () => {
  joined = false;
  join();
});
wire.on("value", (message) => {
  if (Object.hasOwn(hear, message?.is)) hear[message.is](message);
});
wire.on("bytes", arrived);
wire.on("frame", ({ way, text }) => {
  if (way !== "out" || !wire.session?.transport) return; // what is tried while nothing carries is not sent yet
  for (const [tag, { row }] of waiting) if (text.includes(tag)) tick(row, "sent");
});
wire.on("state", ({ state }) => {
  if (state === "interrupted") for (const { row } of waiting.values()) tick(row, "queued");
});
