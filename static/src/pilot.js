// Keeps one session moving: opens it, chooses its transports, and replaces the ones that break (protocol §6).

import { Backoff } from "./backoff.js";
import { GOING_AWAY, NO_SESSION, RESTARTING, SUPERSEDED } from "./codes.js";
import { Turned, believe, post } from "./courier.js";
import { json } from "./json.js";
import { Ladder } from "./ladder.js";
import { Lane, Link } from "./link.js";
import { poll } from "./transports/poll.js";
import { stream } from "./transports/stream.js";
import { websocket } from "./transports/websocket.js";

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {ReturnType<typeof websocket> | import("./transports/http.js").Http} Carrier */
/** @typedef {{transport: string, at: number, took: number | null, failure: string | null}} Attempt */
/**
 * @typedef {object} Env  the world around a session, so that a test can make another
 * @property {() => number} now
 * @property {(work: () => void, ms: number) => any} later
 * @property {(timer: any) => void} cancel
 * @property {typeof fetch} fetch
 * @property {typeof WebSocket | undefined} WebSocket
 * @property {RequestCredentials | undefined} credentials
 * @property {Record<string, (pilot: Pilot) => any>} [carriers]
 */
/**
 * @typedef {object} Hooks  what a pilot tells its client
 * @property {() => any} auth
 * @property {(packet: Packet, size: number) => void} hand  a packet has come
 * @property {(state: string, reason: string) => void} tell  a turn in the session's life
 * @property {() => void} moved  acks have come
 * @property {(code: number, reason: string) => void} over  the session was ended by a refusal
 * @property {(reason: string) => void} lost  the server no longer knows the session
 */

const LEAST_PATIENCE = 1000; // ms that an ack may take before it is asked for
const LEAST_FIRST_BYTES = 200;
const MOST_FIRST_BYTES = 5000; // a stream shows its first bytes within 4 round trips, at least and at most so many ms
const MEMORY = 1_800_000; // ms for which the transport that worked for an origin is tried first
const ACK_DELAY = { websocket: 250, stream: 10_000 }; // ms after which an ack that nothing carries goes alone
const LATE = 1000; // ms by which a timer may be late before we believe that the page was asleep, and the grace it gets
const LEAST_IDLE = 1500; // ms of silence after which a death may have been for the silence
const MAX_ATTEMPTS = 100; // that are remembered: a bad day's worth
const HIDDEN = 30_000; // ms after which a hidden tab gives its connection back
const LAST_WORDS = 5000; // ms for which the server is told that its close was heard
const OPEN_PROOF = 3000; // ms that the first try to open may take; each other twice as long
const OPEN_LINGER = 20; // ms that the server waits for the application's first words

export const DEFAULTS = {
  buffer: 1 << 20,
  max_message: 1 << 18,
  max_batch: (1 << 20) + 4096,
  max_packets: 10_000,
  max_elements: 10_000,
  max_depth: 32,
  heartbeat: 20,
  poll_timeout: 25,
  resume: 120,
  protocol: "",
};

/** @type {Map<string, [name: string, until: number]>} What has worked at an address, and until when that is believed. */
const winners = new Map();

/** One session of a client, from its opening to its end. */
export class Pilot {
  sid = "";
  key = "";
  nonce = "";
  n = 0;
  limits = DEFAULTS;
  backoff = new Backoff();
  /** @type {Carrier | null} */ carrier = null;
  /** @type {Map<string, Carrier>} */ tries = new Map();
  /** @type {Record<string, Attempt>} */ tried = {};
  /** @type {number[]} */ idles = []; // silences after which a connection died
  retryAt = 0;
  httpAt = 0; // before then HTTP waits, for a WebSocket that is sure to come
  interrupted = false;
  /** @type {string | null} */ current = null; // what carries, or did a moment ago and is being replaced
  confirmedAt = 0; // when the oldest unacked packet began to wait
  confirmed = -1;
  askedAt = 0; // when a sign of life was asked for
  ackAt = 0; // when the ack of what has come is due
  hiddenAt = Infinity;
  asleep = false; // the page is away, and nothing runs
  over = false;
  endAt = 0;
  plannedAt = Infinity;
  graceUntil = 0;
  /** @type {any} */ timer = null;
  kicked = false;

