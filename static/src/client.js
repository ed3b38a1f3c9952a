// HybridWS: what a page holds in its hands. A WebSocket to the letter, whatever happens to sessions and transports.

import { now } from "./clock.js";
import { ABNORMAL, HANDLER_FAILED, NORMAL, NO_SESSION, RESTARTING } from "./codes.js";
import { OVERHEAD } from "./outbox.js";
import { restore, watch } from "./page.js";
import { isBytes, sizeOf, wellFormed } from "./packets.js";
import { TRANSPORTS, makePilot } from "./pilot.js";

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {import("./hybridws.d.ts").Options} Options */
/** @typedef {import("./outbox.js").Done} Done */

const OPEN_PATIENCE = 20_000; // ms for which a session is asked for
const CLOSE_PATIENCE = 10_000; // ms for which the server's answer to our close is waited for
const MAX_REASON = 123; // bytes of UTF-8 that fit in a WebSocket close frame (RFC 6455 §5.5)
const RENEW_AT = 800; // of a thousand: the part of their life after which credentials are renewed
const MANY_RESETS = 3; // sessions lost within ...
const RESETS_SPAN = 60_000; // ... so many ms mean that something is wrong on the server's side ...
const RESETS_PAUSE = 20_000; // ... so the client waits this long before it opens another

/** @param {string} why @param {string} name */
const dom = (why, name) => new DOMException(why, name);

/** The other side answered a request with an error. */
export class RequestFailed extends Error {
  name = "RequestFailed";
  /** @param {number} code  from 1000 to 4999 @param {string} text */
  constructor(code, text) {
    if (!(code >= 1000 && code < 5000)) throw RangeError("no code from 1000 to 4999: " + code);
    super(text);
    this.code = code;
  }
}

export class HybridWS extends EventTarget {
  readyState = 0;
  extensions = "";
  protocol = "";
  /** Who answers the server's requests: a function of the value, plain or async. @type {((value: any) => any) | null} */
  onrequest = null;
  /** @type {BinaryType} */ _binary = "blob";
  _spilled = 0; // bytes that were sent after the end
  /** @type {(() => void)[]} */ _readers = [];
  _iterators = 0;
  _gate = true; // messages wait until who awaits `ready` has had his turn
  /** @type {Record<number, Done>} */ _asked = {};
  _id = 0;
  /** @type {number[]} */ _resets = [];

