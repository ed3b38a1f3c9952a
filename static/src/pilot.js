// Keeps one session moving: opens it, chooses its transports, and replaces the ones that break (protocol §6).

import { backoff } from "./backoff.js";
import { now } from "./clock.js";
import { FORBIDDEN, GOING_AWAY, MALFORMED, NOT_AUTHENTICATED, NO_SESSION, RESTARTING, SUPERSEDED, TOO_LARGE, TOO_SLOW } from "./codes.js";
import { json } from "./json.js";
import { died, failed, forget, makeRung } from "./ladder.js";
import { makeLink } from "./link.js";
import { decode } from "./packets.js";
import { poll } from "./transports/poll.js";
import { stream } from "./transports/stream.js";
import { websocket } from "./transports/websocket.js";

/** @typedef {import("./packets.js").Packet} Packet */
/** @typedef {import("./ladder.js").Attempt} Attempt */
/** @typedef {import("./ladder.js").Rung} Rung */
/** @typedef {import("./link.js").Source} Source */
/** @typedef {ReturnType<typeof makePilot>} Pilot */
/**
 * @typedef {object} Carries  one transport at work; its function in transports/ gives it the last five
 * @property {Rung} _rung
 * @property {number} _started
 * @property {number} _proved  when it began to carry the session, or 0
 * @property {number} _heard  when it brought something last
 * @property {number} _touched  when anything passed last
 * @property {Promise<void> | null} _sending
 * @property {() => number} _limit  when it is dead, if nothing comes before
 * @property {() => void} _wake  write what there is to write
 * @property {() => void} [_beat]  ask for a sign of life
 * @property {(fault?: any, code?: number) => void} _stop  end, and say why
 */
/** @typedef {Carries & import("./link.js").Lane & Source} Carrier */
/**
 * @typedef {object} Hooks  what a pilot tells its client
 * @property {() => any} _auth
 * @property {(packet: Packet) => void} _hand  a packet has come
 * @property {(state: string, reason: string) => void} _tell  a turn in the session's life
 * @property {(code: number, reason: string, clean: boolean) => void} _end  the session has ended
 * @property {(reason: string) => void} _lost  the server no longer knows the session
 */

export const GRACE = 10_000; // ms after which a heartbeat or an answer that is overdue means that the connection is dead (protocol §7)
const LEAST_PATIENCE = 800; // ms that an ack may take before it is asked for
const MOST_DOUBTS = 6; // answers in a row that did not come in time, for each of which but the first the next one is waited for twice as long
const LEAST_FIRST_BYTES = 200;
const MOST_FIRST_BYTES = 5000; // a stream shows its first bytes within 4 round trips, at least and at most so many ms
const MEMORY = 1_800_000; // ms for which the transport that worked at an address is tried first
const SOCKET_ACK = 1000; // ms after which an ack that nothing carries goes alone on a WebSocket, at most, and at least half of it ...
const STREAM_ACK = 10_000; // ... and beside a stream: so thousands who hear the same do not all ack at once
const LATE = 1000; // ms by which a timer may be late before we believe that the page was asleep, and the grace it gets
const LEAST_IDLE = 1500; // ms of silence after which a death may have been for the silence
const MAX_ATTEMPTS = 100; // that are remembered: a bad day's worth
const HIDDEN = 30_000; // ms after which a hidden tab gives its connection back
const NAP = 1000; // ms after which a hidden tab that has said something asks for the answer; then twice as many, and so on
const LAST_WORDS = 1000; // ms for which what a replaced transport still brings is heard
const FAREWELL = 5000; // ms for which the server is told that its close was heard
const OPEN_PROOF = 3000; // ms that the first try to open may take; each other twice as long
const OPEN_LINGER = 20; // ms that the server waits for the application's first words
const MOST_REFUSALS = 6; // times in a row that one side may not understand the other, while nothing gets through: then nothing ever will
const SILENCE = "silence";

/** @type {Record<string, any>} What holds until the server has said more. */
export const DEFAULTS = { buffer: 1 << 20, max_message: 1 << 18, max_batch: (1 << 20) + 4096, max_packets: 10_000, max_elements: 10_000, max_depth: 32 };

