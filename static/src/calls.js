// Requests: messages that want one answer, both ways.

import { HANDLER_FAILED, NO_SESSION } from "./codes.js";

/** @typedef {import("./packets.js").Packet} Packet */

/** The other side answered a request with an error. */
export class RequestFailed extends Error {
  /** @param {number} code @param {string} text */
  constructor(code, text) {
    super(text);
    this.name = "RequestFailed";
    this.code = code;
  }
}

/** The requests of one client that wait for their answer. */
export class Calls {
  last = 0;
  /** @type {Map<number, [resolve: (value: any) => void, reject: (fault: any) => void]>} */ asked = new Map();
  /** @type {((value: any) => any) | null} */ answerer = null;

  /** @param {(packet: Packet) => void} say */
  constructor(say) {
    this.say = say;
  }

  /**
   * Send a request and wait for its answer. Throws RequestFailed, TimeoutError after `timeout` ms, or the signal's reason.
   * @param {any} value @param {{timeout?: number, signal?: AbortSignal}} [options]
   */
  ask(value, { timeout, signal } = {}) {
    const id = ++this.last;
    /** @type {any} */ let timer;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.say(["q", id, value]);
      this.asked.set(id, [resolve, reject]);
      signal?.addEventListener("abort", () => reject(signal.reason));
      if (timeout) timer = setTimeout(() => reject(new DOMException("no answer within " + timeout + " ms", "TimeoutError")), timeout);
    }).finally(() => {
      clearTimeout(timer);
      this.asked.delete(id);
    });
  }

  /** Answer a request, or give an answer to whoever waits for it. @param {Packet} packet */
  async take([kind, id, value, text]) {
    const waits = this.asked.get(id);
    if (kind == "r") waits?.[0](value);
    else if (kind == "e") waits?.[1](new RequestFailed(value, text));
    else {
      /** @type {Packet} */ let answer;
      try {
        if (!this.answerer) throw new RequestFailed(NO_SESSION, "nobody answers requests here");
        answer = ["r", id, (await this.answerer(value)) ?? null];
      } catch (/** @type {any} */ fault) {
        answer = fault instanceof RequestFailed ? ["e", id, fault.code, fault.message] : ["e", id, HANDLER_FAILED, "the request failed"];
        if (answer[2] == HANDLER_FAILED) console.error(fault);
      }
      try {
        this.say(answer);
      } catch {
        this.say(["e", id, HANDLER_FAILED, "the answer could not be sent"]);
      }
    }
  }

  /** Fail whatever waits for an answer. @param {any} fault */
  end(fault) {
    for (const [, reject] of this.asked.values()) reject(fault);
  }
}