  /**
   * @param {string} url  the mount's address, http or https
   * @param {string[]} order
   * @param {import("./link.js").Codec} codec
   * @param {Env} env
   * @param {Hooks} hooks
   * @param {{attempts: Attempt[], roundTrip: number}} info
   */
  constructor(url, order, codec, env, hooks, info) {
    const [path, query = ""] = url.split(/(?=\?)/);
    this.base = path.replace(/\/$/, "");
    this.query = query;
    this.codec = codec;
    this.env = env;
    this.hooks = hooks;
    this.info = info;
    this.carriers = env.carriers || { websocket, stream, poll };
    this.ladder = new Ladder(order);
    this.order = order; // what the server allows of what the application allows
    this.link = new Link(codec, DEFAULTS);
  }

  // ── what carriers ask and tell ──────────────────────────────────────────────────────────────────────────────────

  /** Return what every attach asks for: heartbeats before the silence that has killed connections here twice. */
  wishes() {
    const [a, b] = this.idles;
    const wish = b ? Math.max(2, (0.6 * Math.min(a, b)) / 1000) : 0;
    return /** @type {{hold: number, heartbeat: number}} */ (wish ? { hold: wish, heartbeat: wish } : {});
  }

  /** Return the ms after which the server is heard at the latest. */
  heartbeat() {
    return 1000 * (this.wishes().heartbeat || this.limits.heartbeat);
  }

  get pollTimeout() {
    return 1000 * this.limits.poll_timeout;
  }

  /** Return the ms within which a stream that is not buffered shows its first bytes. */
  firstBytes() {
    return Math.min(MOST_FIRST_BYTES, Math.max(LEAST_FIRST_BYTES, 4 * this.info.roundTrip));
  }

  /** Take a measurement of the round trip into account (RFC 6298 §2: an eighth of the new). @param {number} ms */
  measured(ms) {
    const { info } = this;
    info.roundTrip = info.roundTrip ? info.roundTrip + (ms - info.roundTrip) / 8 : ms;
  }

  /**
   * Take what a transport brought. Throws Turned for a refusal, Malformed.
   * @param {Carrier} carrier @param {Lane} lane @param {import("./packets.js").Batch} batch
   */
  take(carrier, lane, batch) {
    const { link } = this;
    carrier.heard = carrier.touched = this.env.now();
    this.askedAt = 0;
    this.backoff.succeeded();
    try {
      link.receive(lane, batch, (packet, size) => {
        if (packet[0] == "x") throw new Turned(packet);
        if (packet[0] == "h") carrier.lane.owes = true;
        else this.hooks.hand(packet, size);
      });
    } finally {
      this.hooks.moved();
      if (link.ackDue(carrier.lane) || link.heard) carrier.lane.owes = true;
      if (carrier.lane.owes) carrier.wake();
      this.kick();
    }
  }

  /** Note that a transport carries the session now. @param {Carrier} carrier */
  carried(carrier) {
    const { name } = carrier;
    if (carrier.proved || carrier.retired) return;
    const now = (carrier.proved = this.env.now());
    this.tries.delete(name);
    this.tried[name].took = Date.now() - this.tried[name].at;
    this.carrier?.retire();
    for (const [other, http] of this.tries) if (name == "websocket" && this.tries.delete(other)) http.retire();
    this.carrier = carrier;
    this.current = name;
    this.ackAt = 0;
    this.ladder.rungs[name].proved();
    this.backoff.succeeded();
    winners.set(this.base, [name, now + MEMORY]);
    this.hooks.tell(this.interrupted ? "resumed" : "", name);
    this.interrupted = false;
    carrier.wake();
    this.kick();
  }