/** @type {Record<string, (pilot: Pilot, carrier: Carrier) => void>} The best first. */
export const TRANSPORTS = { websocket, stream, poll };

/** @type {Record<string, [name: string, until: number]>} What has worked at an address, and until when that is believed. */
const winners = {};

const { max, min, round } = Math;

/** @param {number} ms */
const late = (ms) => "nothing within " + round(ms) + " ms";

/** Make a number of so many times 32 random bits, in digits. @param {number} size */
const random = (size) => crypto.getRandomValues(new Uint32Array(size)).join("");

/**
 * Make what keeps one session moving, from its opening to its end.
 * @param {Hooks} client
 * @param {string} url  the mount's address, http or https
 * @param {string[]} names  the transports that the application allows, the best first
 * @param {Record<string, any>} settings  the application's
 * @param {{attempts: Attempt[], roundTrip: number} & Record<string, any>} info
 */
export function makePilot(client, url, names, settings, info) {
  const { codec = json, WebSocket = globalThis.WebSocket } = settings;
  const [, base, query = ""] = /** @type {string[]} */ (url.match(/^(.*?)\/?(\?.*)?$/));
  const rungs = Object.keys(TRANSPORTS).map(makeRung);
  const [socket, stream, poll] = rungs;
  /** @type {Record<string, any>} What the server said of the session, the attaches so far, and by what balancers keep it at one server. */
  const session = { ...DEFAULTS, buffer: settings.buffer || DEFAULTS.buffer, n: 0, route: random(1), transports: names };
  const link = makeLink(codec, /** @type {any} */ (session));
  /** @type {Rung[]} */ let order; // what may be used now, the best first
  /** @type {string[]} */ let allowed; // by application and server
  /** @type {number[]} */ let idles = []; // silences after which a connection died
  let failures = 0;
  let doubts = 0; // answers over HTTP in a row that did not come in time; one that is refused or reset has not been late
  let refusals = 0; // times in a row that one side has not understood the other ...
  let passed = ""; // ... while no more than this got through, each way
  let quietUntil = 0; // what was not understood is not said again before then
  let retryAt = 0;
  let httpAt = 0; // before then HTTP waits, for a WebSocket that is sure to come
  let interrupted = false;
  let askedAt = 0; // when a sign of life was asked for
  let ackAt = 0; // when the ack of what has come is due
  let napAt = 0; // when a hidden tab asks again ...
  let nap = 0; // ... and how many ms after the last time
  let endAt = 0;
  let plannedAt = Infinity;
  let graceUntil = 0;
  let kicked = false;
  let stopped = false;
  let asleep = false; // the page is away, and nothing runs
  /** @type {any} */ let timer;
  /** @type {Carrier | null} */ let carrier = null;

  // ── the network as it was met so far ──────────────────────────────────────────────────────────────────────────────

  /** @param {string} transport @returns {Attempt} */
  const attempt = (transport) => {
    const one = { transport, at: Date.now(), took: null, failure: null };
    info.attempts.splice(0, info.attempts.push(one) - MAX_ATTEMPTS);
    return one;
  };

  /** @param {any} one the attempt @param {any} [fault] @returns {string} */
  const done = (one, fault) => {
    one.took ??= Date.now() - one.at;
    return fault && (one.failure = "" + (fault.message || fault));
  };

  /** Return the silence, in seconds, below which to stay here, since longer ones killed connections twice. */
  const wish = () => idles[1] && max(2, (0.6 * min(...idles)) / 1000);

  /**
   * Return the ms that an answer may take, however fast the network was until now: twice as long for each that did not
   * come in time (RFC 6298 §5.5), since the network may have turned slow. The first does not count: a browser may have
   * sent it on one of several connections that it kept, and all of those are as dead. So the second request (`times` 2)
   * even gets half: had the network been slow, it would come as late as the first. But no longer than a quarter of the
   * time for which the session is remembered, so that there is time to come back by another way.
   */
  const patience = (least = LEAST_PATIENCE, times = 1) =>
    min(
      max(least, 4 * info.roundTrip) * (doubts == 1 ? 1 : times * max(1, 2 ** min(doubts, MOST_DOUBTS) / 2)),
      max(LEAST_PATIENCE, 250 * (session.resume || 120)),
    );

  /** Return the ms within which a stream that is not buffered shows its first bytes. */
  const firstBytes = () => min(MOST_FIRST_BYTES, patience(LEAST_FIRST_BYTES));

  /**
   * Take a measurement of the round trip into account (RFC 6298 §2: an eighth of the new). A slower one counts for half:
   * who waits too little for a network that has turned slow never hears of it. None above zero means that nothing was measured.
   * @param {number} ms
   */
  const measured = (ms) => {
    const known = info.roundTrip;
    if (ms > 0) info.roundTrip += (ms - known) / (known ? (ms > known ? 2 : 8) : 1);
  };

  /** Tell whether a transport was not replaced. @param {Carrier} one */
  const lives = (one) => one._rung._one == one;

  /** When a transport may be tried; the last resort always may. @param {Rung} rung */
  const dueAt = (rung) => (rung == order.at(-1) ? 0 : rung._nextTry);

  // ── requests, and what is believed ────────────────────────────────────────────────────────────────────────────────

  /** Where a kind of request goes: to the session, or, as long as its name does not stand there, by the route. @param {string} kind */
  const address = (kind) =>
    base + "/v1/" + (/open|web/.test(kind) ? kind + "?route=" + session.route + query.replace("?", "&") : session.sid + "/" + kind + query);

  /**
   * POST. No header of our own is sent, so that no preflight is.
   * @param {string} kind @param {any} body @param {AbortController} abort @param {HeadersInit} [headers] @returns {Promise<Response>}
   */
  const request = (kind, body, abort, headers) =>
    (settings.fetch || fetch)(address(kind), {
      method: "POST",
      body,
      headers,
      credentials: settings.credentials,
      signal: abort.signal,
    });

  /**
   * POST, and read the whole answer within so many ms.
   * @param {string} kind @param {any} body @param {number} ms @returns {Promise<[data: Uint8Array, status: number]>}
   */
  const post = async (kind, body, ms, abort = new AbortController()) => {
    const timeout = setTimeout(() => abort.abort(Error(late(ms))), ms);
    try {
      const response = await request(kind, body, abort);
      return [new Uint8Array(await response.arrayBuffer()), response.status];
    } finally {
      clearTimeout(timeout);
    }
  };

  /** Write the attach with which every body and WebSocket begins; it carries the ack. @param {import("./link.js").Lane} lane @param {boolean} [aside] it attaches nothing @param {number} [hold] */
  const attach = (lane, aside, hold = wish()) =>
    link._encode(["@", session.sid, session.key, aside ? 0 : ++session.n, link._acks(lane), { hold, heartbeat: wish() }]);

  /**
   * Read an answer, and believe it only if it is the server's own (protocol §3).
   * @param {Source} source @param {any} data @param {number} status
   */
  const believe = (source, data, status, of = codec) => {
    try {
      const batch = decode(status > 200 || typeof data == "string" ? json : of, data, link._limits);
      if (source._expects == null && !(status > 200 ? /x/ : /[aox]/).test(batch[0][0][0])) throw "";
      source._expects ||= 0;
      return batch;
    } catch (fault) {
      throw Error("not the server, status " + status + ": " + fault);
    }
  };

  /** Hand on what has come. @param {Packet} packet */
  const hand = (packet) => {
    if (packet[0] == "x") throw Object.assign(Error("refused with " + packet[1] + ": " + packet[2]), { _refusal: packet });
    client._hand(packet);
  };

  /** Do what the server's refusal asks for. @param {Rung} rung @param {Packet} refusal */
  const refused = (rung, [, code, reason, details = {}]) => {
    if (code == SUPERSEDED) session.n = max(session.n, details.n || 0);
    else if (code == NO_SESSION || [TOO_SLOW, NOT_AUTHENTICATED, FORBIDDEN, TOO_LARGE].includes(code)) {
      stop();
      if (code != NO_SESSION || details.code) client._end(details.code || code, details.reason || reason, true);
      else client._lost(reason);
    } else rung._nextTry = retryAt = now() + (details.retry * 1000 || backoff(failures++));
  };

  // ── moving ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Let the newest word go, and look what is due, soon. */
  const kick = () => {
    if (!kicked) queueMicrotask(() => ((kicked = false), step()));
    kicked = true;
  };

  /** Ask for a sign of life. */
  const probe = () => {
    askedAt = now();
    carrier?._beat?.();
    kick();
  };

  /** End the transports; the session stays. */
  const rest = () => {
    carrier = null;
    for (const rung of rungs) {
      const one = rung._one;
      rung._one = null;
      one?._stop();
    }
  };

  /** End all of it. */
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    rest();
  };

  /** Let another transport go on; what is still on its way is heard. @param {Carrier} one */
  const retire = (one) => {
    one._rung._one = null;
    setTimeout(one._stop, LAST_WORDS);
  };

  /** Note that a transport carries the session now. @param {Carrier} one */
  const carried = (one) => {
    const rung = one._rung;
    if (one._proved || !lives(one)) return;
    one._proved = now();
    done(rung._attempt);
    for (const { _one: other } of rungs) {
      if (other && other != one && (other._proved || rung == socket)) retire(other);
    }
    carrier = one;
    pilot._current = rung._name;
    ackAt = rung._fellAt = 0;
    winners[base] = [rung._name, now() + MEMORY];
    client._tell(interrupted ? "resumed" : "transport", rung._name);
    interrupted = false;
    one._wake();
  };

  /** @param {Rung} rung */
  const start = (rung) => {
    if (rung != socket && carrier && !carrier._beat) {
      retire(carrier); // the server ends it for the new one anyway
      carrier = null;
    }
    const time = now();
    /** @type {any} */ const one = { ...link._lane(), _rung: rung, _proved: 0, _started: time, _heard: time, _touched: time };
    rung._one = one;
    rung._attempt = attempt(rung._name);
    try {
      TRANSPORTS[rung._name](pilot, one);
    } catch (fault) {
      pilot._ended(one, fault);
    }
    kick();
  };

  /** Do what is due, and wake up when the next thing is. */
  const step = () => {
    if (stopped || !session.sid) return;
    clearTimeout(timer);
    const time = now();
    let next = Infinity;
    const due = (/** @type {number} */ at) => time >= at || void (next = min(next, at));

    // A late timer may mean that the page was asleep: what has come meanwhile is read first.
    if (time - plannedAt > LATE) graceUntil = time + LATE;
    if (due(graceUntil)) {
      for (const { _one: one } of rungs) {
        if (one && due(one._limit())) one._stop(one._proved ? SILENCE : late(time - one._started));
      }
      if (carrier?._beat) {
        // Ask for an ack that is late, and drop a WebSocket that stays silent then.
        const [oldest] = link._items;
        if (askedAt) due(askedAt + patience()) && carrier._stop(SILENCE);
        else if (oldest && due(max(oldest._at, carrier._heard) + patience())) probe();
      }
    }
    if (carrier) {
      if (link._ackable() > carrier._acked && carrier._rung != poll) {
        ackAt ||= time + (carrier._beat ? SOCKET_ACK : STREAM_ACK) * (1 + Math.random()) / 2;
        if (due(ackAt)) carrier._owes = true;
      } else ackAt = 0;
      if (link._mayWrite(carrier)) carrier._wake();
    }
    if (link._over()) {
      endAt ||= time + FAREWELL;
      if (!link._heard || (carrier && carrier._acked >= link._received && !carrier._sending) || due(endAt)) return stop();
    }
    if (!asleep && (!quietUntil || due(quietUntil))) launch(time, due);
    plannedAt = next;
    if (next < Infinity) timer = setTimeout(step, max(next - time, 1));
  };

  /** Start what should be running and is not. @param {number} time @param {(at: number) => any} due */
  const launch = (time, due) => {
    if (due(pilot._hiddenAt + HIDDEN) && !carrier?._beat) {
      // Hidden for long: over HTTP nothing is held, but the server is asked now and then, so that the session lives; and
      // when there is something to say, and soon after that for the answer.
      if (carrier) rest();
      const urgent = link._hasMore(link._lane());
      if (rungs.every((rung) => !rung._one) && due(max(retryAt, urgent ? napAt - nap + NAP : napAt))) {
        nap = urgent ? NAP : min(2 * nap || Infinity, session.resume * 500);
        due((napAt = time + nap));
        start(poll); // its first request is answered at once
      }
      return;
    }
    for (const rung of order) {
      const http = rung != socket;
      if (rung._one) {
        if (http || rung._one == carrier) return;
        continue;
      }
      let at = dueAt(rung);
      if (!at || (http && !carrier)) at = max(at, retryAt, http && !carrier && socket._one ? httpAt : 0);
      if (due(at)) {
        start(rung);
        if (http) return;
      }
    }
  };

  const pilot = {
    _link: link,
    _session: session,
    _WebSocket: WebSocket,
    /** @type {string | null} */ _current: null, // what carries, or did a moment ago and is being replaced
    _hiddenAt: Infinity,
    _address: address,
    _request: request,
    _post: post,
    _attach: attach,
    _wish: wish,
    _patience: patience,
    _firstBytes: firstBytes,
    _measured: measured,
    _lives: lives,
    _kick: kick,
    _probe: probe,
    _stop: stop,

    // ── what transports tell ──────────────────────────────────────────────────────────────────────────────────────

    /** @param {Carrier} one */
    _deadAt: (one) => one._heard + 1000 * (wish() || session.heartbeat) + GRACE,

    /**
     * Take what a transport brought. Throws for what is not the server's, and for a refusal.
     * @param {Carrier} one @param {any} data @param {Source} source of its own: it is the answer of a POST beside a stream or poll
     */
    _take(one, data, status = 200, source = one) {
      const batch = believe(source, data, status);
      one._touched = now();
      askedAt = 0;
      if (source == one) one._heard = one._touched;
      if (batch[0]?.[0][0] != "x") {
        failures = doubts = 0;
        if (source == one) carried(one);
      }
      try {
        link._receive(source, batch, hand);
      } finally {
        if (link._said && link._over() && !link._heard) client._end(...link._said, true);
        if (link._ackDue(one) || link._heard) one._owes = true;
        if (one._owes) one._wake();
        kick();
      }
    },

    /** Note that a transport has failed or ended. @param {Carrier} one @param {any} fault */
    _ended(one, fault, code = 0) {
      const rung = one._rung;
      const time = now();
      const mine = carrier == one;
      if (!lives(one)) return; // it had been replaced
      rung._one = null;
      if (mine) carrier = null;
      const why = done(rung._attempt, fault);
      if (rung != socket && /^noth/.test(why)) doubts++; // a WebSocket may hang on any network
      kick();
      if (stopped || link._over()) return;
      const over = /^over|: more was/.test(why); // what came found no room, here or at the server: that passes
      if (over || code == MALFORMED || fault?._refusal?.[1] == MALFORMED || (one._proved && /^not the/.test(why))) {
        // The transport works, so nothing else would slow down who says the same again.
        const got = link._received + " " + link._confirmed;
        refusals = passed == got ? min(refusals + 1, MOST_REFUSALS) : 1;
        passed = got;
        quietUntil = time + 100 * 2 ** refusals;
        if (refusals == MOST_REFUSALS && !over) {
          stop();
          return client._end(MALFORMED, why, false);
        }
      }
      const restarts = code == GOING_AWAY || code == RESTARTING;
      const unexplained = one._proved && !restarts && fault != SILENCE;
      const idle = time - one._touched;
      if (fault?._refusal) refused(rung, fault._refusal);
      else if (code == SUPERSEDED) rung._nextTry = time + LEAST_FIRST_BYTES; // one of our own overtook it
      else {
        if (unexplained && idle > LEAST_IDLE) idles = [idle, ...idles].slice(0, 2);
        if (!one._proved) failed(rung, time);
        else if (restarts) forget(rung);
        else if (unexplained && rung == socket) died(rung, time, time - one._proved);
        if (rung != socket || (!one._proved && !dueAt(rung))) retryAt = time + backoff(failures++);
      }
      if (mine && !stopped && !interrupted && !rungs.some((other) => other._one)) {
        interrupted = true;
        pilot._current = null;
        client._tell("interrupted", why);
      }
    },

    // ── what the client asks for ──────────────────────────────────────────────────────────────────────────────────

    /**
     * Open the session, with what is in the outbox already; try again until so many ms are over. Throws what the last
     * attempt met; a refusal is in its `_refusal`.
     * @param {number} ms @param {string[]} protocols @returns {Promise<any>}
     */
    async _open(ms, protocols) {
      const nonce = random(5); // the same again is the same session
      const end = now() + ms;
      for (let asked = false, tries = 0; ; ) {
        const auth = await client._auth();
        const head = json.dumps(["i", { v: 1, codec: codec.name, nonce, auth, protocols }]);
        const body = new Blob([head + "\n", /** @type {any} */ (link._write(link._lane(), DEFAULTS.buffer))]);
        const begun = now();
        const one = attempt("open");
        let wait;
        try {
          const [data, status] = await post("open", body, max(min(end - begun, OPEN_PROOF * 2 ** tries++), 1));
          const cut = data.indexOf(10) + 1 || data.length;
          const [[packet]] = believe({}, data.subarray(0, cut), status, json);
          hand(packet);
          done(one);
          measured(now() - begun - OPEN_LINGER);
          return stopped || pilot._begin(packet[1], decode(codec, data.subarray(cut), link._limits));
        } catch (/** @type {any} */ fault) {
          done(one, fault);
          const [, code, , details = {}] = fault._refusal || [];
          // 4401: credentials that a function gives may be fresher the next time
          if (!code) wait = backoff(failures++);
          else if (code == NOT_AUTHENTICATED && !asked) asked = !!(wait = 1);
          else wait = details.retry * 1000 || Infinity;
          if (now() + wait >= end || stopped) throw fault;
        }
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    },

    /** Go on with a session that is open. @param {any} told @param {import("./packets.js").Batch} batch */
    _begin(told, batch) {
      const time = now();
      failures = doubts = 0;
      Object.assign(session, told);
      pilot._use((allowed = names.filter((name) => session.transports.includes(name) && (name != socket._name || WebSocket))));
      const [winner, until] = winners[base] || [];
      if (time < until) {
        if (winner == socket._name) httpAt = time + firstBytes();
        if (winner == poll._name) failed(stream, time);
      }
      client._tell("open", "");
      link._receive({}, batch, hand);
      kick();
    },

    /** Say all that is not confirmed again, as far as that can be done at once: on a WebSocket. */
    _repeat() {
      if (carrier) Object.assign(carrier, link._lane())._wake();
    },

    /** The page goes away, and nothing may run. */
    _sleep() {
      asleep = true;
      rest();
    },

    /** The network may be another, or the page was away: try everything again, and see whether the connection lives. */
    _wake() {
      asleep = false;
      failures = doubts = retryAt = 0;
      rungs.map(forget);
      if (!carrier?._beat) rest(); // a poll that is dead would say so only much later
      probe();
    },

    /** Use these transports from now on, the best first. @param {string[]} [wanted] */
    _use(wanted = allowed) {
      order = wanted.map((name) => /** @type {Rung} */ (rungs.find((rung) => rung._name == name)));
      rungs.map(forget);
      kick();
    },

    /** Tell in a sentence why the session is carried as it is. */
    _why() {
      const name = carrier?._rung._name;
      let why = name ? "on " + name : "interrupted";
      for (const rung of order || []) {
        if (rung._name == name) break;
        const wait = round((dueAt(rung) - now()) / 1000);
        why += "; " + rung._name + ": " + (rung._attempt?.failure || "not tried") + (wait > 0 ? ", again in " + wait + " s" : "");
      }
      return why;
    },
  };
  return pilot;
}
