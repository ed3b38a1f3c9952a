// One conversation seen from the client's side: numbers, acks, repeats, gaps, and the end.
//
// Rule 1: a numbered packet is handed on once, in order. One that is here already is dropped; one that skips ahead ends
//         its transport: nothing overtakes on the way down.
// Rule 2: what was sent is kept until an ack says that it arrived. Nothing is forgotten because it was written.
// Rule 3: acks go no further than what the application has taken plus half a buffer: so a slow application slows the
//         far sender, and an inbox holds at most one and a half buffers. We send no more than a buffer ahead of acks.
// Rule 4: the close is the last numbered packet, so it arrives after everything said before it.

import { now } from "./clock.js";
import { NORMAL, NO_STATUS } from "./codes.js";
import { OVERHEAD, makeOutbox } from "./outbox.js";
import { encode, isNumbered, sizeOf } from "./packets.js";

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {ReturnType<typeof makeLink>} Link */
/**
 * @typedef {object} Lane  how far one transport has got, each way
 * @property {number} _written  the newest number that it was given to write
 * @property {boolean} _placed  whether it was told the position from which it goes on
 * @property {boolean} _owes  an ack is due now, even if nothing else is
 * @property {number} _acked  the count that it was last told to have arrived
 * @property {number} _ackedBytes
 */
/** @typedef {{_expects?: number, _owes?: boolean}} Source  what brings packets, the number of the next (0: not said; none: nothing was believed yet), and whether it asked for an ack */

const ACK_EVERY = 32; // packets after which an ack goes alone (protocol §5)
const FRAME = 65_536; // bytes of a WebSocket's frame: others get their turn
const NARROWEST = 1024; // bytes of a frame that is never made smaller: what is cut within so few is not cut for its size
const SHRINKS_TO = 4; // what a frame must be divided by if one that began with the same packet did not arrive
const GROWS_AFTER = 4; // acks that tell news, after which frames that were made smaller become twice as large

