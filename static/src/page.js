// What a page's life does to a session: hidden tabs, the back-forward cache, networks that come and go, the end.

/** @typedef {import("./client.js").HybridWS} HybridWS */

import { json } from "./json.js";

const BEACON = 60_000; // bytes that a browser sends for a page that is going

const KEY = "hybridws ";

/** Write down where a session is, so that the page can go on with it when it is loaded again. @param {HybridWS} ws */
function save({ _pilot: { limits, n, link }, _inbox, _queue, _codec }) {
  const plain = (/** @type {any} */ words) => json.dumps(_codec.loads(words, link.options)[0][0], link.options);
  const { confirmed, items } = link.outbox;
  return {
    at: Date.now(),
    limits,
    n,
    received: link.received,
    inbox: _inbox.map(([value]) => json.dumps(["m", value], link.options)),
    confirmed,
    outbox: [...items.map(([words]) => words), ..._queue.flatMap(({ words }) => words || [])].map(plain),
  };
}

/**
 * Take out what was saved, so that a tab that is duplicated begins a session of its own; tell whether there was anything.
 * @param {HybridWS} ws
 */
export function restore({ url, _pilot: pilot, _codec, _options }) {
  const text = _options.resumeOnReload && globalThis.sessionStorage?.getItem(KEY + url);
  if (!text) return false;
  sessionStorage.removeItem(KEY + url);
  const { at, limits, n, received, inbox, confirmed, outbox } = JSON.parse(text);
  if (Date.now() - at > limits.resume * 1000) return false;
  const { link } = pilot;
  link.received = link.ackable = received - inbox.length;
  link.outbox.confirmed = link.outbox.last = confirmed;
  pilot.n = n;
  link.options = limits;
  for (const words of outbox) link.send(json.loads(words, limits)[0][0]);
  const place = json.dumps(["#", received - inbox.length + 1], limits);
  pilot.begin(limits, json.loads([place, ...inbox].join("\n"), limits));
  return true;
}

/** Watch the page for a client, and return what ends that. @param {HybridWS} ws */
export function watch(ws) {
  const { document } = globalThis;
  const going = new AbortController();
  const on = (/** @type {EventTarget | undefined} */ where, /** @type {string} */ type, /** @type {(event: any) => void} */ act) =>
    where?.addEventListener?.(type, act, { signal: going.signal });
    on(globalThis, "online", () => ws._pilot.wake());
    on(globalThis, "pageshow", ({ persisted }) => persisted && ws._pilot.wake());
    on(globalThis, "pagehide", ({ persisted }) => {
      const { _pilot } = ws;
      if (persisted) sleep(_pilot);
      else {
        if (!ws._options.resumeOnReload) farewell(ws);
        else if (ws.readyState == 1) sessionStorage.setItem(KEY + ws.url, JSON.stringify(save(ws)));
        _pilot.stop();
      }
    });
    on(document, "freeze", () => sleep(ws._pilot));
    on(document, "resume", () => ws._pilot.wake());
    on(document, "visibilitychange", () => {
      const { hidden } = document;
      ws._pilot.hiddenAt = hidden ? performance.now() : Infinity;
      if (hidden) ws._pilot.kick();
      else ws._pilot.wake();
    });
    if (document?.hidden) ws._pilot.hiddenAt = performance.now();
  return () => going.abort();
}

/** @param {import("./pilot.js").Pilot} pilot */
function sleep(pilot) {
  pilot.asleep = true;
  pilot.rest();
}

/** Say with one beacon what was not acked, and that this is the end. @param {HybridWS} ws */
function farewell(ws) {
  const { _pilot: pilot } = ws;
  const { link } = pilot;
  if (!pilot.sid || link.state > 1) return;
  const lane = link.lane();
  link.acks(lane);
  const words = [link.codec.dumps(["@", pilot.sid, pilot.key, 0, link.ackable], link.options)];
  if (!ws._queue.length) link.close(1001, "");
  const frame = link.hasMore(lane) && link.pending(lane, BEACON - words[0].length);
  if (frame) words.push(frame.payload);
  if (!frame || lane.written + frame.packets < link.outbox.last || ws._queue.length) words.push(link.codec.dumps(["d"], link.options));
  const body = link.codec.join(words);
  const address = pilot.base + "/v1/" + pilot.sid + "/send" + pilot.query;
  // A beacon is what browsers promise to send for a page that is going; where there is none, a fetch that outlives it.
  if (!globalThis.navigator?.sendBeacon?.(address, body)) pilot.env.fetch(address, { method: "POST", body, keepalive: true, credentials: pilot.env.credentials });
}
