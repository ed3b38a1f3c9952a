// What polls and streams share: POSTs that bring up what the session has to say, one at a time.

import { believe, post } from "../courier.js";
import { Lane } from "../link.js";

/** @typedef {import("../pilot.js").Pilot} Pilot */

const LEAST_PATIENCE = 1000; // ms for which an answer is waited for at least, however fast the network was until now
const SLOWEST = 16; // bytes per ms that a link is expected to carry at least: a body gets so much more time
const LAST_WORDS = 1000; // ms for which what a replaced transport still brings is heard

export class Http {
  proved = 0; // when it began to carry the session
  retired = false; // another transport carries the session
  heard = 0; // when it brought something last
  touched = 0; // when anything passed last
  named = 0; // the number that the server says it has reached here ...
  namedAt = 0; // ... and since when
  abort = new AbortController();
  /** @type {Promise<void> | null} */ sending = null;

  /** @param {Pilot} pilot @param {string} name @param {(http: Http) => Promise<void>} run */
  constructor(pilot, name, run) {
    this.pilot = pilot;
    this.name = name;
    this.lane = pilot.link.lane();
    this.lane.owes = false;
    this.started = this.touched = pilot.env.now();
    run(this).catch((fault) => this.fail(fault));
  }

  /** End, and say why. @param {any} fault */
  fail(fault) {
    this.abort.abort();
    this.pilot.ended(this, fault);
  }

  /** End at once. */
  stop() {
    this.retired = true;
    this.abort.abort();
  }

  /** Let another go on; what is still on its way is heard. */
  retire() {
    this.retired = true;
    this.pilot.env.later(() => this.abort.abort(), LAST_WORDS);
  }

  /** Whether there is nothing left to carry here. */
  get over() {
    return this.retired || (this.pilot.link.state > 1 && !this.lane.owes);
  }

  /** When it is dead, if nothing comes before: the server has named more than we have seen. */
  limit() {
    const { pilot } = this;
    return this.named > pilot.link.received + 1 ? Math.max(this.heard, this.namedAt) + Math.max(LEAST_PATIENCE, pilot.firstBytes()) : Infinity;
  }

  /** Ask for a sign of life: any answer is one. */
  beat() {
    this.lane.owes = true;
    this.wake();
  }

  /** Send what there is to say, or the ack that is due. */
  wake() {
    this.sending ||= this.send().then(
      () => void (this.sending = null),
      (fault) => this.fail(fault),
    );
  }

  async send() {
    await null; // what is said in one go travels in one body
    while (!this.over && (this.pilot.link.hasMore(this.lane) || this.lane.owes)) await this.post("send", 0);
  }

  /** Write the attach with which every body begins; it carries the ack. @param {number} n @param {object} wishes */
  attach(n, wishes = {}) {
    const { link, sid, key } = this.pilot;
    link.acks(this.lane);
    return link.codec.dumps(["@", sid, key, n, link.ackable, { ...this.pilot.wishes(), ...wishes }], link.options);
  }

  /**
   * POST what there is to say, take the answer, and return the bytes that it brought.
   * @param {string} kind @param {number} n @param {number} extra ms more than a round trip that the answer may take
   */
  async post(kind, n, extra = 0, wishes = {}) {
    const { pilot, lane } = this;
    const { link } = pilot;
    let body = this.attach(n, wishes);
    const brings = link.hasMore(lane);
    if (brings) {
      lane.placed = false; // each body has its position
      const frame = link.pending(lane, link.options.max_batch - body.length - 1);
      if (frame) {
        link.wrote(lane, frame);
        body = link.codec.join([body, frame.payload]);
      }
    }
    const begun = (this.touched = pilot.env.now());
    const patience = 2 * Math.max(LEAST_PATIENCE, 4 * pilot.info.roundTrip) + body.length / SLOWEST + extra;
    const [status, data] = await post(pilot, pilot.sid + "/" + kind, body, patience, this.abort);
    const batch = believe(status, data, link.codec, link.options);
    if (!n) {
      if (brings) pilot.measured(pilot.env.now() - begun);
      const place = batch.find(([packet]) => packet[0] == "#");
      if (place && place[0][1] > this.named) {
        this.named = place[0][1];
        this.namedAt = pilot.env.now();
      }
    }
    if (n) pilot.carried(this);
    pilot.take(this, new Lane(), batch);
  }
}
