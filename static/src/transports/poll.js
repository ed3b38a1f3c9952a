// The poll: a request that the server holds until it has something to say. It gets through wherever HTTP does.

import { GRACE } from "../pilot.js";
import { http } from "./http.js";

const LINGER = 250; // ms that the server waits for the application's answer to what a poll brought

/** @param {import("../pilot.js").Pilot} pilot @param {import("../pilot.js").Carrier} carrier */
export const poll = (pilot, carrier) =>
  http(pilot, carrier, async (post, lives) => {
    while (lives()) {
      // Let the application answer what came last, so that its words ride on this poll: one request a round trip.
      for (let hop = 0; hop < 4; hop++) await 0;
      await carrier._sending;
      if (!lives()) return;
      if (pilot._link._hasMore(carrier)) {
        await (carrier._sending = post("poll", LINGER));
        carrier._sending = null;
      } else if (carrier._proved) await post("poll", 1000 * (pilot._wish() || pilot._session.poll_timeout) + GRACE);
      else await post("poll", 0, 0); // the first is answered at once, and so shows that polls pass here
    }
  });
