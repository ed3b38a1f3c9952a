// Reads streams of server-sent events (HTML standard §9.2.6): bytes in, cut anywhere; whole batches out, still encoded.

import { Malformed } from "./values.js";

/**
 * Make a reader of events: give it chunks, and it returns the data of the events that are complete with them.
 * Comments and all fields but `data` are passed over; a character that is split over two chunks survives.
 * @param {number} limit  characters that one event may take; more is no event of the server's
 */
export function eventReader(limit) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let rest = "";
  /** @type {string[]} */ let data = [];
  let size = 0;
  return (/** @type {Uint8Array} */ chunk) => {
    const events = [];
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = /** @type {string} */ (lines.pop());
    for (const raw of lines) {
      const line = raw.replace(/\r$/, "");
      if (line.startsWith("data:")) size += data.push(line.slice(line[5] == " " ? 6 : 5)) && line.length;
      else if (!line && data.length) {
        events.push(data.join("\n"));
        data = [];
        size = 0;
      }
    }
    if (size + rest.length > limit) throw new Malformed("an event without an end");
    return events;
  };
}
