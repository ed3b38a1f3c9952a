// The JSON codec (docs/protocol.md §2): one packet a line. Words are texts.

import { packetOf } from "./packets.js";
import { eventReader } from "./streams.js";
import { Malformed, TooLarge, check } from "./values.js";

/** @typedef {import("./link.js").Options} Options */

const BASE64 = /^(?:[a-z\d+/]{4})*(?:[a-z\d+/]{2}==|[a-z\d+/]{3}=)?$/i; // stricter than atob, which pardons much
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @param {string} words */
const size = (words) => encoder.encode(words).length;

/** @type {import("./link.js").Codec} */
export const json = {
  name: "json",
  size,
  join: (words) => words.join("\n"),
  reader: eventReader,

  dumps(packet, options) {
    let value = packet;
    if (packet[1] instanceof Uint8Array) {
      let text = "";
      for (let at = 0; at < packet[1].length; at += 8192) text += String.fromCharCode(...packet[1].subarray(at, at + 8192));
      value = ["b", btoa(text)];
    } else for (const item of packet) check(item, options, TypeError);
    const words = JSON.stringify(value);
    if (size(words) > options.max_message) throw new RangeError("a message takes " + options.max_message + " bytes at most");
    return words;
  },

  loads(data, options) {
    /** @type {import("./packets.js").Batch} */ const batch = [];
    try {
      const lines = (typeof data == "string" ? data : decoder.decode(data)).split("\n").filter((/** @type {string} */ line) => line);
      if (lines.length > options.max_packets) throw 0;
      for (const line of lines) {
        const array = JSON.parse(line);
        for (const item of [].concat(array)) check(item, options, Malformed);
        const long = size(line);
        if (long > options.max_message) throw new TooLarge("a message of " + long + " bytes");
        let packet = packetOf(array);
        if (array[0] == "b") {
          if (array.length != 2 || !BASE64.test(array[1])) throw 0;
          packet = ["m", Uint8Array.from(atob(array[1]), (char) => char.charCodeAt(0))];
        }
        if (packet) batch.push([packet, long]);
      }
    } catch (fault) {
      throw fault instanceof TooLarge ? fault : new Malformed("not the server's words: " + fault);
    }
    return batch;
  },
};
