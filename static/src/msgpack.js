// The msgpack codec (docs/protocol.md §2), for much binary data: packets one after another. Words are bytes.

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const SHORT = {}; // thrown where there is less than a whole packet

/** Encode a value. @param {any} value @param {number[]} out */
function put(value, out) {
  /** Write a kind, and a number of so many bytes. @param {number} kind @param {number} size @param {number} number */
  const wide = (kind, size, number) => {
    out.push(kind);
    for (let at = size - 1; at >= 0; at--) out.push(Math.floor(number / 256 ** at) & 255);
  };
  /** Write a length: in the kind itself up to `most`, else in 1, 2 or 4 bytes; `kinds` is that of 1. @param {number} n @param {number} fix @param {number} most @param {number} kinds */
  const length = (n, fix, most, kinds, least = 0) => {
    if (n <= most) out.push(fix | n);
    else {
      const power = n < 256 && !least ? 0 : n < 65536 ? 1 : 2;
      wide(kinds + power, 1 << power, n);
    }
  };
  value = value?.toJSON ? value.toJSON() : value;
  if (value == null) out.push(0xc0);
  else if (typeof value == "boolean") out.push(value ? 0xc3 : 0xc2);
  else if (Number.isSafeInteger(value)) {
    if (value >= -32 && value < 128) out.push(value & 255);
    else {
      const power = [0, 1, 2, 3].find((p) => (value < 0 ? -value <= 2 ** ((8 << p) - 1) : value < 2 ** (8 << p))) ?? 3;
      wide((value < 0 ? 0xd0 : 0xcc) + power, 1 << power, value);
    }
  } else if (typeof value == "number") {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    out.push(0xcb, ...new Uint8Array(view.buffer));
  } else if (typeof value == "string" || value instanceof Uint8Array) {
    const text = typeof value == "string";
    const data = /** @type {any} */ (text ? encoder.encode(/** @type {any} */ (value)) : value);
    length(data.length, 0xa0, text ? 31 : -1, text ? 0xd9 : 0xc4);
    for (const byte of data) out.push(byte);
  } else if (Array.isArray(value)) {
    length(value.length, 0x90, 15, 0xdb, 1);
    for (const item of value) put(item, out);
  } else {
    const items = Object.entries(value).filter(([, item]) => item !== undefined);
    length(items.length, 0x80, 15, 0xdd, 1);
    for (const pair of items) for (const item of pair) put(item, out);
  }
  return out;
}

const NUMBERS = ["Float32", "Float64", "Uint8", "Uint16", "Uint32", "BigUint64", "Int8", "Int16", "Int32", "BigInt64"]; // from 0xca

/** Make what reads value after value; it throws SHORT at the end. @param {Uint8Array} data */
function getter(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  const skip = (/** @type {number} */ n) => {
    if ((at += n) > data.length) throw SHORT;
    return at - n;
  };
  const number = (/** @type {string} */ name) => Number(/** @type {any} */ (view)["get" + name](skip(/** @type {any} */ (name.replace(/\D+/, "")) / 8)));
  const length = (/** @type {number} */ power) => number(NUMBERS[2 + power]);
  const text = (/** @type {number} */ n) => decoder.decode(data.subarray(skip(n), at));
  const list = (/** @type {number} */ n) => {
    if (n > data.length - at) throw SHORT;
    return Array.from({ length: n }, get);
  };
  const map = (/** @type {number} */ n) => {
    const items = list(2 * n);
    return Object.fromEntries(
      Array.from({ length: n }, (_, i) => {
        if (typeof items[2 * i] != "string") throw Error("key");
        return items.slice(2 * i, 2 * i + 2);
      }),
    );
  };
  /** @returns {any} */
  const get = () => {
    const kind = number("Uint8");
    if (kind < 0x80) return kind;
    if (kind < 0x90) return map(kind & 15);
    if (kind < 0xa0) return list(kind & 15);
    if (kind < 0xc0) return text(kind & 31);
    if (kind > 0xdf) return kind - 256;
    if (kind == 0xc0) return null;
    if (kind == 0xc2 || kind == 0xc3) return kind == 0xc3;
    if (kind > 0xc3 && kind < 0xc7) return data.slice(skip(length(kind - 0xc4)), at);
    if (kind > 0xc9 && kind < 0xd4) return number(NUMBERS[kind - 0xca]);
    if (kind > 0xdd) return map(length(kind - 0xdd));
    if (kind > 0xdb) return list(length(kind - 0xdb));
    if (kind > 0xd8) return text(length(kind - 0xd9));
    throw Error("kind");
  };
  return { get, at: () => at, more: () => at < data.length };
}

/** @param {any[]} words */
function join(words) {
  const all = new Uint8Array(words.reduce((sum, some) => sum + some.length, 0));
  let at = 0;
  for (const some of words) at += (all.set(some, at), some.length);
  return all;
}

/** @type {import("./packets.js").Codec} */
export const msgpack = {
  name: "msgpack",
  join,
  dumps: (packet) => Uint8Array.from(put(packet, [])),

  loads(data) {
    /** @type {[any, number][]} */ const found = [];
    const reader = getter(data);
    while (reader.more()) {
      const begin = reader.at();
      const array = reader.get();
      if (array !== null) found.push([array, reader.at() - begin]); // null is padding
    }
    return found;
  },

  reader(limit) {
    let rest = new Uint8Array(0);
    return (chunk) => {
      const data = join([rest, chunk]);
      const reader = getter(data);
      let end = 0;
      try {
        for (; reader.more(); end = reader.at()) reader.get();
      } catch (fault) {
        if (fault != SHORT) throw fault;
      }
      rest = data.subarray(end);
      if (rest.length > limit) throw Error("no end");
      return end ? [data.subarray(0, end)] : [];
    };
  },
};
