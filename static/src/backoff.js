// How long to wait before trying again: twice as long each time, and anywhere up to that, so that crowds spread out.

const LOWEST = 500; // ms that the first wait takes at most: enough not to hammer a server that is just starting
const HIGHEST = 20_000; // ms that any wait takes at most: what a person waits before reloading the page

/**
 * Return the ms to wait after so many failures, with full jitter: nothing after none, then up to 0.5 s, 1 s ... 20 s.
 * @param {number} failures @param {number} [chance] a random number from 0 to 1
 */
export const backoff = (failures, chance = Math.random()) => failures && chance * Math.min(HIGHEST, (LOWEST / 2) * 2 ** failures);
