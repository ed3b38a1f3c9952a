// The automatic probe: small numbered messages both ways, and what became of them.

import { Tally } from "./tally.js";
import { wire } from "./wire.js";

const KEPT = 60_000; // ms of samples for the plot
const DOTS = 40; // samples a second at most: more dots than its pixels can show
const LEAST = 20; // ms between two goes: what is said in one travels in one frame
const FULL = 200_000; // bytes that wait for the server: as long as it is away, no more are numbered

export const probe = {
  down: new Tally(), // what has come from the server
  sent: 0, // the number of the last message to it
  rate: 20, // a second
  /** What came and when: {at, ms, trip, over}; `trip` tells round trips from deliveries. @type {any[]} */
  samples: [],
  /** The last numbers that the server told. @type {any} */
  server: null,
  /** How many of our numbers the server has acknowledged. */
  get acked() {
    const waiting = wire.session?.unacked.filter((message) => message?.do === "probe").length ?? 0;
    return this.sent - waiting;
  },
};

const asked = new Map(); // number -> when it was sent (ms of performance.now)
let timer = 0;

function say() {
  const { session } = wire;
  if (session?.readyState !== 1 || session.bufferedAmount > FULL) return;
  asked.set(++probe.sent, performance.now());
  session.send({ do: "probe", n: probe.sent });
}

const newest = { true: 0, false: 0 }; // when the newest sample of each sort was taken

function sample(ms, trip) {
  const { samples } = probe;
  const now = performance.now();
  if (now - newest[trip] < 1000 / DOTS) return;
  newest[trip] = now;
  samples.push({ at: now, ms, trip, over: wire.session?.transport ?? "" });
  while (now - samples[0].at > KEPT) samples.shift();
}

/** Send so many a second, both ways. @param {number} rate */
export function turn(rate) {
  probe.rate = rate;
  clearInterval(timer);
  const pause = Math.max(1000 / rate, LEAST);
  const go = () => {
    for (let left = Math.round((rate * pause) / 1000); left > 0; left--) say();
  };
  timer = rate ? setInterval(go, pause) : 0;
}

wire.on("tab", ({ rate }) => {
  if (rate === probe.rate) turn(rate);
  else wire.command({ do: "rate", rate: probe.rate }).catch(() => {}); // this tab had another before the server came again
});

wire.on("open", () => {
  probe.down = new Tally();
  probe.sent = 0;
  asked.clear();
});

wire.on("value", (message) => {
  if (message?.is !== "probe") return;
  probe.down.take(message.n);
  const begun = asked.get(message.re);
  if (begun !== undefined) {
    asked.delete(message.re);
    sample(performance.now() - begun, true);
  } else sample(Math.max(Date.now() + wire.tab.clock - message.at, 0), false);
});

wire.on("numbers", (numbers) => {
  probe.server = numbers;
  const { came, lost, twice, late } = probe.down;
  wire.tell({ came, lost, twice, late });
});
