// Which transport to try, and when: what a client has learned of its network. Pure: it is told the time, in ms.
//
// A better transport than the one in use is tried again and again, and never trusted for having opened: some boxes let a
// WebSocket open and then pass nothing, or cut it a moment later. What keeps dying is put in quarantine, longer each
// time, until the network changes.

export const PROOF = 5_000; // ms within which an attach must be answered
const TRUST = 5_000; // ms of life after which a transport is trusted
const EARLY_DEATHS = 2; // deaths before trust ...
const EARLY_SPAN = 60_000; // ... within so many ms, or ...
const LATE_DEATHS = 3; // ... deaths at any age ...
const LATE_SPAN = 300_000; // ... within so many ms, put a transport in quarantine
const FIRST_QUARANTINE = 60_000;
const LONGEST_QUARANTINE = 1_800_000;
const RETRIES = [
  [120_000, 10_000], // until so long after the fall a better transport is tried every so often ...
  [720_000, 30_000],
  [Infinity, 300_000],
];

/** One transport: how it has fared, and when it is tried next. */
export class Rung {
  nextTry = 0;
  until = 0; // it is in quarantine until then
  quarantine = FIRST_QUARANTINE;
  fellAt = -1;
  /** @type {number[]} */ deaths = [];
  /** @type {number[]} */ early = [];

  /** Return when it should be tried next; a time in the past is now. */
  dueAt() {
    return Math.max(this.nextTry, this.until);
  }

  /** Note that it could not be used. @param {number} now @param {number} chance a random number from 0 to 1 */
  failed(now, chance) {
    if (this.fellAt < 0) this.fellAt = now;
    const every = RETRIES.filter(([span]) => now - this.fellAt < span)[0][1];
    this.nextTry = now + every * (0.9 + 0.2 * chance);
  }

  /** Note that it is in use. */
  proved() {
    this.fellAt = -1;
  }

  /**
   * Note that it was in use for `lived` ms and broke. `explained`: silence, a server that goes away (1001) or restarts
   * (1012) says nothing about the network.
   * @param {number} now @param {number} lived @param {boolean} explained @param {number} chance
   */
  died(now, lived, explained, chance) {
    this.nextTry = now;
    if (explained) return;
    const within = (/** @type {number[]} */ times, /** @type {number} */ span) => times.filter((then) => now - then < span);
    if (lived < TRUST) this.early = [...within(this.early, EARLY_SPAN), now];
    this.deaths = [...within(this.deaths, LATE_SPAN), now];
    if (this.early.length < EARLY_DEATHS && this.deaths.length < LATE_DEATHS) return;
    this.early = [];
    this.deaths = [];
    this.fellAt = now;
    this.until = now + this.quarantine;
    this.nextTry = this.until + 1000 * chance;
    this.quarantine = Math.min(this.quarantine * 2, LONGEST_QUARANTINE);
  }
}

/** The transports that a client may use, the best first, and what it knows of each. */
export class Ladder {
  /** @type {Record<string, Rung>} */ rungs = {};

  /** @param {string[]} order */
  constructor(order) {
    this.order = order;
    this.networkChanged();
  }

  /** Forget what was learned: this may be another network. */
  networkChanged() {
    for (const name of ["websocket", "stream", "poll"]) this.rungs[name] = new Rung();
  }

  /** Return when a transport may be tried; the last resort always may. @param {string} name */
  dueAt(name) {
    return name == this.order[this.order.length - 1] ? 0 : this.rungs[name].dueAt();
  }
}
