// The entry "hybridws/sockjs": SockJS's constructor and events, so that a user of sockjs-client changes one line.

import { HybridWS } from "./index.js";

/** @type {[RegExp, string][]} Which of ours stands for which of SockJS's transports. */
const STANDS_FOR = [
  [/websocket/, "websocket"],
  [/streaming|eventsource|htmlfile/, "stream"],
  [/polling/, "poll"],
];

export class SockJS extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  extensions = "";
  /** @type {HybridWS} */ #ws;
  /** @type {((event: any) => void) | null} */ onopen = null;
  /** @type {((event: any) => void) | null} */ onmessage = null;
  /** @type {((event: any) => void) | null} */ onclose = null;

  /** @param {string} url @param {any} [_reserved] @param {{transports?: string | string[], timeout?: number} & Record<string, any>} [options] */
  constructor(url, _reserved, options = {}) {
    super();
    if (!/^(https?:)?\/|^https?:|^[^:]*$/.test(url)) throw new SyntaxError("The URL's scheme must be either 'http:' or 'https:'.");
    const asked = [options.transports || []].flat();
    const transports = STANDS_FOR.filter(([names]) => !asked.length || asked.some((name) => names.test(name))).map(([, ours]) => ours);
    this.#ws = new HybridWS(url, [], { ...options, transports: /** @type {any} */ (transports) });
    this.#ws.binaryType = "arraybuffer";
    this.url = this.#ws.url.replace(/^ws/, "http");
    for (const type of ["open", "message", "close"]) {
      this.#ws.addEventListener(type, (/** @type {any} */ event) => {
        const { data, code, reason, wasClean } = event;
        const init = { message: { data }, close: { code: code == 1005 ? 1000 : code, reason, wasClean } }[type];
        const own = Object.assign(new Event(type), init);
        const handler = /** @type {any} */ (this)["on" + type];
        handler?.call(this, own);
        this.dispatchEvent(own);
      });
    }
  }

  get readyState() {
    return this.#ws.readyState;
  }
  get protocol() {
    return this.#ws.transport || "";
  }
  get transport() {
    return this.#ws.transport;
  }

  /** Send text; false when it is too late. @param {any} data */
  send(data) {
    if (!this.#ws.readyState) throw new Error("InvalidStateError: The connection has not been established yet");
    if (this.#ws.readyState > 1) return false;
    this.#ws.send(String(data));
    return true;
  }

  /** @param {number} [code] @param {string} [reason] */
  close(code = 1000, reason = "Normal closure") {
    if (code != 1000 && !(code >= 3000 && code <= 4999)) throw new Error("InvalidAccessError: Invalid code");
    if (this.#ws.readyState > 1) return false;
    this.#ws.close(code, reason);
    return true;
  }
}

export default SockJS;
