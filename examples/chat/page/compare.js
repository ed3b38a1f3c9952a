// The comparison: one probe over hybridws, Socket.IO and SockJS, each through a port of its own of this tab's network.
//
// Each is used as its documentation shows, with its defaults. A number is said only while the library calls itself
// connected, so that what it never took is not held against it; what it took and did not bring is lost.

import { HybridWS } from "/chat/hybridws.mjs";
import { $, count, duration, make, put, randomName } from "./dom.js";
import { drawLane } from "./lanes.js";
import { Tally } from "./tally.js";
import { wire } from "./wire.js";

const EVERY = 50; // ms between two numbers, either way: see compare/ours.py
const DRAW = 250; // ms between two drawings
const AGAIN = 1000; // ms until another connection, where the library makes none by itself
const STEP = 250; // ms of a step in a lane
const STEPS = 120; // of them are shown: half a minute

const ROWS = {
  over: "carried by",
  sent: "sent",
  arrived: "arrived",
  "up-lost": "lost ↑",
  "down-lost": "lost ↓",
  twice: "twice",
  late: "disorder",
  gap: "longest gap",
  reconnects: "reconnects",
};
const FAULTS = new Set(["up-lost", "down-lost", "twice", "late"]);

/**
 * How each library is used. `ears` are called when it is open (again), with what came, and at an end after which it makes
 * no new connection by itself.
 * @type {Record<string, (url: string, ears: {opened: () => void, heard: (value: any) => void, closed: () => void}) => any>}
 */
const PEERS = {
  hybridws(url, { opened, heard, closed }) {
    const session = new HybridWS(url, { json: true });
    session.onstate = ({ state }) => (state === "open" || state === "resumed") && opened();
    session.onmessage = ({ data }) => heard(data);
    session.onclose = closed;
    return {
      say: (value) => session.send(value),
      connected: () => session.readyState === 1,
      transport: () => session.transport,
      close: () => session.close(),
    };
  },

  socketio(url, { opened, heard }) {
    const socket = libraries.io(url);
    socket.on("connect", opened);
    socket.on("message", heard);
    return {
      say: (value) => socket.emit("message", value),
      connected: () => socket.connected,
      transport: () => (socket.connected ? socket.io.engine.transport.name : null),
      close: () => socket.disconnect(),
    };
  },

  sockjs(url, { opened, heard, closed }) {
    const socket = new libraries.SockJS(`${url}/sockjs`);
    socket.onopen = opened;
    socket.onmessage = ({ data }) => heard(JSON.parse(data));
    socket.onclose = closed;
    return {
      say: (value) => socket.send(JSON.stringify(value)),
      connected: () => socket.readyState === 1,
      transport: () => (socket.readyState === 1 ? socket.transport : null),
      close: () => socket.close(),
    };
  },
};

/** The others' clients, once they are loaded. @type {any} */
let libraries = null;

/** One library under the faults, and what was counted of it. */
class Column {
  down = new Tally();
  up = { came: 0, lost: 0, twice: 0, late: 0 }; // as the server told last
  sent = 0;
  opens = 0;
  longest = 0;
  lane = [0]; // how many came in each step, the newest last
  #key = randomName(16);
  #heard = 0; // when the last one came (ms of performance.now); 0: none has
  #again = 0;
  #ended = false;

  constructor(name, url) {
    this.name = name;
    this.url = url;
    this.#open();
    this.timers = [setInterval(() => this.#say(), EVERY), setInterval(() => this.#step(), STEP)];
  }

  #open() {
    this.link = PEERS[this.name](this.url, {
      opened: () => this.opens++,
      heard: (value) => this.#hear(value),
      closed: () => this.#ended || (this.#again = setTimeout(() => this.#open(), AGAIN)),
    });
  }

  #say() {
    if (this.link.connected()) this.link.say({ key: this.#key, n: ++this.sent });
  }

  #hear({ n, up }) {
    const now = performance.now();
    this.longest = this.gap(now);
    this.#heard = now;
    this.down.take(n);
    if (up.came >= this.up.came) this.up = up; // what comes late tells old numbers
    this.lane[this.lane.length - 1]++;
  }

  #step() {
    this.lane.push(0);
    if (this.lane.length > STEPS) this.lane.shift();
  }

  /** The longest time so far in which nothing came, this moment's silence among them. */
  gap(now = performance.now()) {
    return this.#heard ? Math.max(this.longest, now - this.#heard) : 0;
  }

  cells() {
    return {
      over: this.link.transport() ?? "–",
      sent: count(this.sent + this.down.highest),
      arrived: count(this.up.came + this.down.came),
      "up-lost": count(this.up.lost),
      "down-lost": count(this.down.lost),
      twice: count(this.up.twice + this.down.twice),
      late: count(this.up.late + this.down.late),
      gap: this.#heard ? duration(this.gap()) : "–",
      reconnects: count(Math.max(this.opens - 1, 0)),
    };
  }

  end() {
    this.#ended = true;
    this.timers.forEach(clearInterval);
    clearTimeout(this.#again);
    this.link.close();
  }
}

/** @type {Column[]} */
let columns = [];

/** Bring the others' clients, from the packages that npm has put on the machine of the demo. */
async function load() {
  const script = make("script");
  const loaded = new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(Error("sockjs-client cannot be loaded"));
  });
  script.src = "/compare/sockjs.js";
  document.head.append(script);
  const [{ io }] = await Promise.all([import("/compare/socket.io.js"), loaded]);
  libraries = { io, SockJS: /** @type {any} */ (window).SockJS };
}

function begin() {
  for (const column of columns) column.end();
  columns = Object.entries(wire.tab.compare.urls).map(([name, url]) => new Column(name, url));
}

function draw() {
  if ($("compare-panel").hidden) return;
  for (const column of columns) {
    for (const [what, text] of Object.entries(column.cells())) {
      const cell = $(`${column.name}-${what}`);
      put(cell, text);
      if (FAULTS.has(what)) cell.classList.toggle("bad", text !== "0");
    }
    drawLane($(`${column.name}-lane`), column.lane, STEPS);
  }
}

function lay() {
  $("compare-rows").replaceChildren(
    ...Object.entries(ROWS).map(([what, label]) => {
      const row = make("tr");
      const head = make("th", "", label);
      head.scope = "row";
      row.append(head);
      for (const name of Object.keys(PEERS)) {
        const cell = make("td", "", "–");
        cell.id = `${name}-${what}`;
        row.append(cell);
      }
      return row;
    }),
  );
}

/** Begin when the panel is looked at for the first time: a page that nobody compares on makes no connection for it. */
export async function compare() {
  if (!wire.tab?.compare || columns.length || libraries) return;
  libraries = {};
  try {
    await load();
  } catch (fault) {
    libraries = null;
    return put($("compare-says"), String(fault.message ?? fault));
  }
  begin();
  setInterval(draw, DRAW);
}

wire.on("tab", ({ compare: told }) => {
  $("comparison").hidden = !told;
  $("no-comparison").hidden = Boolean(told);
  if (!told) return;
  const { versions } = told;
  put($("socketio-name"), `Socket.IO ${versions["socket.io-client"]}`);
  put($("sockjs-name"), `SockJS ${versions["sockjs-client"]}`);
  if (columns.length) begin(); // the server was started again, and has other ports
});

lay();
$("compare-again").addEventListener("click", begin);
