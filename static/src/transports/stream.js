// The stream: an answer that does not end, and POSTs beside it. One request up for each thing said, none down.

import { now } from "../clock.js";
import { http } from "./http.js";

const UNBUFFERED = { Accept: "text/event-stream" }; // several inspecting proxies pass a response on at once if the request says this

/** @param {import("../pilot.js").Pilot} pilot @param {import("../pilot.js").Carrier} carrier */
export function stream(pilot, carrier) {
  const link = pilot._link;
  let quiet = true; // this stream has shown nothing yet

  http(pilot, carrier, async (_post, lives, abort) => {
    // Read stream after stream: the server ends each after some time or megabytes.
    while (lives()) {
      quiet = true;
      carrier._started = carrier._touched = now();
      carrier._expects = undefined;
      const response = await pilot._request("stream", pilot._attach(carrier), abort, UNBUFFERED);
      if (response.status != 200) pilot._take(carrier, new Uint8Array(await response.arrayBuffer()), response.status);
      const read = link._codec.reader(2 * link._limits.max_batch);
      const body = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
      for (let chunk; !(chunk = await body.read()).done; ) {
        carrier._heard = carrier._touched = now();
        for (const data of read(chunk.value)) {
          quiet = false;
          pilot._take(carrier, data);
        }
      }
      if (quiet) throw Error("empty stream");
    }
  });
  const behind = carrier._limit;
  carrier._limit = () => Math.min(behind(), quiet ? carrier._started + pilot._firstBytes() : pilot._deadAt(carrier));
}
