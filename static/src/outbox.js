// What was said and not yet confirmed: numbered, kept, and ready to be said again.
//
// Rule 1: a packet gets its number here and nowhere else, when it is appended.
// Rule 2: only `confirm` forgets; reading changes nothing.

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {[resolve: (value?: any) => void, reject: (fault: any) => void]} Done */
/**
 * @typedef {object} Item  one numbered packet
 * @property {Packet} _packet
 * @property {any} _words  the packet, encoded; null while its bytes are still being read
 * @property {number} _size  bytes that they take
 * @property {number} _data  bytes of the application's own in them
 * @property {number} _at  when it was said
 * @property {Done | undefined} [_done]  hears that it has arrived, or why it never will
 */

export const OVERHEAD = 64; // bytes that each packet is counted for besides its own, as the server does

/** Make the keeper of the packets from `confirmed` + 1 to `last`, oldest first. */
export function makeOutbox() {
  const outbox = {
    _confirmed: 0, // packets that are known to have arrived, in order and without a gap
    _last: 0, // the number of the newest packet
    _size: 0, // bytes that are kept, each packet counted with its overhead
    /** @type {Item[]} */ _items: [],

    /** Give a packet its number, keep it, and return the number. @param {Item} item @returns {number} */
    _append(item) {
      outbox._items.push(item);
      outbox._size += item._size + OVERHEAD;
      return ++outbox._last;
    },

    /**
     * Return the packets after number `cursor`: as many as fit in `limit` bytes, but one at least; none that lies
     * more than `room` bytes behind the oldest.
     * @param {number} cursor @param {number} limit
     */
    _since(cursor, limit, room = Infinity) {
      const found = [];
      for (let at = outbox._confirmed, item; (item = outbox._items[at - outbox._confirmed]); at++) {
        if (!item._words || ((room -= item._size + OVERHEAD) < 0 && at > outbox._confirmed)) break;
        if (at < cursor) continue;
        if ((limit -= item._size + 1) < 0 && found[0]) break;
        found.push(item._words);
      }
      return found;
    },

    /** Forget the packets up to number `count`. @param {number} count */
    _confirm(count) {
      for (const item of outbox._items.splice(0, count - outbox._confirmed)) {
        outbox._confirmed++;
        outbox._size -= item._size + OVERHEAD;
        item._done?.[0]();
      }
    },
  };
  return outbox;
}