  /** Note that a transport has failed or ended. @param {Carrier} carrier @param {any} fault */
  ended(carrier, fault, code = 0) {
    const { name } = carrier;
    const now = this.env.now();
    const mine = this.carrier == carrier;
    if (!mine && this.tries.get(name) != carrier) return; // it had been replaced
    if (carrier.retired && !mine) return;
    const rung = this.ladder.rungs[name];
    const why = String(fault?.message || fault);
    const last = name == this.ladder.order[this.ladder.order.length - 1];
    this.tries.delete(name);
    if (mine) this.carrier = null;
    this.tried[name].took ??= Date.now() - this.tried[name].at;
    this.tried[name].failure = why;
    if (this.over || carrier.retired || this.link.state > 1) return this.kick();
    if (fault instanceof Turned) this.turned(fault, now);
    else if (code == SUPERSEDED) rung.nextTry = now + LEAST_FIRST_BYTES; // one of our own overtook it
    else if (!carrier.proved) {
      rung.failed(now, Math.random());
      if (name != "websocket" || last) this.retryAt = now + this.backoff.failed(Math.random());
    } else {
      const quiet = now - carrier.touched;
      const silent = fault == SILENCE;
      if (quiet > LEAST_IDLE && !silent && code != GOING_AWAY && code != RESTARTING) this.idles = [quiet, ...this.idles].slice(0, 2);
      if (name == "websocket") {
        rung.died(now, now - carrier.proved, silent || code == GOING_AWAY || code == RESTARTING, Math.random());
        if (code == RESTARTING || code == GOING_AWAY) rung.until = 0;
      } else this.retryAt = now + this.backoff.failed(Math.random());
    }
    if (mine && !this.interrupted && !this.tries.size) {
      this.interrupted = true;
      this.current = null;
      this.hooks.tell("interrupted", why);
    }
    this.kick();
  }

  /** Do what the server's refusal asks for. @param {Turned} turned @param {number} now */
  turned({ code, reason, details }, now) {
    if (code == SUPERSEDED) this.n = Math.max(this.n, details.n || 0);
    else if (code == NO_SESSION && !details.code) this.lose(() => this.hooks.lost(reason));
    else if (code == NO_SESSION) this.lose(() => this.hooks.over(details.code, details.reason || ""));
    else if ([4008, 4401, 4403, 4413].includes(code)) this.lose(() => this.hooks.over(code, reason));
    else this.retryAt = now + (details.retry * 1000 || this.backoff.failed(Math.random()));
  }

  /** @param {() => void} tell */
  lose(tell) {
    this.stop();
    tell();
  }

  // ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Open the session, with what is in the outbox already; try again until `patience` ms are over. Throws Turned if the
   * server refuses, else what the last attempt met.
   * @param {number} patience
   */
  async open(patience) {
    const { env, link } = this;
    this.nonce = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const end = env.now() + patience;
    for (let again = false, tries = 0; ; ) {
      const auth = await this.hooks.auth();
      const line = json.dumps(["i", { v: 1, codec: this.codec.name, nonce: this.nonce, auth }], DEFAULTS) + "\n";
      const lane = link.lane();
      lane.owes = false;
      lane.acked = 0;
      const frame = link.hasMore(lane) ? link.pending(lane, DEFAULTS.buffer) : null;
      const body = !frame ? line : typeof frame.payload == "string" ? line + frame.payload : new Blob([line, frame.payload]);
      const begun = env.now();
      const attempt = this.attempt("open");
      let wait;
      try {
        const [status, data] = await post(this, "open", body, Math.max(Math.min(end - begun, OPEN_PROOF * 2 ** tries++), 1)); // a repeated nonce is the same session
        const cut = (data.indexOf(10) + 1 || data.length + 1) - 1;
        const [[packet]] = believe(status, data.subarray(0, cut), json, DEFAULTS);
        attempt.took = Date.now() - attempt.at;
        this.measured(Math.max(env.now() - begun - OPEN_LINGER, 1));
        if (!this.over) this.begin(packet[1], link.codec.loads(data.subarray(cut + 1), DEFAULTS));
        return;
      } catch (/** @type {any} */ fault) {
        attempt.took = Date.now() - attempt.at;
        attempt.failure = String(fault?.message || fault);
        if (fault instanceof Turned) {
          // 4401: credentials that a function gives may be fresher the next time
          wait = fault.code == 4401 && !again ? (again = true) && 1 : fault.details.retry * 1000;
          if (!wait) throw fault;
        } else wait = this.backoff.failed(Math.random());
        if (env.now() + wait >= end || this.over) throw fault;
      }
      await new Promise((resolve) => env.later(/** @type {any} */ (resolve), wait));
    }
  }

