// One conversation seen from the client's side: numbers, acks, repeats, gaps, and the end. Pure.
//
// Rule 1: a numbered packet is handed on once, in order. One that is here already is dropped; one that skips ahead ends
//         its transport: nothing overtakes on the way down.
// Rule 2: what was sent is kept until an ack says that it arrived. Nothing is forgotten because it was written.
// Rule 3: acks go no further than what the application has taken plus half a buffer: so a slow application slows the
//         far sender, and an inbox holds at most one and a half buffers.
// Rule 4: the close is the last numbered packet, so it arrives after everything said before it.

import { Outbox } from "./outbox.js";
import { countOf, isNumbered } from "./packets.js";
import { Malformed } from "./values.js";

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {import("./packets.js").Batch} Batch */
/** @typedef {{buffer: number, max_message: number, max_batch: number, max_packets: number, max_elements: number, max_depth: number}} Options */
/**
 * @typedef {object} Codec  packets to bytes and back
 * @property {string} name
 * @property {(packet: Packet, options: Options) => any} dumps  encode one packet; throws TypeError or RangeError
 * @property {(words: any) => number} size  the bytes of an encoded packet
 * @property {(words: any[]) => any} join  make one body or frame of encoded packets
 * @property {(data: any, options: Options) => Batch} loads  decode a body or frame; throws Malformed or TooLarge
 * @property {(limit: number) => (chunk: Uint8Array) => any[]} reader  read a stream: chunks in, whole batches out, still encoded
 */

const ACK_EVERY = 32; // packets after which an ack goes alone (protocol §5)
const OVERHEAD = 64;
export const [OPEN, CLOSING, CLOSED] = [0, 1, 2];

/** What a link remembers of one transport: how far it has got, each way. */
export class Lane {
  placed = false; // whether it was told the position from which it goes on
  acked = -1; // the count that it was last told to have arrived
  ackedBytes = 0;
  owes = true; // an ack is due now, even if nothing else is
  expects = 0; // the number of the next packet that it brings; 0 before it has said so

  /** @param {number} written  the newest number that this transport was given to write */
  constructor(written = 0) {
    this.written = written;
  }
}

/** One conversation: what is yet to be confirmed, what has come, and whether it goes on. */
export class Link {
  outbox = new Outbox();
  state = OPEN;
  /** @type {[number, string] | null} */ said = null;
  /** @type {[number, string] | null} */ heard = null;
  received = 0; // numbered packets that have come, in order and without a gap
  ackable = 0; // how many of them may be acked (rule 3)
  came = 0; // bytes that have come in numbered packets
  inboxSize = 0; // bytes that have come and that the application has not taken
  held = 0; // of these, the bytes that may be acked
  /** @type {[cost: number, count: number][]} */ beyond = []; // those that may not, oldest first

  /** @param {Codec} codec @param {Options} options */
  constructor(codec, options) {
    this.codec = codec;
    this.options = options;
  }

  // ── what we say ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether the outbox holds a whole `buffer`, so that a sender should wait. */
  get full() {
    return this.outbox.size >= this.options.buffer;
  }

  /** Give a packet its number, keep it, and return the number. Throws TypeError, RangeError. @param {Packet} packet */
  send(packet) {
    const words = this.codec.dumps(packet, this.options);
    return this.outbox.append(words, this.codec.size(words));
  }

  /** Say that the conversation ends here, after all that was said before. @param {number} code @param {string} reason */
  close(code, reason) {
    if (this.said || this.state) return;
    this.said = [code, reason];
    this.send(["c", code, reason]);
    this.state = CLOSING;
  }

  /** Return the messages that the other side has not confirmed, as it would have read them, oldest first. */
  unconfirmed() {
    return this.outbox.items
      .map((item) => this.codec.loads(item[0], this.options)[0][0])
      .filter((packet) => packet[0] == "m")
      .map((packet) => packet[1]);
  }

  // ── what a transport may write ──────────────────────────────────────────────────────────────────────────────────

  /** Make the lane of a new transport: it goes on after what is known to have arrived. */
  lane() {
    return new Lane(this.outbox.confirmed);
  }

  /** Tell whether there are numbered packets that this transport was not given yet. @param {Lane} lane */
  hasMore(lane) {
    return !this.heard && this.outbox.last > Math.max(lane.written, this.outbox.confirmed);
  }

