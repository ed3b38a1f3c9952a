// The words of the session protocol (docs/protocol.md §1), as the arrays that travel: what two links say to each other.
//
// A packet is *numbered* if it carries the application's stream, and then takes exactly one number (`k` takes as many as
// it says). All others steer the transport that carries them and are forgotten when it ends.

import { Malformed } from "./values.js";

/** @typedef {[string, ...any[]]} Packet */
/** @typedef {[Packet, number][]} Batch  packets, each with the bytes that it counts for */

/** @type {Record<string, any>} What follows each kind: count, positive, code, text, map, value. */
const SHAPES = {
  __proto__: null,
  i: "o",
  o: "o",
  "@": "ttnno",
  "#": "p",
  m: "v",
  q: "nv",
  r: "nv",
  e: "nct",
  u: "v",
  k: "p",
  a: "n",
  h: "",
  c: "ct",
  d: "",
  x: "cto",
};

/** @param {any} item @param {string} shape */
const fits = (item, shape) =>
  shape == "v" ||
  (shape == "t"
    ? typeof item == "string"
    : shape == "o"
      ? item && typeof item == "object" && !Array.isArray(item)
      : Number.isSafeInteger(item) && item >= (shape == "n" ? 0 : shape == "p" ? 1 : 1000) && !(shape == "c" && item > 4999));

/** Tell whether a packet takes a number. @param {Packet} packet */
export const isNumbered = (packet) => "mqreukc".includes(packet[0]);

/** Tell how many numbers a numbered packet takes. @param {Packet} packet */
export const countOf = (packet) => (packet[0] == "k" ? packet[1] : 1);

/**
 * Read a packet from an array; null for a kind that this version does not know. Throws Malformed.
 * @param {any} array
 * @returns {Packet | null}
 */
export function packetOf(array) {
  const kind = Array.isArray(array) && typeof array[0] == "string" ? array[0] : "";
  const shape = SHAPES[kind];
  if (shape === undefined) {
    if (/^[a-z]$/.test(kind)) return null;
    throw new Malformed("no packet");
  }
  const items = array.slice(1);
  if (/[@x]/.test(kind) && items.length == shape.length - 1) items.push({});
  if (items.length != shape.length || !items.every((/** @type {any} */ item, /** @type {number} */ i) => fits(item, shape[i])))
    throw new Malformed("a packet of the wrong shape: " + kind);
  return [kind, ...items];
}
