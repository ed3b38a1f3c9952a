// Talks on while the network changes: one client for each of `urls`, {client, urls, every} as a line of JSON on standard
// input. Prints "open" when all are; at the line "changed" begins to measure; at "enough" stops to talk, waits until all
// is answered, and prints what each has seen: the longest time without an answer in ms, and what was wrong.

import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { client, urls, every } = JSON.parse((await lines.next()).value);
const { HybridWS } = await import(client);
const extra = globalThis.WebSocket ? {} : { WebSocket: (await import("ws")).WebSocket }; // Node 20 has none of its own
const PATIENCE = 20_000; // ms in which all that was said must be answered
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Talker {
  constructor(url) {
    Object.assign(this, { said: 0, heard: 0, twice: 0, early: 0, longest: 0, states: [] });
    this.ws = new HybridWS(url, [], extra);
    this.opened = new Promise((resolve) => (this.ws.onopen = resolve));
    this.ws.onstate = ({ state }) => this.states.push(state);
    this.ws.onmessage = ({ data }) => {
      if (+data <= this.heard) this.twice++;
      else if (+data > this.heard + 1) this.early++;
      else this.heard++;
      this.measure();
      this.since = performance.now();
    };
  }
  measure() {
    this.longest = Math.max(this.longest, performance.now() - this.since);
  }
  async talk() {
    for (; !this.enough; await pause(every)) {
      if (this.said == this.heard) this.since = performance.now();
      this.ws.send("" + ++this.said);
    }
  }
}

const talkers = urls.map((url) => new Talker(url));
await Promise.all(talkers.map((one) => one.opened));
const talks = talkers.map((one) => one.talk());
console.log("open");
await lines.next();
for (const one of talkers) one.longest = 0;
await lines.next();
for (const one of talkers) one.enough = true;
await Promise.all(talks);
const until = performance.now() + PATIENCE;
while (talkers.some((one) => one.said != one.heard) && performance.now() < until) await pause(20);
const seen = talkers.map((one) => {
  if (one.said != one.heard) one.measure();
  const { said, heard, twice, early, longest, states, ws } = one;
  return { longest, lost: said - heard, twice, early, resets: states.filter((state) => state == "reset").length, over: ws.transport, why: ws.info.why };
});
for (const one of talkers) one.ws.close();
console.log(JSON.stringify(seen));
process.exit();
