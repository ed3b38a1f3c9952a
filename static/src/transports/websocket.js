// The WebSocket: both ways on one connection. On trial until its attach is answered; what carried before goes on.

import { now } from "../clock.js";
import { PROOF } from "../ladder.js";

/** @param {import("../pilot.js").Pilot} pilot @param {import("../pilot.js").Carrier} carrier */
export function websocket(pilot, carrier) {
  const link = pilot._link;
  const ws = new /** @type {typeof WebSocket} */ (pilot._WebSocket)(pilot._address("websocket").replace("http", "ws"));
  let asked = 0;
  ws.binaryType = "arraybuffer";

  carrier._stop = (fault, code) => {
    ws.onmessage = null;
    ws.close();
    pilot._ended(carrier, fault, code);
  };
  carrier._limit = () => (carrier._proved ? pilot._deadAt(carrier) : carrier._started + PROOF);
  carrier._beat = () => ws.send(link._encode(["h"]));
  carrier._wake = () => {
    if (carrier._proved && pilot._lives(carrier) && ws.readyState == 1)
      for (let frame; (frame = link._write(carrier)); carrier._touched = now()) ws.send(frame);
  };

  ws.onopen = () => {
    asked = now();
    ws.send(pilot._attach(carrier));
    carrier._owes = true; // on trial, an ack is what shows that we hear
  };
  ws.onmessage = ({ data }) => {
    try {
      if (!carrier._proved) pilot._measured(now() - asked);
      pilot._take(carrier, typeof data == "string" ? data : new Uint8Array(data));
    } catch (fault) {
      carrier._stop(fault);
    }
  };
  ws.onclose = ({ code, reason }) => carrier._stop("closed with " + code + (reason && ": " + reason), code);
  ws.onerror = () => {}; // close says more
}
