// The poll: a request that the server holds until it has something to say. It gets through wherever HTTP does.

import { Http } from "./http.js";

const GRACE = 10_000; // ms after which a poll that is overdue means that the connection is dead (protocol §7)
const LINGER = 250; // ms that the server waits for the application's answer to what a poll brought

/** @param {import("../pilot.js").Pilot} pilot */
export const poll = (pilot) =>
  new Http(pilot, "poll", async (http) => {
    while (!http.over) {
      // Let the application answer what came last, so that its words ride on this poll: one request a round trip.
      for (let hop = 0; hop < 4; hop++) await null;
      await http.sending;
      if (http.over) return;
      const n = ++pilot.n;
      if (pilot.link.hasMore(http.lane)) {
        await (http.sending = http.post("poll", n, LINGER));
        http.sending = null;
      } else {
        // The first is answered at once, and so shows that polls pass here.
        const hold = http.proved ? pilot.wishes().hold * 1000 || pilot.pollTimeout : 0;
        await http.post("poll", n, hold + (hold && GRACE), hold ? {} : { hold });
      }
    }
  });
