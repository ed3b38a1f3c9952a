// HybridWS: what a page holds in its hands. A WebSocket to the letter, whatever happens to sessions and transports.

import { Calls, RequestFailed } from "./calls.js";
import { ABNORMAL, NORMAL, NO_SESSION, NO_STATUS, checkClose } from "./codes.js";
import { Turned } from "./courier.js";
import { json } from "./json.js";
import { DEFAULTS, Pilot } from "./pilot.js";
import { restore, watch } from "./page.js";
import { wellFormed } from "./values.js";

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {import("./hybridws.d.ts").Options} Options */
/** @typedef {{words: any, size: number, data: number, close?: [number, string], done?: (fault?: any) => void}} Item  what waits for room in the outbox */

const OPEN_PATIENCE = 20_000; // ms for which a session is asked for
const CLOSE_PATIENCE = 10_000; // ms for which the server's answer to our close is waited for
const RENEW_AT = 800; // of a thousand: the part of their life after which credentials are renewed
const MANY_RESETS = 3; // sessions lost within ...
const RESETS_SPAN = 60_000; // ... so many ms mean that something is wrong on the server's side ...
const RESETS_PAUSE = 20_000; // ... so the client waits this long before it opens another
const ORDER = ["websocket", "stream", "poll"];

/** @param {string} why @param {string} name */
const dom = (why, name) => new DOMException(why, name);

export { RequestFailed };

export class HybridWS extends EventTarget {
  readyState = 0;
  extensions = "";
  protocol = "";
  info;
  /** @type {BinaryType} */ _binary = "blob";
  /** @type {Record<string, any>} */ _on = {};
  /** @type {Item[]} */ _queue = [];
  _queued = 0; // bytes of the application's own in it
  _size = 0; // bytes that it would take in the outbox
  _spilled = 0; // bytes that were sent after the end
  /** @type {[value: any, size: number][]} */ _inbox = [];
  /** @type {(() => void)[]} */ _readers = [];
  _iterators = 0;
  _gate = true; // messages wait until who awaits `ready` has had his turn
  /** @type {[count: number, done: (fault?: any) => void][]} */ _deliveries = [];
  /** @type {number[]} */ _resets = [];
  _noCode = false;
  /** @type {any} */ _renewal = null;
  /** @type {any} */ _closing = null;

