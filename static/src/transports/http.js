// What polls and streams share: POSTs that bring up what the session has to say, one at a time.

import { now } from "../clock.js";

/** @typedef {import("../pilot.js").Pilot} Pilot */
/** @typedef {import("../pilot.js").Carrier} Carrier */
/** @typedef {(kind: string, extra?: number, hold?: number) => Promise<void>} Post  `extra`: ms more than a round trip that the answer may take */

const SLOWEST = 16; // bytes per ms that a link is expected to carry at least: a body gets so much more time

/** @param {Pilot} pilot @param {Carrier} carrier @param {(post: Post, lives: () => boolean, abort: AbortController) => Promise<void>} run */
export function http(pilot, carrier, run) {
  const link = pilot._link;
  const abort = new AbortController();
  let named = 0; // the number that the server says it has reached here ...
  let namedAt = 0; // ... and since when

  /** Whether there is something left to carry here. */
  const lives = () => pilot._lives(carrier) && (!link._over() || carrier._owes);

  /** POST what there is to say, and take the answer. @type {Post} */
  const post = async (kind, extra = 0, hold) => {
    const more = link._hasMore(carrier);
    /** @type {any} */ const aside = kind == "send" && {};
    carrier._placed = !more; // each body has its position
    const body = link._write(carrier, link._limits.max_batch, [pilot._attach(carrier, aside, hold)]);
    const begun = (carrier._touched = now());
    const answer = await pilot._post(kind, body, pilot._patience(undefined, 2) + body.length / SLOWEST + extra, abort);
    const time = now();
    pilot._measured(time - begun - extra);
    if (aside) {
      pilot._take(carrier, ...answer, aside);
      if (aside._expects > named) {
        if (named <= link._received + 1) namedAt = time; // else it has been behind since before
        named = aside._expects;
      }
    } else {
      carrier._expects = undefined;
      pilot._take(carrier, ...answer);
    }
  };

  carrier._stop = (fault) => {
    abort.abort();
    pilot._ended(carrier, fault);
  };
  /** Dead, if nothing comes before: the server has named more than we have seen. */
  carrier._limit = () => (named > link._received + 1 ? Math.max(carrier._heard, namedAt) + pilot._patience() : Infinity);
  carrier._wake = () => {
    carrier._sending ||= (async () => {
      await 0; // what is said in one go travels in one body
      while (lives() && link._mayWrite(carrier)) await post("send");
      carrier._sending = null;
    })().catch(carrier._stop);
  };
  run(post, lives, abort).catch(carrier._stop);
}
