// The automatic probe: small numbered messages both ways, and what became of them.

import { Tally } from "./tally.js";
import { wire } from "./wire.js";

const KEPT = 60_000; // ms of samples for the plot
const MOST = 6000; // samples at once: more dots than its pixels can show
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

function sample(ms, trip) {
  const { samples } = probe;
  const now = performance.now();
  samples.push({ at: now, ms, trip, over: wire.session?.transport ?? "" });
  if (samples.length > MOST || now - samples[0].at > KEPT) {
    const old = samples.findIndex(({ at }) => now - at <= KEPT);
    samples.splice(0, Math.max(old, samples.length - MOST));
  }
}

/** Send so many a second, both ways. @param {number} rate */
export function turn(rate) {
  probe.rate = rate;
  clearInterval(timer);
  timer = rate ? setInterval(say, 1000 / rate) : 0;
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