  /** Go on with a session that is open. @param {any} limits @param {import("./packets.js").Batch} batch */
  begin(limits, batch) {
    const { env, link } = this;
    const now = env.now();
    const offered = limits.transports || this.order;
    this.limits = link.options = { ...DEFAULTS, ...limits };
    this.sid = limits.sid;
    this.key = limits.key;
    this.order = this.order.filter((name) => offered.includes(name) && (name != "websocket" || env.WebSocket));
    this.ladder.order = this.order;
    const [winner, until] = winners.get(this.base) || ["", 0];
    if (now < until) {
      if (winner == "websocket") this.httpAt = now + this.firstBytes();
      else if (winner == "poll") this.ladder.rungs.stream.failed(now, Math.random());
    }
    this.hooks.tell("open", "");
    link.receive(new Lane(), batch, this.hooks.hand);
    this.hooks.moved();
    this.kick();
  }

  // ── moving ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param {string} transport @returns {Attempt} */
  attempt(transport) {
    const attempt = { transport, at: Date.now(), took: null, failure: null };
    this.info.attempts.splice(0, this.info.attempts.push(attempt) - MAX_ATTEMPTS);
    return attempt;
  }

  /** Tell in a sentence why the session is carried as it is. */
  why() {
    const { carrier, ladder, tried } = this;
    const name = carrier?.name;
    const above = ladder.order.slice(0, name ? ladder.order.indexOf(name) : 3);
    const failed = above.map((better) => {
      const wait = Math.round((ladder.dueAt(better) - this.env.now()) / 1000);
      return better + ": " + (tried[better]?.failure || "not tried") + (wait > 0 ? ", tried again in " + wait + " s" : "");
    });
    return [name ? "on " + name : "interrupted", ...failed].join("; ");
  }

  /** Let the newest word go, and look what is due, soon. */
  kick() {
    if (!this.kicked) queueMicrotask(() => ((this.kicked = false), this.step()));
    this.kicked = true;
  }

  /** Do what is due, and wake up when the next thing is. */
  step() {
    const { env, link } = this;
    if (this.over || !this.sid) return;
    env.cancel(this.timer);
    const now = env.now();
    let next = Infinity;
    const due = (/** @type {number} */ at) => now >= at || ((next = Math.min(next, at)), false);

    // A late timer may mean that the page was asleep: what has come meanwhile is read first.
    if (now - this.plannedAt > LATE) this.graceUntil = now + LATE;
    this.plannedAt = Infinity;
    if (due(this.graceUntil)) {
      for (const one of [...this.tries.values(), this.carrier]) {
        if (one && due(one.limit())) one.fail(one.proved ? SILENCE : "nothing came within " + Math.round(now - one.started) + " ms");
      }
      this.check(now, due);
    }
    const { carrier } = this;
    if (carrier && link.ackable > carrier.lane.acked && carrier.name != "poll") {
      this.ackAt ||= now + ACK_DELAY[/** @type {"stream"} */ (carrier.name)];
      if (due(this.ackAt)) carrier.lane.owes = true;
    } else this.ackAt = 0;
    if (carrier && (carrier.lane.owes || link.hasMore(carrier.lane))) carrier.wake();

    if (link.state > 1) {
      this.endAt ||= now + LAST_WORDS;
      const told = carrier && carrier.lane.acked >= link.received && !carrier.sending;
      if (!link.heard || told || due(this.endAt)) return this.stop();
    }
    if (!this.asleep) this.launch(now, due);
    if (next < Infinity) this.timer = env.later(() => this.step(), Math.max(next - now, 1));
    this.plannedAt = next;
  }