  /**
   * @param {string | URL} url
   * @param {string | string[] | Options} [protocols]
   * @param {Options} [options]
   */
  constructor(url, protocols = [], options = {}) {
    super();
    if (typeof protocols == "object" && !Array.isArray(protocols)) [protocols, options] = [[], protocols];
    const names = [protocols].flat();
    if (names.some((name, i) => !/^[!#$%&'*+.^`|~\w-]+$/.test(name) || names.indexOf(name) != i)) throw dom("bad subprotocols", "SyntaxError");
    let address;
    try {
      address = new URL(url, globalThis.document?.baseURI || globalThis.location?.href);
    } catch {}
    if (!address || !/^(ws|http)s?:$/.test(address.protocol) || address.hash) throw dom("no address of a server: " + url, "SyntaxError");
    const order = [options.transports || ORDER].flat();
    if (!order.length || order.some((name) => !ORDER.includes(name))) throw TypeError("transports: " + ORDER);
    const ws = this;
    this.info = {
      /** @type {import("./pilot.js").Attempt[]} */ attempts: [],
      roundTrip: 0,
      resumed: 0,
      resets: 0,
      skipped: 0,
      get unacked() {
        return ws._pilot.link.outbox.items.length + ws._queue.length;
      },
      get idle() {
        return ws._pilot.wishes().heartbeat || null;
      },
      get why() {
        return ws._pilot.why();
      },
    };
    this.url = address.href.replace(/^http/, "ws");
    this._address = address.href.replace(/^ws/, "http");
    this._protocols = names;
    this._options = options;
    this._order = order;
    this._calls = new Calls((packet) => this._say(packet));
    this._codec = options.codec || json;
    this.ready = new Promise((resolve, reject) => {
      this._resolve = resolve;
      this._reject = reject;
    });
    this.ready.catch(() => {}); // who does not await it hears of it by events
    this._pilot = this._make();
    this._leave = watch(this);
    queueMicrotask(() => restore(this) || this._open());
  }

  get binaryType() {
    return this._binary;
  }
  set binaryType(type) {
    if (type == "blob" || type == "arraybuffer") this._binary = type;
  }

  /** Bytes that were sent and that the server has not confirmed. */
  get bufferedAmount() {
    return this._pilot.link.outbox.data + this._queued + this._spilled;
  }

  /** The transport that carries the session, or null while none does. */
  get transport() {
    return this._pilot.current;
  }

  /** What was sent and not confirmed by the server. */
  get unacked() {
    const { link } = this._pilot;
    return [...link.unconfirmed(), ...this._queue.flatMap(({ words }) => (words ? link.codec.loads(words, link.options)[0][0].slice(1, 2) : []))];
  }

  /** Who answers the server's requests: a function of the value, plain or async. */
  get onrequest() {
    return this._calls.answerer;
  }
  set onrequest(answerer) {
    this._calls.answerer = answerer;
  }

  // ── what one says ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Send text, a Blob, an ArrayBuffer or a view; with the option `json` any JSON value. @param {any} data */
  send(data) {
    this._send(data);
  }

  /** Send, and resolve when the server has it. @param {any} data @returns {Promise<void>} */
  deliver(data) {
    return new Promise((resolve, reject) => {
      if (this.readyState > 1) throw dom("closed", "InvalidStateError");
      this._send(data, (fault) => (fault ? reject(fault) : resolve()));
    });
  }

  /** Send a request, and resolve with its answer. @param {any} value @param {{timeout?: number, signal?: AbortSignal}} [options] */
  request(value, options) {
    return this._calls.ask(value, options);
  }

  /** @param {any} data @param {(fault?: any) => void} [done] */
  _send(data, done) {
    if (data instanceof Blob) {
      /** @type {Item} */ const item = { words: null, size: 0, data: data.size, done };
      this._enqueue(item); // it keeps its place
      data.arrayBuffer().then((bytes) => {
        Object.assign(item, this._encode(["m", new Uint8Array(bytes)]));
        this._flush();
      });
      return;
    }
    if (data instanceof ArrayBuffer) data = new Uint8Array(data.slice(0));
    else if (ArrayBuffer.isView(data)) data = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    else if (typeof data == "string" || !this._options.json) data = wellFormed(String(data));
    const { words, size } = this._encode(["m", data]);
    this._enqueue({ words, size, data: data?.byteLength ?? (typeof data == "string" ? new TextEncoder().encode(data).length : size), done });
  }

  /** @param {Packet} packet */
  _encode(packet) {
    const words = this._codec.dumps(packet, this._pilot.link.options);
    return { words, size: this._codec.size(words) };
  }

  /** @param {Packet} packet */
  _say(packet) {
    if (this.readyState > 1) throw dom("closed", "InvalidStateError");
    this._enqueue({ ...this._encode(packet), data: 0 });
  }

  /** @param {Item} item */
  _enqueue(item) {
    const { readyState } = this;
    if (readyState > 1 && !item.close) {
      this._spilled += item.data;
      return;
    }
    if (!readyState && this._pilot.link.outbox.size + this._size + item.size > (this._options.buffer || DEFAULTS.buffer)) throw dom("too much was sent before `open`", "QuotaExceededError");
    this._queue.push(item);
    this._queued += item.data;
    this._size += item.size + 64;
    this._flush();
  }

  /** Give numbers to what waits, as far as there is room. */
  _flush() {
    const { link } = this._pilot;
    for (let item; (item = this._queue[0]) && (item.words || item.close) && !link.state && !link.full; ) {
      this._queue.shift();
      this._queued -= item.data;
      this._size -= item.size + 64;
      if (item.close) link.close(...item.close);
      else {
        const number = link.outbox.append(item.words, item.size, item.data);
        if (item.done) this._deliveries.push([number, item.done]);
      }
    }
    this._pilot.kick();
  }

  /** Close, after all that was sent so far. @param {number} [code] @param {string} [reason] */
  close(code, reason = "") {
    reason = wellFormed(String(reason));
    checkClose(code, reason);
    if (this.readyState > 1) return;
    const connecting = !this.readyState;
    this.readyState = 2;
    this._noCode = code === undefined;
    if (connecting) setTimeout(() => this._end(ABNORMAL, "", false));
    else {
      this._closing = setTimeout(() => this._end(ABNORMAL, "", false), CLOSE_PATIENCE);
      this._enqueue({ words: null, size: 0, data: 0, close: [code ?? NORMAL, reason] });
    }
  }

  /** Use only this transport from now on, or these in this order; without any, all that may be. @param {string | string[]} [transports] */
  use(transports) {
    this._pilot.use(transports ? [transports].flat() : null);
  }

  // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

  _make() {
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch, credentials } = this._options;
    return new Pilot(
      this._address,
      this._order,
      this._codec,
      {
        now: () => performance.now(),
        later: (work, ms) => setTimeout(work, ms),
        cancel: (timer) => clearTimeout(timer),
        fetch: (...request) => fetch(...request),
        WebSocket: /** @type {any} */ (WebSocket),
        credentials,
      },
      {
        auth: async () => (typeof this._options.auth == "function" ? this._options.auth() : this._options.auth),
        hand: (packet, size) => this._hand(packet, size),
        tell: (state, reason) => this._tell(state, reason),
        moved: () => this._moved(),
        over: (code, reason) => this._end(code, reason, true),
        lost: (reason) => this._lost(reason),
      },
      this.info,
    );
  }

  async _open() {
    this._tell("connecting", this._address);
    try {
      await this._pilot.open(this._options.openTimeout || OPEN_PATIENCE);
    } catch (/** @type {any} */ fault) {
      const turned = fault instanceof Turned;
      this._end(turned ? fault.code : ABNORMAL, turned ? fault.reason : "", turned, fault);
    }
  }

  /** @param {string} state @param {string} reason */
  _tell(state, reason, unacked = /** @type {any[]} */ ([])) {
    if (state == "open" && !this.readyState) {
      this.readyState = 1;
      this.protocol = this._pilot.limits.protocol || "";
      this.dispatchEvent(new Event("open"));
      this._resolve(this);
      setTimeout(() => {
        this._gate = false;
        this._pump();
      });
    }
    if (state == "resumed") this.info.resumed++;
    this._options.log?.(state || "transport", reason);
    this.dispatchEvent(Object.assign(new Event("state"), { state: state || "transport", reason, unacked, transport: this.transport }));
  }

  /** @param {Packet} packet @param {number} size */
  _hand(packet, size) {
    const [kind, value] = packet;
    if (kind == "m") {
      this._inbox.push([value, size]);
      this._pump();
    } else if (kind == "k") this.info.skipped += value;
    else if (kind == "c") this._end(value, packet[2], true);
    else if (kind == "u") {
      clearTimeout(this._renewal);
      if (value?.expires && typeof this._options.auth == "function") this._renewal = setTimeout(() => this._renew(), value.expires * RENEW_AT);
    } else this._calls.take(packet);
  }

  async _renew() {
    const fresh = await this._options.auth();
    if (this.readyState == 1) this._say(["u", fresh]);
  }

  /** Hand out what has come: to those who iterate, when they ask for it; else at once. */
  _pump() {
    while (!this._gate && this._inbox.length && (!this._iterators || this._readers.length)) {
      const reader = this._readers.shift();
      if (reader) return reader();
      this._take();
    }
  }

  /** Take the oldest message, and tell everybody. */
  _take() {
    const [value, size] = /** @type {[any, number]} */ (this._inbox.shift());
    this._pilot.link.taken(size);
    const bytes = value instanceof Uint8Array;
    const data = bytes
      ? this._binary == "blob" ? new Blob([/** @type {any} */ (value)]) : value.slice().buffer
      : typeof value == "string" || this._options.json ? value : JSON.stringify(value);
    if (this.readyState == 1 || this._iterators) this.dispatchEvent(new MessageEvent("message", { data, origin: new URL(this.url).origin }));
    return data;
  }

  /** Receive messages until the end. */
  async *[Symbol.asyncIterator]() {
    this._iterators++;
    try {
      for (;;) {
        while (this._gate || !this._inbox.length) {
          if (this.readyState > 2) return;
          await new Promise((resolve) => this._readers.push(/** @type {any} */ (resolve)));
        }
        yield this._take();
        this._pilot.kick();
      }
    } finally {
      this._iterators--;
      this._pump();
    }
  }

  _moved() {
    const { link } = this._pilot;
    while (this._deliveries.length && this._deliveries[0][0] <= link.outbox.confirmed) this._deliveries.shift()?.[1]();
    this._flush();
    if (link.said && link.state > 1 && !link.heard) this._end(this._noCode ? NO_STATUS : link.said[0], link.said[1], true);
  }

  /** @param {string} reason */
  async _lost(reason) {
    const { unacked } = this;
    this.info.resets++;
    this._pilot.stop();
    for (const [, done] of this._deliveries.splice(0)) done(dom(reason, "NetworkError"));
    if (this._options.onlost != "reopen" || this.readyState != 1) {
      this._tell("reset", reason, unacked);
      return this._end(NO_SESSION, reason, false);
    }
    this._calls.end(dom(reason, "NetworkError"));
    this._queue = [];
    this._queued = this._size = 0;
    this._pilot = this._make();
    this._tell("reset", reason, unacked);
    const now = Date.now();
    this._resets = [now, ...this._resets].slice(0, MANY_RESETS);
    if (this._resets.length == MANY_RESETS && now - this._resets[MANY_RESETS - 1] < RESETS_SPAN) await new Promise((resolve) => setTimeout(resolve, RESETS_PAUSE));
    this._open();
  }

  /** @param {number} code @param {string} reason @param {boolean} wasClean @param {any} [fault] */
  _end(code, reason, wasClean, fault) {
    if (this.readyState > 2) return;
    this._gate = false;
    if (!this._iterators) this._pump();
    this.readyState = 3;
    clearTimeout(this._closing);
    clearTimeout(this._renewal);
    this._leave();
    if (!this._pilot.link.heard) this._pilot.stop();
    const error = fault || dom("closed with " + code, "NetworkError");
    for (const [, done] of this._deliveries) done(error);
    for (const item of this._queue) item.done?.(error);
    this._calls.end(error);
    this._reject(error);
    if (!wasClean) this.dispatchEvent(new Event("error"));
    this._tell("closed", reason || "closed with " + code);
    const how = { code, reason, wasClean };
    this.dispatchEvent(globalThis.CloseEvent ? new CloseEvent("close", how) : Object.assign(new Event("close"), how)); // Node 20 has none
    for (const reader of this._readers.splice(0)) reader();
  }
}

["CONNECTING", "OPEN", "CLOSING", "CLOSED"].forEach((name, value) => {
  for (const where of [HybridWS, HybridWS.prototype]) Object.defineProperty(where, name, { value, enumerable: true });
});

for (const type of ["open", "message", "error", "close", "state"]) {
  Object.defineProperty(HybridWS.prototype, "on" + type, {
    enumerable: true,
    get() {
      return this._on[type] || null;
    },
    set(handler) {
      if (!(type in this._on)) this.addEventListener(type, (/** @type {any} */ event) => this._on[type]?.call(this, event));
      this._on[type] = typeof handler == "function" ? handler : null;
    },
  });
}
