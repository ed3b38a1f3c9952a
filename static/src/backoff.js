// How long to wait before trying again: twice as long each time, and anywhere up to that, so that crowds spread out.

const LOWEST = 500; // ms that the first wait takes at most: enough not to hammer a server that is just starting
const HIGHEST = 20_000; // ms that any wait takes at most: what a person waits before reloading the page

/** Waits with full jitter: the first try again is at once, then 0 to 0.5 s, 0 to 1 s ... 0 to 20 s. */
export class Backoff {
  failures = 0;

  /** Forget all failures. */
  succeeded() {
    this.failures = 0;
  }

  /** Count a failure, and return the ms to wait. @param {number} chance a random number from 0 to 1 */
  failed(chance) {
    return this.failures++ && chance * Math.min(HIGHEST, LOWEST * 2 ** (this.failures - 2));
  }
}