  /**
   * @param {string | URL} url
   * @param {string | string[] | Options} [protocols]
   * @param {Options} [options]
   */
  constructor(url, protocols = [], options = {}) {
    super();
    if (!(/** @type {any} */ (protocols).at)) [protocols, options] = [[], /** @type {Options} */ (protocols)]; // texts and arrays have it
    /** @type {any} */ const names = [protocols].flat();
    const order = [options.transports || Object.keys(TRANSPORTS)].flat();
    /** @type {any} */ let address;
    try {
      address = new URL(url, globalThis.document?.baseURI || /** @type {any} */ (globalThis.location));
      address.protocol = address.protocol.replace("http", "ws");
    } catch {}
    if (!/^wss?:[^#]+$/.test(address?.href)) throw dom("bad address: " + url, "SyntaxError");
    if (names.some((/** @type {string} */ name, /** @type {number} */ i) => !/^[!#$%&'*+.^`|~\w-]+$/.test(name) || names.indexOf(name) != i)) throw dom("bad protocols", "SyntaxError");
    if (!order[0] || order.some((name) => !TRANSPORTS[name])) throw TypeError("transports: " + Object.keys(TRANSPORTS));
    for (const type of ["open", "message", "error", "close", "state"]) {
      /** @type {any} */ (this)["on" + type] = null;
      this.addEventListener(type, (event) => /** @type {any} */ (this)["on" + type]?.call(this, event));
    }
    const ws = this;
    this.info = {
      /** @type {import("./pilot.js").Attempt[]} */ attempts: [],
      roundTrip: 0,
      resumed: 0,
      resets: 0,
      skipped: 0,
      get unacked() {
        return ws._items.length;
      },
      get idle() {
        return ws._pilot._wish() || null;
      },
      get why() {
        return ws._pilot._why();
      },
    };
    this.url = address.href;
    this._origin = address.origin;
    this._options = options;
    this._protocols = names;
    this._make = () => makePilot(this, address.href.replace("ws", "http"), order, options, this.info);
    this._pilot = this._make();
    this.ready = new Promise((resolve, reject) => {
      this._resolve = resolve;
      this._reject = reject;
    });
    this.ready.catch(() => {}); // who does not await it hears of it by events
    this._leave = watch(this);
    queueMicrotask(() => restore(this) || this._open());
  }

  get binaryType() {
    return this._binary;
  }
  set binaryType(type) {
    if (type == "blob" || type == "arraybuffer") this._binary = type;
  }

  get _items() {
    return this._pilot._link._items;
  }

  /** Bytes that were sent and that the server has not confirmed. */
  get bufferedAmount() {
    return this._items.reduce((sum, item) => sum + item._data, this._spilled);
  }

  /** The transport that carries the session, or null while none does. */
  get transport() {
    return this._pilot._current;
  }

  /** What was sent and not confirmed by the server. */
  get unacked() {
    return this._items.flatMap(({ _packet: [kind, value] }) => (kind == "m" ? [value] : []));
  }

  // ── what one says ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Send text, a Blob, an ArrayBuffer or a view; with the option `json` any JSON value. @param {any} data */
  send(data) {
    this._message(data);
  }

  /** Send, and resolve when the server has it. @param {any} data @returns {Promise<void>} */
  deliver(data) {
    return new Promise((resolve, reject) => {
      this._must();
      this._message(data, [resolve, reject]);
    });
  }

  /**
   * Send a request and wait for its answer. Throws RequestFailed, TimeoutError after `timeout` ms, or the signal's reason.
   * @param {any} value @param {{timeout?: number, signal?: AbortSignal}} [options]
   */
  request(value, { timeout, signal } = {}) {
    return new Promise((resolve, reject) => {
      for (const end of [signal, timeout && AbortSignal.timeout(timeout)])
        if (end) {
          end.throwIfAborted();
          end.addEventListener("abort", () => reject(end.reason));
        }
      this._say(["q", ++this._id, value]);
      this._asked[this._id] = [resolve, reject];
    });
  }

  /** Close, after all that was sent so far. @param {number} [code] @param {string} [reason] */
  close(code, reason = "") {
    reason = wellFormed("" + reason);
    if (code !== undefined && code != NORMAL && !(code >= 3000 && code < 5000)) throw dom("code " + code, "InvalidAccessError");
    if (sizeOf(reason) > MAX_REASON) throw dom("reason over 123 bytes", "SyntaxError");
    if (this.readyState > 1) return;
    const patience = this.readyState && CLOSE_PATIENCE;
    this.readyState = 2;
    this._closing = setTimeout(() => this._end(ABNORMAL, "", false), patience);
    if (patience) this._pilot._link._close(code, reason);
    this._pilot._kick();
  }

  /** Use only this transport from now on, or these in this order; without any, all that may be. @param {any} [transports] */
  use(transports) {
    this._pilot._use(transports && [transports].flat());
  }

  /** @param {any} data @param {Done} [done] */
  _message(data, done) {
    const blob = data instanceof Blob && data;
    if (blob) data = new Uint8Array(blob.size); // a place as large as it takes
    else if (isBytes(data)) data = new Uint8Array(data.buffer || data, data.byteOffset, data.byteLength).slice();
    else if (typeof data == "string" || !this._options.json) data = wellFormed("" + data);
    const size = data?.byteLength ?? sizeOf(typeof data == "string" ? data : JSON.stringify(data) || "");
    if (this.readyState > 1) this._spilled += size;
    else {
      const item = this._say(["m", data], done, size);
      if (blob) {
        const link = this._pilot._link;
        item._words = null;
        item._packet[1] = blob;
        blob.arrayBuffer().then(
          (bytes) => {
            item._words = link._encode((item._packet = ["m", new Uint8Array(bytes)]));
            this._pilot._kick();
          },
          (fault) => this._end(ABNORMAL, "", false, fault),
        );
      }
    }
  }

  _must() {
    if (this.readyState > 1) throw dom("closed", "InvalidStateError");
  }

  /** @param {Packet} packet @param {Done} [done] */
  _say(packet, done, size = 0) {
    this._must();
    const { _link: link } = this._pilot;
    const item = link._item(packet, done, size);
    if (!this.readyState && link._size + item._size + OVERHEAD > link._limits.buffer) throw dom("the buffer is full", "QuotaExceededError");
    link._append(item);
    this._pilot._kick();
    return item;
  }

  // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

  /** @returns {any} */
  _auth() {
    const { auth } = this._options;
    return typeof auth == "function" ? auth() : auth;
  }

  async _open() {
    this._tell("connecting", this.url);
    try {
      await this._pilot._open(this._options.openTimeout || OPEN_PATIENCE, this._protocols);
    } catch (/** @type {any} */ fault) {
      const [, code = ABNORMAL, reason = ""] = fault._refusal || [];
      this._end(code, reason, code != ABNORMAL, fault);
    }
  }

  /** @param {string} type @param {any} [init] what the event has besides @param {any} [of] its class, where there is one for that */
  _emit(type, init, of) {
    this.dispatchEvent(of ? new of(type, init) : Object.assign(new Event(type), init));
  }

  /** @param {string} state @param {string} reason */
  _tell(state, reason, unacked = /** @type {any[]} */ ([])) {
    if (state == "open" && !this.readyState) {
      this.readyState = 1;
      this.protocol = this._pilot._session.protocol || "";
      this._emit("open");
      this._resolve(this);
      setTimeout(() => this._pump((this._gate = false)));
    }
    if (state == "resumed") this.info.resumed++;
    const { debug, log = debug && console.debug } = this._options;
    if (log) log(state, reason);
    this._emit("state", { state, reason, unacked, transport: this.transport });
  }

  /** @param {Packet} packet */
  async _hand([kind, value, more, text]) {
    if (kind == "m") this._pump();
    if (kind == "k") this.info.skipped += value;
    if (kind == "c") this._end(value, more, true);
    if (kind == "r" || kind == "e") {
      const [resolve, reject] = this._asked[value] || [];
      delete this._asked[value];
      if (kind == "r") resolve?.(more);
      else reject?.(new RequestFailed(more, text));
    }
    if (kind == "u") {
      clearTimeout(this._renewal);
      if (value?.expires && typeof this._options.auth == "function")
        this._renewal = setTimeout(async () => {
          const fresh = await this._auth();
          if (this.readyState == 1) this._say(["u", fresh]);
        }, value.expires * RENEW_AT);
    }
    if (kind == "q") {
      const { onrequest } = this;
      try {
        if (!onrequest) throw new RequestFailed(NO_SESSION, "no handler");
        this._say(["r", value, (await onrequest(more)) ?? null]);
      } catch (/** @type {any} */ fault) {
        if (this.readyState > 1) return;
        const meant = fault instanceof RequestFailed;
        if (!meant) console.error(fault);
        this._say(["e", value, ...(meant ? [fault.code, fault.message] : [HANDLER_FAILED, "failed"])]);
      }
    }
  }

  /** Hand out what has come: to those who iterate, when they ask for it; else at once. */
  _pump(gate = this._gate) {
    if (this._iterators) for (const wake of this._readers.splice(0)) wake();
    else while (!gate && this._pilot._link._inbox[0]) this._take();
  }

  /** Take the oldest message, and tell everybody. */
  _take() {
    let data = this._pilot._link._take();
    if (isBytes(data)) data = this._binary == "blob" ? new Blob([data]) : data.slice().buffer;
    else if (typeof data != "string" && !this._options.json) data = JSON.stringify(data);
    if (this.readyState == 1 || this._iterators) this._emit("message", { data, origin: this._origin }, MessageEvent);
    return data;
  }

  /** Receive messages until the end. */
  async *[Symbol.asyncIterator]() {
    this._iterators++;
    try {
      for (;;) {
        while (!this._pilot._link._inbox[0]) {
          if (this.readyState > 2) return;
          await new Promise((resolve) => this._readers.push(/** @type {any} */ (resolve)));
        }
        yield this._take();
        this._pilot._kick();
      }
    } finally {
      this._iterators--;
      this._pump();
    }
  }

  /** Whether another session takes the place of one that is lost, or whose server restarts. */
  _reopens() {
    return this._options.onlost == "reopen" && this.readyState == 1;
  }

  /** @param {string} reason @returns {Promise<void>} */
  async _lost(reason) {
    const { unacked } = this;
    this.info.resets++;
    this._fail(dom(reason, "NetworkError"));
    const again = this._reopens();
    if (again) {
      const { _inbox } = this._pilot._link;
      this._pilot = this._make();
      for (const [value] of _inbox) this._pilot._link._inbox.push([value, 0, 1]); // whoever iterates has not taken it yet
    }
    this._tell("reset", reason, unacked);
    if (!again) return this._end(NO_SESSION, reason, false);
    this._resets = [now(), ...this._resets].slice(0, MANY_RESETS);
    if (now() - this._resets[MANY_RESETS - 1] < RESETS_SPAN) await new Promise((resolve) => setTimeout(resolve, RESETS_PAUSE));
    this._open();
  }

  /** Tell everybody who waits for an ack or an answer that none will come. @param {any} fault */
  _fail(fault) {
    for (const item of this._items) item._done?.[1](fault);
    for (const id in this._asked) this._asked[id][1](fault);
  }

  /** @param {number} code @param {string} reason @param {boolean} wasClean @param {any} [fault] */
  _end(code, reason, wasClean, fault) {
    if (this.readyState > 2) return;
    if (code == RESTARTING && this._reopens()) return void this._lost(reason);
    this._pump((this._gate = false));
    this.readyState = 3;
    clearTimeout(this._closing);
    clearTimeout(this._renewal);
    this._leave.abort();
    if (!this._pilot._link._heard) this._pilot._stop();
    fault ||= dom("closed with " + code, "NetworkError");
    this._fail(fault);
    this._reject(fault);
    if (!wasClean) this._emit("error");
    this._tell("closed", reason || "closed with " + code);
    this._emit("close", { code, reason, wasClean }, globalThis.CloseEvent); // Node 20 has none
  }
}

["CONNECTING", "OPEN", "CLOSING", "CLOSED"].forEach((name, value) => {
  for (const where of [HybridWS, HybridWS.prototype]) Object.defineProperty(where, name, { value, enumerable: true });
});
