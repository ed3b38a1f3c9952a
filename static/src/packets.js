// The words of the session protocol (docs/protocol.md §1), as the arrays that travel: what two links say to each other.
//
// A packet is *numbered* if it carries the application's stream, and then takes exactly one number (`k` takes as many as
// it says). All others steer the transport that carries them and are forgotten when it ends.

/** @typedef {[string, ...any[]]} Packet */
/** @typedef {[packet: Packet, size: number][]} Batch  packets, each with the bytes that it counts for */
/** @typedef {{buffer: number, max_message: number, max_packets: number, max_elements: number, max_depth: number} & Record<string, any>} Limits */
/**
 * @typedef {object} Codec  arrays to words and back
 * @property {string} name
 * @property {(packet: Packet) => any} dumps  encode one packet
 * @property {(words: any[]) => any} join  make one body or frame of encoded packets
 * @property {(data: any) => [array: any, size: number][]} loads  decode a body or frame; throws what it likes
 * @property {(limit: number) => (chunk: Uint8Array) => any[]} reader  read a stream: chunks in, whole batches out, still encoded
 */

const LONE = /\p{Cs}/gu; // with `u` a pair of surrogates is one character, so these are the lone ones
const EXPONENT = 1e21; // from here on numbers are written with one, and are no integers to anybody

// What follows each kind, by the marks of `mark`.
const SHAPE = /^(?:[io]4|@33[012]{2}4?|#[12]|[mu]\d|[qr][012]\d|e[012]23|k[12]|a[012]|[hd]|c23|x234?)$/;

const UNKNOWN = /^[bfgjlnpstvwyz]$/; // kinds that a later version may have

/** Mark an item: 0 zero, 1 count, 2 count that is a code too, 3 text, 4 map, 5 else. @param {any} item */
const mark = (item) =>
  typeof item == "string"
    ? 3
    : Number.isSafeInteger(item) && item >= 0
      ? item && (item > 999 && item < 5000 ? 2 : 1)
      : item?.constructor == Object
        ? 4
        : 5;

/** @param {any} item @returns {boolean} */
export const isBytes = (item) => item instanceof ArrayBuffer || ArrayBuffer.isView(item);

/** Make text well-formed, as WebSocket.send does. @param {string} text */
export const wellFormed = (text) => text.replace(LONE, "\ufffd");

/** The bytes of an encoded packet or a text. @param {any} words @returns {number} */
export const sizeOf = (words) => words.byteLength ?? new TextEncoder().encode(words).length;

/** Tell whether a packet takes a number. @param {Packet} packet */
export const isNumbered = ([kind]) => "mqreukc".includes(kind);

/**
 * Throw TypeError unless a packet holds only what every client can: no NaN, no integer from 2^53, no lone surrogate, no
 * bytes inside, at most `max_depth` levels and `max_elements` items.
 * @param {Packet} packet @param {Limits} limits
 */
function check(packet, { max_depth, max_elements }) {
  const look = (/** @type {any} */ item, /** @type {number} */ room) => {
    const kind = typeof item;
    const size = Math.abs(item);
    const inner = item && kind == "object" ? Object.entries(item) : [];
    max_elements -= inner.length;
    if (
      kind == "string"
        ? item.search(LONE) >= 0
        : kind == "number"
          ? !(size < 2 ** 53 || (size >= EXPONENT && size < Infinity))
          : item && kind == "object" && (!room || max_elements < 0 || isBytes(item))
    )
      throw TypeError("not for every client: " + item);
    for (const [key, below] of inner) {
      look(key, 0);
      look(below, room - 1);
    }
  };
  if (!(packet[1] instanceof Uint8Array)) for (const item of packet) look(item, max_depth);
}

/** Encode a packet. Throws TypeError, RangeError. @param {Codec} codec @param {Packet} packet @param {Limits} limits */
export function encode(codec, packet, limits) {
  check(packet, limits);
  const words = codec.dumps(packet);
  if (sizeOf(words) > limits.max_message) throw RangeError("over " + limits.max_message + " bytes");
  return words;
}

/**
 * Decode a body or frame. Throws for whatever is not in the protocol's language; passes over kinds that this version
 * does not know.
 * @param {Codec} codec @param {any} data @param {Limits} limits @returns {Batch}
 */
export function decode(codec, data, limits) {
  const found = codec.loads(data);
  return found.filter(([array, size]) => {
    const [kind, ...items] = array;
    if (size > limits.max_message || found.length > limits.max_packets) throw Error("too large");
    check(array, limits);
    const letter = typeof kind == "string" && !kind[1] ? kind : "";
    if (UNKNOWN.test(letter)) return false;
    if (!SHAPE.test(letter + items.map(mark).join(""))) throw Error("no packet: " + kind);
    return true;
  });
}
