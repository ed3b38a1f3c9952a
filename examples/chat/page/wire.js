// The tab's two sessions: the one that is watched, through a network of the tab's own, and the control beside it.
//
// Events: `tab` (what may be broken), `open` (a new session: nothing of the last one holds), `value` and `bytes` (what
// came), `state` (a turn of the session), `numbers` (what the server counts), `frame` (what passed on the wire).

import { HybridWS } from "/chat/hybridws.mjs";
import { makeTaps } from "./taps.js";

const AGAIN = [300, 600, 1200, 2500, 5000]; // ms until the next try, the longer the more have failed
const REACHABLE = 4000; // ms for the first session through the tab's network; else the page goes without one
const PATIENCE = 15_000; // ms for any other

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Wire extends EventTarget {
  tab = null;
  session = null;
  #control = null;
  #direct = false;
  #failures = 0;
  #chosen;
  #taps = makeTaps((frame) => this.#emit("frame", frame));

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Hear of something. @param {string} type @param {(detail: any) => void} act */
  on(type, act) {
    this.addEventListener(type, (event) => act(event.detail));
  }

  /** Whether the network of this tab may be broken. */
  get breakable() {
    return !this.#direct && this.tab?.url.startsWith("http");
  }

  /** Open all of it, and go on opening it as often as it is lost. */
  async start() {
    for (;;) {
      try {
        const begun = Date.now();
        const response = await fetch("/tabs", { method: "POST" });
        if (!response.ok) throw Error(await response.text());
        this.tab = await response.json();
        // On this machine both clocks are one; elsewhere they are compared by the round trip.
        this.tab.clock = this.breakable ? 0 : this.tab.now - (begun + Date.now()) / 2;
      } catch (fault) {
        this.#emit("state", { state: "closed", reason: String(fault.message ?? fault), transport: null });
        await wait(AGAIN[Math.min(this.#failures++, AGAIN.length - 1)]);
        continue;
      }
      await this.#live();
    }
  }

  /** Keep a tab's sessions going until the server does not know the tab any more. */
  async #live() {
    const control = new HybridWS(`/control?tab=${this.tab.tab}`, { json: true });
    this.#control = control;
    this.#emit("tab", this.tab);
    control.onmessage = ({ data }) => this.#emit("numbers", data);
    const over = new Promise((resolve) => (control.onclose = resolve));
    let alive = true;
    over.then(() => (alive = false));
    while (alive) {
      const opened = await this.#run(over);
      if (opened) this.#failures = 0;
      else if (this.breakable && !this.#failures) this.#direct = true;
      if (alive) await wait(AGAIN[Math.min(this.#failures++, AGAIN.length - 1)]);
    }
    this.#control = null;
  }

  /** Run one session until it ends; tell whether it was open. @param {Promise<any>} over */
  async #run(over) {
    const url = this.#direct ? "/chat" : this.tab.url;
    const session = new HybridWS(`${url}?tab=${this.tab.tab}`, {
      json: true,
      openTimeout: this.#failures ? PATIENCE : REACHABLE,
      ...this.#taps,
    });
    this.session = session;
    session.binaryType = "arraybuffer";
    let opened = false;
    session.onopen = () => {
      opened = true;
      if (this.#chosen) session.use(this.#chosen);
      this.#emit("open", session);
    };
    session.onmessage = ({ data }) => this.#emit(data instanceof ArrayBuffer ? "bytes" : "value", data);
    session.onstate = ({ state, reason, transport, unacked }) => this.#emit("state", { state, reason, transport, unacked });
    const ended = new Promise((resolve) => (session.onclose = resolve));
    await Promise.race([ended, over]);
    session.onopen = session.onmessage = session.onstate = null;
    session.close();
    this.session = null;
    return opened;
  }

  /** Send a value or bytes, if there is a session; tells when the server has it. @returns {Promise<void> | null} */
  deliver(data) {
    return this.session && this.session.readyState < 2 ? this.session.deliver(data) : null;
  }

  /** Send what need not be told of. */
  send(data) {
    if (this.session && this.session.readyState < 2) this.session.send(data);
  }

  /** Use a transport from now on; none is whichever is best. @param {string} [name] */
  use(name) {
    this.#chosen = name;
    if (this.session?.readyState === 1) this.session.use(name);
  }

  /** Have the server do something to the network, or to the probe. */
  command(command) {
    return this.#control ? this.#control.request(command, { timeout: 10_000 }) : Promise.reject(Error("The server is away."));
  }

  /** Tell the server what this page has counted. */
  tell(counted) {
    if (this.#control?.readyState === 1 && !this.#control.unacked.length) this.#control.send(counted);
  }
}

export const wire = new Wire();