  /** Ask for an ack that is late, and drop a WebSocket that stays silent then. @param {number} now @param {(at: number) => boolean} due */
  check(now, due) {
    const { outbox } = this.link;
    const { carrier } = this;
    if (carrier?.name != "websocket") return;
    const patience = Math.max(LEAST_PATIENCE, 4 * this.info.roundTrip);
    if (this.confirmed != outbox.confirmed || !outbox.items.length) {
      this.confirmed = outbox.items.length ? outbox.confirmed : -1;
      this.confirmedAt = now;
    }
    if (this.askedAt) {
      if (due(this.askedAt + patience)) carrier.fail(SILENCE);
    } else if (outbox.items.length && due(Math.max(this.confirmedAt, carrier.heard) + patience)) this.probe();
  }

  /** Ask for a sign of life. */
  probe() {
    this.askedAt = this.env.now();
    this.carrier?.beat();
    this.kick();
  }

  /** Start what should be running and is not. @param {number} now @param {(at: number) => boolean} due */
  launch(now, due) {
    const { carrier, tries, ladder } = this;
    const quiet = due(this.hiddenAt + HIDDEN); // hidden for long: over HTTP nothing is held
    if (quiet && carrier?.name != "websocket") return this.nap(now, due);
    for (const name of ladder.order) {
      if (carrier?.name == name) return;
      const http = name != "websocket";
      if (tries.has(name)) {
        if (http) return;
        continue;
      }
      let at = ladder.dueAt(name);
      if (at == 0 || (http && !carrier)) at = Math.max(at, this.retryAt);
      if (http && !carrier && tries.size) at = Math.max(at, this.httpAt);
      if (due(at)) {
        this.start(name);
        if (http) return;
      }
    }
  }

  /** @param {string} name */
  start(name) {
    if (name != "websocket" && this.carrier && this.carrier.name != "websocket") {
      this.carrier.retire(); // the server ends it for the new one anyway
      this.carrier = null;
    }
    this.tried[name] = this.attempt(name);
    this.tries.set(name, this.carriers[name](this));
    this.kick();
  }

  /** In a hidden tab, ask now and then, so that the session lives. @param {number} now @param {(at: number) => boolean} due */
  nap(now, due) {
    if (this.carrier) this.rest();
    if (!this.tries.size && due(this.napAt)) {
      this.napAt = now + this.limits.resume * 500;
      due(this.napAt);
      this.start("poll"); // its first request is answered at once
    }
  }
  napAt = 0;

  /** End the transports; the session stays. */
  rest() {
    for (const one of [...this.tries.values(), this.carrier]) one?.stop();
    this.tries.clear();
    this.carrier = null;
  }

  /** Use these transports from now on, the best first. @param {string[] | null} order */
  use(order) {
    this.ladder.order = order || this.order;
    this.ladder.networkChanged();
    this.kick();
  }

  /** The network may be another, or the page was away: try everything again, and see whether the connection lives. */
  wake() {
    this.asleep = false;
    this.ladder.networkChanged();
    this.retryAt = 0;
    this.backoff.succeeded();
    if (this.carrier?.name == "websocket") this.probe();
    else this.rest(); // a poll that is dead would say so only much later
    this.kick();
  }

  /** End all of it. */
  stop() {
    this.over = true;
    this.env.cancel(this.timer);
    this.rest();
  }
}

const SILENCE = "silence";