/** Make a conversation: what is yet to be confirmed, what has come, and whether it goes on. @param {import("./packets.js").Codec} codec @param {import("./packets.js").Limits} limits */
export function makeLink(codec, limits) {
  const link = Object.assign(makeOutbox(), {
    _codec: codec,
    _limits: limits,
    /** @type {[code: number, reason: string] | undefined} */ _said: undefined,
    /** @type {[code: number, reason: string] | undefined} */ _heard: undefined,
    _received: 0, // numbered packets that have come, in order and without a gap
    _came: 0, // bytes that have come in numbered packets
    /** @type {[value: any, cost: number, number: number][]} */ _inbox: [], // messages that the application has not taken
    _inboxSize: 0,
    _room: Infinity, // bytes that a frame may have on this network, as far as is known
    _news: 0, // acks that told news since this has changed
    _passed: 0, // bytes of the largest frame that has arrived; half as many for each that has not
    _tried: -1, // what was confirmed when a frame last began with the oldest packet ...
    _triedLast: 0, // ... the last number that is in it ...
    _triedSize: 0, // ... and its bytes

    /** Whether the conversation has ended: they closed, or have all that we said and our close. @returns {any} */
    _over: () => link._heard || (link._said && link._confirmed == link._last),

    // ── what we say ───────────────────────────────────────────────────────────────────────────────────────────────

    /** @param {Packet} packet */
    _encode: (packet) => encode(codec, packet, link._limits),

    /** Make what the outbox keeps. Throws TypeError, RangeError. @param {Packet} packet @param {import("./outbox.js").Done} [done] */
    _item(packet, done, data = 0) {
      const words = link._encode(packet);
      return { _packet: packet, _words: words, _size: sizeOf(words), _data: data, _at: now(), _done: done };
    },

    /** Give a packet its number, and keep it. Throws TypeError, RangeError. @param {Packet} packet @returns {number} */
    _send: (packet) => link._append(link._item(packet)),

    /** Say that the conversation ends here, after all that was said before. @param {number | undefined} code @param {string} reason */
    _close(code, reason) {
      if (link._said || link._over()) return;
      link._send(["c", code ?? NORMAL, reason]);
      link._said = [code ?? NO_STATUS, reason]; // last: a browser that ends our script in a tab that closes must not leave it said and not sent
    },

    // ── what a transport may write ────────────────────────────────────────────────────────────────────────────────

    /** Make the lane of a new transport: it goes on after what is known to have arrived. @returns {Lane} */
    _lane: () => ({ _written: link._confirmed, _placed: false, _owes: false, _acked: 0, _ackedBytes: 0 }),

    /** Tell whether this transport should write. @param {Lane} lane @returns {any} */
    _mayWrite: (lane) => lane._owes || link._hasMore(lane),

    /** Tell whether there are numbered packets that this transport was not given yet. @param {Lane} lane @returns {any} */
    _hasMore: (lane) => !link._heard && link._since(lane._written, 0, link._limits.buffer)[0],

    /**
     * Return the next of what this transport was not given yet, in one frame after `words`; nothing if there is nothing.
     * An ack rides along, and the position stands before the first packet, and wherever packets are passed over.
     * @param {Lane} lane @param {any[]} words
     */
    _write(lane, limit = FRAME, words = []) {
      const more = link._hasMore(lane);
      if (!more && !lane._owes && lane._placed && !words[0]) return;
      if (lane._owes || link._ackable() != lane._acked) words.push(link._encode(["a", link._acks(lane)]));
      const from = Math.max(lane._written, link._confirmed);
      if (!lane._placed || lane._written < from) words.push(link._encode(["#", from + 1])); // another lane may have brought what would be next here
      const room = link._fits(lane);
      limit = Math.min(limit, room);
      for (const word of words) limit -= word.length + 1;
      const kept = more ? link._since(from, limit, link._limits.buffer).slice(0, Math.max(link._limits.max_packets - words.length, 1)) : [];
      lane._placed = true;
      const frame = codec.join([...words, ...kept]);
      if (kept[0] && from == link._confirmed) {
        if (from == link._tried) {
          link._news = 0;
          link._passed >>= 1;
        }
        link._room = room;
        link._tried = from;
        link._triedLast = from + kept.length;
        link._triedSize = frame.length;
      }
      lane._written = from + kept.length;
      return frame;
    },

    /**
     * Return the bytes that a frame may have: fewer where what this one begins with was written, and did not arrive:
     * some networks cut each connection after so many bytes. One of a size that has passed before is lost for another
     * reason, or late. @param {Lane} lane
     */
    _fits(lane) {
      const passes = Math.max(link._passed, NARROWEST);
      return lane._written > link._confirmed || link._confirmed != link._tried || link._triedSize <= passes
        ? link._room
        : Math.max(link._triedSize / SHRINKS_TO, passes);
    },

    /** Note that this transport tells the newest count, and return it. @param {Lane} lane @returns {number} */
    _acks(lane) {
      lane._ackedBytes = link._came;
      lane._owes = false;
      return (lane._acked = link._ackable());
    },

    /** Tell whether so much has come that it should be acked without waiting for something to ride on. @param {Lane} lane */
    _ackDue(lane) {
      const count = link._ackable() - lane._acked;
      return count > 0 && (count >= ACK_EVERY || link._came - lane._ackedBytes >= link._limits.buffer >> 2);
    },

    // ── what a transport brings ───────────────────────────────────────────────────────────────────────────────────

    /**
     * Take a batch that a transport brought, and hand on what of it is new, one by one and in order. Throws for what
     * cannot be: what stands before was handed on and counts, what stands behind is sent again.
     * @param {Source} source @param {import("./packets.js").Batch} batch @param {(packet: Packet) => void} hand
     */
    _receive(source, batch, hand) {
      for (const [packet, size] of batch) {
        const [kind, value, reason] = packet;
        if (kind == "#") source._expects = value;
        else if (kind == "a") {
          if (value > link._last) throw Error("ack " + value);
          if (value > link._confirmed) {
            if (value >= link._triedLast) link._passed = Math.max(link._passed, link._triedSize);
            if (!(++link._news % GROWS_AFTER)) link._room *= 2;
          }
          link._confirm(value);
        } else if (kind == "h") source._owes = true;
        else if (!isNumbered(packet)) hand(packet);
        else if (!link._heard) {
          // nothing counts after a close
          const number = source._expects || Infinity;
          const end = number + (kind == "k" ? value : 1);
          const news = end - 1 - link._received;
          const cost = kind == "m" ? size + OVERHEAD : 0; // all else is dealt with as it comes
          if (number > link._received + 1 || number >= 2 ** 53 || end > 2 ** 53) throw Error("gap before " + number);
          source._expects = end;
          if (news <= 0) continue; // a repeat
          if (cost && link._inbox[0] && link._inboxSize + cost > link._limits.buffer * 1.5) throw Error("over " + link._limits.buffer + " bytes");
          link._received += news;
          link._came += size;
          if (cost) link._inbox.push([value, cost, link._received]);
          link._inboxSize += cost;
          if (kind == "c") link._heard = [value, reason];
          hand(kind == "k" ? [kind, news] : packet);
        }
      }
    },

    /** Take the oldest message. @returns {any} */
    _take() {
      const [value, cost] = /** @type {[any, number, number]} */ (link._inbox.shift());
      link._inboxSize -= cost;
      return value;
    },

    /** Count what may be acked (rule 3); one message always fits, however large it is. @returns {number} */
    _ackable() {
      let held = 0;
      for (const [, cost, number] of link._heard ? [] : link._inbox) {
        if (held && held + cost > link._limits.buffer / 2) return number - 1;
        held += cost;
      }
      return link._received;
    },
  });
  return link;
}
