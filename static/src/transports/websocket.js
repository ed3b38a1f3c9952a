// The WebSocket: both ways on one connection. On trial until its attach is answered; what carried before goes on.

import { believe } from "../courier.js";
import { json } from "../json.js";
import { PROOF } from "../ladder.js";

const GRACE = 10_000; // ms after which a heartbeat that is overdue means that the connection is dead (protocol §7)

/** @param {import("../pilot.js").Pilot} pilot */
export function websocket(pilot) {
  const { link, env } = pilot;
  const lane = link.lane();
  const started = env.now();
  const ws = new /** @type {typeof WebSocket} */ (env.WebSocket)(pilot.base.replace(/^http/, "ws") + "/v1/websocket" + pilot.query);
  let asked = 0;
  let flushing = false;
  let beats = false;
  ws.binaryType = "arraybuffer";

  const flush = () => {
    flushing = false;
    if (!carrier.proved || carrier.retired || ws.readyState != 1) return;
    if (beats) ws.send(link.codec.dumps(["h"], link.options));
    beats = false;
    for (let frame; (frame = link.pending(lane)); carrier.touched = env.now()) {
      link.wrote(lane, frame);
      ws.send(frame.payload);
    }
  };
  const end = (/** @type {any} */ fault, code = 0) => {
    ws.onclose = ws.onmessage = ws.onopen = null;
    ws.close();
    pilot.ended(carrier, fault, code);
  };
  const carrier = {
    name: "websocket",
    sending: false,
    lane,
    started,
    proved: 0,
    retired: false,
    heard: started,
    touched: started,
    limit: () => (carrier.proved ? carrier.heard + pilot.heartbeat() + GRACE : started + PROOF),
    fail: end,
    stop() {
      carrier.retired = true;
      end("stopped");
    },
    retire() {
      carrier.retired = true; // the server ends it; what it still brings is heard
    },
    beat() {
      beats = true;
      carrier.wake();
    },
    wake() {
      if (!flushing) queueMicrotask(flush);
      flushing = true;
    },
  };

  ws.onopen = () => {
    asked = env.now();
    link.acks(lane);
    lane.owes = true; // on trial, an ack is what shows that we hear
    ws.send(link.codec.dumps(["@", pilot.sid, pilot.key, ++pilot.n, link.ackable, pilot.wishes()], link.options));
  };
  ws.onmessage = ({ data }) => {
    try {
      const [words, codec] = typeof data == "string" ? [data, json] : [new Uint8Array(data), link.codec];
      const batch = carrier.proved ? codec.loads(words, link.options) : believe(200, words, codec, link.options);
      if (!carrier.proved) pilot.measured(env.now() - asked);
      pilot.carried(carrier);
      pilot.take(carrier, lane, batch);
    } catch (fault) {
      end(fault);
    }
  };
  ws.onerror = () => {}; // close says more
  ws.onclose = ({ code, reason }) => end("closed with " + code + (reason && " " + reason), code);
  return carrier;
}
