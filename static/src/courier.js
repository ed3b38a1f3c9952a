// Carries single requests to the server, and believes only answers that are the server's own (protocol §3).

import { json } from "./json.js";

/** @typedef {import("./packets.js").Batch} Batch */
/** @typedef {import("./pilot.js").Pilot} Pilot */

/** The server itself has refused, with `x`. */
export class Turned extends Error {
  /** @param {any} packet */
  constructor([, code, reason, details]) {
    super("the server refused with " + code + ": " + reason);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

/**
 * Read an answer. Throws Turned for one `x`, and something else for what is not the server's.
 * @param {any} data @param {import("./link.js").Codec} codec @param {import("./link.js").Options} options
 * @returns {Batch}
 */
export function believe(status = 200, data, codec, options) {
  /** @type {Batch} */ let batch = [];
  try {
    batch = (status == 200 ? codec : json).loads(data, options);
  } catch {}
  const first = batch[0]?.[0];
  if (first?.[0] == "x") throw new Turned(first);
  if (status != 200 || !first || !"ao".includes(first[0])) throw Error("status " + status + ", and no words of the server's");
  return batch;
}

/**
 * POST; the answer must begin within `patience` ms unless `signal` ends it before. No header of our own is sent, so that
 * no preflight is. `stream`: several inspecting proxies pass a response unbuffered if the request says this.
 * @param {Pilot} pilot @param {string} path @param {any} body @param {AbortController} abort
 * @returns {Promise<Response>}
 */
export const request = (pilot, path, body, abort, stream = false) =>
  pilot.env.fetch(pilot.base + "/v1/" + path + pilot.query, {
    method: "POST",
    body,
    headers: stream ? { Accept: "text/event-stream" } : {},
    cache: "no-store",
    credentials: pilot.env.credentials,
    signal: abort.signal,
  });

/**
 * POST and read the whole answer within `patience` ms.
 * @param {Pilot} pilot @param {string} path @param {any} body @param {number} patience
 * @returns {Promise<[status: number, data: Uint8Array]>}
 */
export async function post(pilot, path, body, patience, abort = new AbortController()) {
  const timer = pilot.env.later(() => abort.abort(Error("no answer within " + Math.round(patience) + " ms")), patience);
  try {
    const response = await request(pilot, path, body, abort);
    return [response.status, new Uint8Array(await response.arrayBuffer())];
  } finally {
    pilot.env.cancel(timer);
  }
}
