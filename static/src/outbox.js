// What was said and not yet confirmed: numbered, kept, and ready to be said again.
//
// Rule 1: a packet gets its number here and nowhere else, when it is appended.
// Rule 2: only `confirm` forgets; reading changes nothing.

const OVERHEAD = 64; // bytes that each packet is counted for besides its own, as the server does

/** The numbered packets from `confirmed` + 1 to `last`, oldest first. */
export class Outbox {
  confirmed = 0; // packets that are known to have arrived, in order and without a gap
  last = 0; // the number of the newest packet
  size = 0; // bytes that are kept, each packet counted with its overhead
  data = 0; // bytes of the application's own in them
  /** @type {[words: any, size: number, data: number][]} */
  items = [];

  /** Give one encoded packet its number, keep it, and return the number. @param {any} words @param {number} size */
  append(words, size, data = 0) {
    this.items.push([words, size, data]);
    this.size += size + OVERHEAD;
    this.data += data;
    return ++this.last;
  }

  /**
   * Return the packets after number `cursor`: as many as fit in `limit` bytes, but one at least.
   * @param {number} cursor
   * @param {number} limit
   */
  since(cursor, limit) {
    const start = Math.max(cursor - this.confirmed, 0);
    if (!start && this.size <= limit) limit = Infinity;
    let end = start;
    while (end < this.items.length && ((limit -= this.items[end][1] + 1) >= 0 || end == start)) end++;
    return this.items.slice(start, end).map((item) => item[0]);
  }

  /** Forget the packets up to number `count`; tell whether there were any. @param {number} count */
  confirm(count) {
    if (count <= this.confirmed) return false;
    for (const [, size, data] of this.items.splice(0, count - this.confirmed)) {
      this.size -= size + OVERHEAD;
      this.data -= data;
    }
    this.confirmed = count;
    return true;
  }
}
