// Which transport to try, and when: what a client has learned of its network. Pure: it is told the time, in ms.
//
// A better transport than the one in use is tried again and again, and never trusted for having opened: some boxes let a
// WebSocket open and then pass nothing, or cut it a moment later. What keeps dying is put in quarantine, longer each
// time, until the network changes.

/** @typedef {{transport: string, at: number, took: number | null, failure: string | null}} Attempt */
/**
 * @typedef {object} Rung  one transport: how it has fared, and when it is tried next
 * @property {string} _name
 * @property {import("./pilot.js").Carrier | null} _one  the one that is tried or carries
 * @property {Attempt | null} _attempt  the newest
 * @property {number} _nextTry
 * @property {number} _quarantine  how long the next one takes
 * @property {number} _fellAt  since when it could not be used
 * @property {[at: number, early: boolean][]} _deaths
 */

export const PROOF = 5_000; // ms within which an attach must be answered
const TRUST = 5_000; // ms of life after which a transport is trusted
const EARLY_DEATHS = 2; // deaths before trust ...
const EARLY_SPAN = 60_000; // ... within so many ms, or ...
const LATE_DEATHS = 3; // ... deaths at any age ...
const LATE_SPAN = 300_000; // ... within so many ms, put a transport in quarantine
const FIRST_QUARANTINE = 60_000;
const LONGEST_QUARANTINE = 1_800_000;
const [SOON, MINUTES] = [120_000, 720_000]; // until so long after the fall a better transport is tried often, now and then ...
const [OFTEN, NOW_AND_THEN, SELDOM] = [10_000, 30_000, 300_000]; // ... or seldom: every so many ms

/** Forget what was learned: this may be another network. @param {Rung} rung */
export const forget = (rung) => Object.assign(rung, { _nextTry: 0, _quarantine: FIRST_QUARANTINE, _fellAt: 0, _deaths: [] });

/** Make what is known of a transport: nothing. @param {string} name @returns {Rung} */
export const makeRung = (name) => forget(/** @type {any} */ ({ _name: name, _one: null, _attempt: null }));

/** Note that a transport could not be used. @param {Rung} rung @param {number} now @param {number} [chance] a random number from 0 to 1 */
export function failed(rung, now, chance = Math.random()) {
  rung._fellAt ||= now;
  const fallen = now - rung._fellAt;
  rung._nextTry = now + (fallen < SOON ? OFTEN : fallen < MINUTES ? NOW_AND_THEN : SELDOM) * (0.9 + chance / 5);
}

/**
 * Note that a transport was in use for `lived` ms and broke, and that nothing explains it but the network.
 * @param {Rung} rung @param {number} now @param {number} lived @param {number} [chance]
 */
export function died(rung, now, lived, chance = Math.random()) {
  rung._nextTry = now;
  rung._deaths = [...rung._deaths.filter(([at]) => now - at < LATE_SPAN), [now, lived < TRUST]];
  if (rung._deaths.length < LATE_DEATHS && rung._deaths.filter(([at, early]) => early && now - at < EARLY_SPAN).length < EARLY_DEATHS) return;
  rung._deaths = [];
  rung._nextTry += rung._quarantine + 1000 * chance;
  rung._fellAt = now;
  rung._quarantine = Math.min(rung._quarantine * 2, LONGEST_QUARANTINE);
}