  /**
   * Return the next of what this transport was not given yet, in one frame; null if there is nothing.
   * An ack rides along, and the position stands before the first packet.
   * @param {Lane} lane
   */
  pending(lane, limit = 65536) {
    const { codec, options, outbox } = this;
    const more = this.hasMore(lane);
    if (!more && !lane.owes && lane.placed) return null;
    const words = [];
    let ack = -1;
    if (lane.owes || this.ackable != lane.acked) words.push(codec.dumps(["a", (ack = this.ackable)], options));
    if (!lane.placed) words.push(codec.dumps(["#", Math.max(lane.written, outbox.confirmed) + 1], options));
    for (const word of words) limit -= word.length + 1;
    const kept = more ? outbox.since(lane.written, limit).slice(0, Math.max(options.max_packets - words.length, 1)) : [];
    return { payload: codec.join([...words, ...kept]), packets: kept.length, ack };
  }

  /** Note that the transport was given this frame. @param {Lane} lane @param {{packets: number, ack: number}} frame */
  wrote(lane, frame) {
    lane.written = Math.max(lane.written, this.outbox.confirmed) + frame.packets;
    lane.placed = true;
    if (frame.ack >= 0) this.acks(lane);
  }

  /** Note that this transport tells the newest count. @param {Lane} lane */
  acks(lane) {
    lane.acked = this.ackable;
    lane.ackedBytes = this.came;
    lane.owes = false;
  }

  /** Tell whether so much has come that it should be acked without waiting for something to ride on. @param {Lane} lane */
  ackDue(lane) {
    const count = this.ackable - lane.acked;
    return count > 0 && (count >= ACK_EVERY || this.came - lane.ackedBytes >= this.options.buffer >> 2);
  }

  /** Forget what the other side has. Throws Malformed for more than was said. @param {number} count */
  confirm(count) {
    if (count > this.outbox.last) throw new Malformed("an ack of what was never sent");
    this.outbox.confirm(count);
    if (this.said && count == this.outbox.last) this.state = CLOSED;
  }

  // ── what a transport brings ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Take a batch that a transport brought, and hand on what of it is new, one by one and in order. Throws Malformed:
   * what stands before was handed on and counts, what stands behind is sent again.
   * @param {Lane} lane
   * @param {Batch} batch
   * @param {(packet: Packet, size: number) => void} hand
   */
  receive(lane, batch, hand) {
    for (const [packet, size] of batch) {
      if (packet[0] == "#") lane.expects = packet[1];
      else if (packet[0] == "a") this.confirm(packet[1]);
      else if (!isNumbered(packet)) hand(packet, size);
      else if (!this.heard) this.number(lane, packet, size, hand); // nothing counts after a close
    }
  }

  /** @param {Lane} lane @param {Packet} packet @param {number} size @param {(packet: Packet, size: number) => void} hand */
  number(lane, packet, size, hand) {
    const number = lane.expects;
    const next = number + countOf(packet);
    if (!number || number > this.received + 1 || next > 2 ** 53 || number > next - 1) throw new Malformed("a gap before " + number);
    lane.expects = next;
    const news = next - 1 - this.received;
    if (news <= 0) return; // a repeat
    const cost = packet[0] == "m" ? size + OVERHEAD : 0; // all else is dealt with as it comes
    if (cost && this.inboxSize && this.inboxSize + cost > this.options.buffer * 1.5) throw new Malformed("more than `buffer`");
    this.received += news;
    this.came += size;
    this.inboxSize += cost;
    this.beyond.push([cost, news]);
    this.advance();
    if (packet[0] == "c") {
      this.heard = [packet[1], packet[2]];
      this.ackable = this.received; // nothing comes after it that an ack could hold back
      this.beyond = [];
      this.state = CLOSED;
    }
    hand(packet[0] == "k" ? ["k", news] : packet, size);
  }

  /** Note that the application took its oldest message, which brought `size` bytes. @param {number} size */
  taken(size) {
    this.inboxSize -= size + OVERHEAD;
    this.held -= size + OVERHEAD;
    this.advance();
  }

  /** Let acks go as far as rule 3 allows; one packet always fits, however large it is. */
  advance() {
    const { beyond } = this;
    while (beyond.length && (!this.held || this.held + beyond[0][0] <= this.options.buffer / 2)) {
      const [cost, count] = /** @type {[number, number]} */ (beyond.shift());
      this.held += cost;
      this.ackable += count;
    }
  }
}
