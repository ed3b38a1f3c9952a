// The stream: an answer that does not end, and POSTs beside it. One request up for each thing said, none down.

import { believe, request } from "../courier.js";
import { Lane } from "../link.js";
import { Http } from "./http.js";

const GRACE = 10_000; // ms after which a heartbeat that is overdue means that the connection is dead (protocol §7)

/** @param {import("../pilot.js").Pilot} pilot */
export function stream(pilot) {
  const { link, env } = pilot;
  let quiet = true; // this stream has shown nothing yet

  /** Read stream after stream: the server ends each after some time or megabytes. @param {Http} http */
  const run = async (http) => {
    while (!http.over) {
      quiet = true;
      http.started = http.touched = env.now();
      const response = await request(pilot, pilot.sid + "/stream", http.attach(++pilot.n), http.abort, true);
      if (response.status != 200) {
        believe(response.status, new Uint8Array(await response.arrayBuffer()), link.codec, link.options);
      }
      if (!response.body) throw Error("no streams here");
      const read = link.codec.reader(2 * link.options.max_batch);
      const lane = new Lane();
      const body = response.body.getReader();
      for (;;) {
        const { done, value } = await body.read();
        if (done) break;
        http.heard = http.touched = env.now();
        for (const data of read(value)) {
          quiet = false;
          const batch = link.codec.loads(data, link.options);
          pilot.carried(http);
          pilot.take(http, lane, batch);
        }
      }
      if (quiet) throw Error("the stream ended without a word");
    }
  };
  const http = new Http(pilot, "stream", run);
  const behind = http.limit.bind(http);
  http.limit = () => Math.min(behind(), quiet ? http.started + pilot.firstBytes() : http.heard + pilot.heartbeat() + GRACE);
  return http;
}

