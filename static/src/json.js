// The JSON codec (docs/protocol.md §2): one packet a line. Words are texts.

import { sizeOf } from "./packets.js";

const decoder = () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @type {import("./packets.js").Codec} */
export const json = {
  name: "json",
  join: (words) => words.join("\n"),

  dumps: (packet) =>
    JSON.stringify(packet[1] instanceof Uint8Array ? ["b", btoa(packet[1].reduce((text, byte) => text + String.fromCharCode(byte), ""))] : packet),

  loads: (data) =>
    (typeof data == "string" ? data : decoder().decode(data))
      .split("\n")
      .filter((/** @type {string} */ line) => line.trim())
      .map((/** @type {string} */ line) => {
        let array = JSON.parse(line);
        if (array[0] === "b") {
          const bytes = atob(array[1]);
          if (array.length > 2 || btoa(bytes) != array[1]) throw 0; // atob pardons much
          array = ["m", Uint8Array.from(bytes, (char) => char.charCodeAt(0))];
        }
        return [array, sizeOf(line)];
      }),

  /** Read server-sent events (HTML standard §9.2.6), cut anywhere: also in the middle of a character. */
  reader: (limit) => {
    const utf8 = decoder();
    let rest = "";
    return (chunk) => {
      const events = (rest + utf8.decode(chunk, { stream: true })).split(/\r?\n\r?\n/);
      rest = /** @type {string} */ (events.pop());
      if (rest.length > limit) throw Error("no end");
      return events.map((event) => [...("\n" + event).matchAll(/\ndata: ?([^\r\n]*)/g)].map(([, line]) => line).join("\n")).filter(Boolean);
    };
  },
};
