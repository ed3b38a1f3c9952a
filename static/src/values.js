// What a message may hold: the one set of values that JSON, msgpack and every client can carry unchanged.

/** What came is not in the protocol's language. */
export class Malformed extends Error {}

/** A message that came is larger than the session allows. */
export class TooLarge extends Error {}

const LONE = /[\ud800-\udfff]/gu; // with `u` a pair is one character, so these are the lone ones
const EXPONENT = 1e21; // from here on numbers are written with one, and are no integers to anybody

/** Make text well-formed, as WebSocket.send does. @param {string} text */
export const wellFormed = (text) => text.replace(LONE, "\ufffd");

/**
 * Throw `Fault` unless `value` is a JSON value that every client can hold: no NaN, no integer from 2^53, no lone
 * surrogate, no bytes inside, at most `max_depth` levels and `max_elements` items.
 * @param {any} value
 * @param {import("./link.js").Options} options
 * @param {new (why: string) => Error} Fault
 */
export function check(value, options, Fault) {
  let elements = 0;
  const look = (/** @type {any} */ item, /** @type {number} */ room) => {
    const kind = typeof item;
    if (kind == "string") {
      if (item.search(LONE) >= 0) throw new Fault("a lone surrogate");
    } else if (kind == "number") {
      const size = Math.abs(item);
      if (!(size < Infinity) || (size > Number.MAX_SAFE_INTEGER && size < EXPONENT && Number.isInteger(item)))
        throw new Fault("the number " + item + " is not the same everywhere");
    } else if (item && kind == "object") {
      if (!room) throw new Fault("nested too deep");
      if (item instanceof ArrayBuffer || ArrayBuffer.isView(item)) throw new Fault("bytes stand alone");
      const inner = Object.entries(item);
      if ((elements += inner.length) > options.max_elements) throw new Fault("too many elements");
      for (const [key, below] of inner) {
        if (!Array.isArray(item)) look(key, 0);
        look(below, room - 1);
      }
    }
  };
  look(value, options.max_depth);
}
