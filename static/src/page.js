// What a page's life does to a session: hidden tabs, the back-forward cache, networks that come and go, the end.

import { now } from "./clock.js";
import { json } from "./json.js";

/** @typedef {import("./client.js").HybridWS} HybridWS */
/** @typedef {import("./packets.js").Packet} Packet */

const BEACON = 60_000; // bytes that a browser sends for a page that is going
const KEY = "hybridws ";

/** @param {any[]} packets */
const words = (packets) => json.join(packets.map(json.dumps));

/** Write down where a session is, so that the page can go on with it when it is loaded again. @param {HybridWS} ws */
function save({ url, _pilot: pilot }) {
  const link = pilot._link;
  const { _inbox: inbox, _received: received, _confirmed: confirmed } = link;
  const items = link._items.slice(0, link._since(0, Infinity).length); // those whose bytes have been read
  const first = inbox[0] ? inbox[0][2] : received + 1; // the number of what comes next, to the application
  const state = {
    at: Date.now(),
    session: pilot._session,
    received: first - 1,
    confirmed,
    inbox: words([["#", first], ...inbox.map(([value]) => ["m", value])]),
    outbox: words(items.map(({ _packet }) => _packet)),
  };
  sessionStorage.setItem(KEY + url, JSON.stringify(state));
}

/**
 * Take out what was saved, so that a tab that is duplicated begins a session of its own; tell whether there was anything.
 * @param {HybridWS} ws
 */
export function restore({ url, _pilot: pilot, _options: { resumeOnReload } }) {
  const saved = resumeOnReload && globalThis.sessionStorage?.getItem(KEY + url);
  if (!saved) return;
  sessionStorage.removeItem(KEY + url);
  const { at, session, received, confirmed, inbox, outbox } = JSON.parse(saved);
  if (Date.now() - at > session.resume * 1000) return;
  const link = pilot._link;
  link._received = received;
  link._confirmed = link._last = confirmed;
  for (const [packet] of json.loads(outbox)) link._send(packet);
  pilot._begin(session, json.loads(inbox));
  return true;
}

/** Say what was not acked, and that this is the end. May be called again, wherever it was ended. @param {HybridWS} ws */
function farewell({ _pilot: pilot }) {
  const link = pilot._link;
  if (!pilot._session.sid || link._over()) return;
  const lane = link._lane();
  link._close(1001, "");
  pilot._repeat(); // Firefox loses a beacon in some hundred, and sends what a WebSocket was given
  let body = link._write(lane, BEACON, [pilot._attach(lane, true)]);
  if (lane._written < link._last) body = link._codec.join([body, link._encode(["d"])]);
  // A beacon is what browsers promise to send for a page that is going. (Not as a Blob: Firefox loses more of those.)
  navigator.sendBeacon?.(pilot._address("send"), body);
}

/** Watch the page for a client, and return what aborts that. @param {HybridWS} ws */
export function watch(ws) {
  const going = new AbortController();
  const wake = () => ws._pilot._wake();
  const freeze = () => ws._pilot._sleep();
  const look = () => {
    ws._pilot._hiddenAt = globalThis.document?.hidden ? now() : Infinity;
    ws._pilot._kick();
  };
  /** @type {Record<string, (event: any) => void>} */
  const acts = {
    online: wake,
    resume: wake,
    freeze,
    offline: () => ws._pilot._probe(),
    pageshow: ({ persisted }) => persisted && wake(),
    pagehide({ persisted }) {
      if (persisted) return freeze();
      if (!ws._options.resumeOnReload) farewell(ws);
      else if (ws.readyState == 1) save(ws);
      ws._pilot._stop();
      going.abort();
    },
    visibilitychange() {
      look();
      if (!document.hidden) wake();
    },
  };
  // What happens to a document is seen by its window on the way down, whether it bubbles or not.
  // Firefox ends the first script that it finds running in a tab that is being closed, so the last one is called again.
  for (const type in acts)
    for (const capture of type == "pagehide" ? [true, false] : [true]) globalThis.addEventListener?.(type, acts[type], { signal: going.signal, capture });
  look();
  return going;
}
