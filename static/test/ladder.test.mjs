// The ladder with a scripted clock, and the pilot with scripted transports: what is tried, when, and what is believed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../src/backoff.js";
import { died, failed, forget, makeRung } from "../src/ladder.js";
import { DEFAULTS, TRANSPORTS, makePilot } from "../src/pilot.js";

const HALF = 0.5; // the chance at which jitter adds nothing

test("a transport that could not be used is tried every 10 s, then every 30 s, then every 5 min", () => {
  const rung = makeRung("websocket");
  const tries = [];
  for (let now = 1; now < 2_000_000; ) {
    failed(rung, now, HALF);
    tries.push(rung._nextTry - now);
    now = rung._nextTry;
  }
  assert.deepEqual([...new Set(tries)], [10_000, 30_000, 300_000]);
  assert.equal(tries.filter((wait) => wait == 10_000).length, 12);
});

test("two deaths before trust within 60 s put it in quarantine, doubling to 30 min", () => {
  const rung = makeRung("websocket");
  let now = 0;
  const waits = [];
  for (let round = 0; round < 7; round++) {
    died(rung, now, 100, 0);
    assert.equal(rung._nextTry, now, "the first is pardoned");
    died(rung, now + 1000, 100, 0);
    waits.push((rung._nextTry - now - 1000) / 1000);
    now = rung._nextTry;
  }
  assert.deepEqual(waits, [60, 120, 240, 480, 960, 1800, 1800]);
});

test("three deaths at any age within 5 min do so too; another network clears all of it", () => {
  const rung = makeRung("websocket");
  for (const now of [1, 100_000]) died(rung, now, 50_000, 0);
  assert.equal(rung._nextTry, 100_000);
  died(rung, 200_000, 50_000, 0);
  assert.equal(rung._nextTry, 260_000);
  forget(rung);
  assert.equal(rung._nextTry, 0);
  for (const now of [500_000, 900_000, 1_300_000]) died(rung, now, 50_000, 0);
  assert.equal(rung._nextTry, 1_300_000);
});

test("waits have full jitter: at once, then up to 0.5 s, doubling to 20 s", () => {
  const waits = Array.from({ length: 9 }, (_, failures) => backoff(failures, 1));
  assert.deepEqual(waits, [0, 500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
});

/** The world whose clock all use; what runs beside a test waits for no clock of ours. */
let present = null;
const real = { setTimeout, clearTimeout };
globalThis.setTimeout = (work, ms = 0, ...more) => (present ? present.later(work, ms) : real.setTimeout(work, ms, ...more));
globalThis.clearTimeout = (timer) => (present ? present.timers.delete(timer) : real.clearTimeout(timer));
const wall = performance.now.bind(performance);
performance.now = () => (present ? present.now : wall());

/** The transports as they are; a world puts its own in their place. */
const OWN = { ...TRANSPORTS };

/** A world with a clock that waits for nothing, and transports that do what they are told. */
class World {
  now = 1000;
  timers = new Map();
  started = [];
  told = [];
  next = 1;

  constructor(order = ["websocket", "stream", "poll"], settings = {}) {
    present = this;
    for (const name of Object.keys(TRANSPORTS)) TRANSPORTS[name] = settings.fetch ? OWN[name] : (pilot, one) => this.start(name, pilot, one);
    const client = { _hand() {}, _tell: (state) => this.told.push(state), _lost() {}, _end: (code) => this.told.push(code) };
    const address = `http://world-${World.count++}`; // what worked is remembered by address
    this.info = { attempts: [], roundTrip: 10 };
    this.pilot = makePilot(client, address, order, { WebSocket: Object, ...settings }, this.info);
    this.pilot._begin({ ...DEFAULTS, sid: "s", key: "k", heartbeat: 20, poll_timeout: 25, resume: 120 }, []);
  }

  /** Be the transport that a pilot starts. */
  start(name, pilot, one) {
    Object.assign(one, {
      name,
      woken: 0,
      _limit: () => (one._proved ? (one.askedBy ?? Infinity) : one._started + 5000),
      _stop: (fault, code) => {
        one.stopped = true;
        pilot._ended(one, fault, code);
      },
      _wake: () => one.woken++,
    });
    if (name == "websocket") one._beat = () => (one.beats = true);
    one.brings = (...packets) => pilot._take(one, packets.map((packet) => JSON.stringify(packet)).join("\n"));
    this.started.push(one);
  }

  later(work, ms) {
    this.timers.set(this.next, [this.now + ms, work]);
    return this.next++;
  }

  static count = 0;

  /** Let the time pass, timer by timer. */
  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const due = [...this.timers].filter(([, [at]]) => at <= end).sort(([, [a]], [, [b]]) => a - b)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = Math.max(this.now, due[1][0]);
      due[1][1]();
    }
    this.now = end;
  }

  end() {
    this.pilot._stop();
    present = null;
  }

  take() {
    return this.started.splice(0).map((one) => one.name);
  }
}

const lives = (one) => one._rung._one == one;
const carries = (one) => lives(one) && one._proved > 0;

test("at the open WebSocket and stream are tried at once; the stream goes on until the WebSocket has answered", async () => {
  const world = new World();
  await world.pass(0);
  const [ws, stream] = world.started;
  assert.deepEqual(world.take(), ["websocket", "stream"]);
  stream.brings(["a", 0]);
  await world.pass(300);
  assert.ok(carries(stream));
  assert.ok(lives(stream));
  ws.brings(["a", 0]);
  assert.ok(!lives(stream) && !stream.stopped, "its last words are heard");
  assert.ok(carries(ws));
  await world.pass(60_000);
  assert.deepEqual(world.take(), []);
  world.end();
});

test("a stream that shows nothing gives way to polls at once, and is tried again", async () => {
  const world = new World(["stream", "poll"]);
  await world.pass(0);
  assert.deepEqual(world.take(), ["stream"]);
  await world.pass(5001);
  assert.deepEqual(
    world.started.map((one) => one.name),
    ["poll"],
  );
  const [poll] = world.started.splice(0);
  poll.brings(["a", 0]);
  await world.pass(11_000);
  assert.deepEqual(world.take(), ["stream"]);
  assert.ok(!lives(poll));
  world.end();
});

test("when the transport dies the next is there at once, and the application hears of it once", async () => {
  const world = new World();
  await world.pass(0);
  const [ws] = world.started;
  ws.brings(["a", 0]);
  world.take();
  await world.pass(30_000);
  ws._stop("cut", 1006);
  await world.pass(0);
  const [again] = world.started;
  assert.deepEqual(world.take(), ["websocket", "stream"]);
  assert.equal(world.told.filter((state) => state == "interrupted").length, 1);
  again.brings(["a", 0]);
  assert.ok(world.told.includes("resumed"));
  world.end();
});

test("a WebSocket that keeps dying early is left alone, and HTTP carries on", async () => {
  const world = new World();
  await world.pass(0);
  for (let death = 0; death < 2; death++) {
    const ws = world.started.find((one) => one.name == "websocket");
    world.take();
    ws.brings(["a", 0]);
    await world.pass(300);
    ws._stop("cut", 1006);
    await world.pass(0);
  }
  const stream = world.started.find((one) => one.name == "stream");
  assert.deepEqual(world.take(), ["stream"]);
  stream.brings(["a", 0]);
  await world.pass(59_000);
  assert.deepEqual(world.take(), []);
  world.pilot._wake(); // online: another network
  await world.pass(0);
  assert.ok(world.take().includes("websocket"));
  world.end();
});

for (const order of [["websocket"], ["stream"], undefined]) {
  test(`what is never understood ends the session, over ${order || "all"}`, async () => {
    for (const refused of [["", 4400], [{ message: "refused", _refusal: ["x", 4400, "why", {}] }], [Error("not the server, status 200")]]) {
      const world = new World(order);
      for (let turn = 0; turn < 100 && !world.told.includes(4400); turn++) {
        await world.pass(100);
        const one = world.started.find((other) => !other.stopped && (!order || other.name != "poll"));
        if (!one) continue;
        one.brings(["a", 0]); // it works
        if (!one.stopped) one._stop(...refused);
      }
      const ended = world.now;
      assert.ok(world.told.includes(4400));
      assert.ok(ended > 4000, "each was said later than the last");
      assert.ok(world.started.filter((one) => one._proved).length <= 8);
      await world.pass(60_000);
      assert.equal(world.told.filter((state) => state == 4400).length, 1);
      world.end();
    }
  });
}

const NO_ROOM = { message: "refused with 4400: more was sent than `buffer` allows", _refusal: ["x", 4400, "more was sent", {}] };

for (const fault of [Error("over 1048576 bytes"), NO_ROOM]) test(`who takes too little is asked less and less often, and loses no session: ${fault.message}`, async () => {
  const world = new World(["stream"]);
  for (let turn = 0; turn < 600; turn++) {
    await world.pass(100);
    const one = world.started.find((other) => !other.stopped);
    if (!one) continue;
    one.brings(["a", 0]);
    one._stop(fault);
  }
  assert.ok(!world.told.includes(4400));
  assert.ok(world.started.length <= 16, world.started.length);
  world.end();
});

test("what gets through in between ends no session", async () => {
  const world = new World(["stream"]);
  for (let number = 1; number < 30; number++) {
    await world.pass(1000);
    const one = world.started.at(-1);
    one.brings(["a", 0]);
    one.brings(["#", number], ["m", "one more"]);
    one._stop("", 4400);
  }
  assert.ok(!world.told.includes(4400));
  world.end();
});

test("an ack that is late is asked for, and silence then drops the WebSocket", async () => {
  const world = new World();
  await world.pass(0);
  const [ws] = world.started;
  ws.brings(["a", 0]);
  world.pilot._link._send(["m", "hello"]);
  world.pilot._kick();
  await world.pass(700);
  assert.ok(!ws.beats);
  await world.pass(200);
  assert.ok(ws.beats);
  assert.ok(carries(ws));
  await world.pass(900);
  assert.ok(!carries(ws));
  world.end();
});

test("two connections that died of silence teach how long it may last", async () => {
  const world = new World(["poll"]);
  for (let death = 0; death < 2; death++) {
    await world.pass(0);
    const [poll] = world.started;
    world.take();
    poll.brings(["a", 0]);
    await world.pass(10_000);
    poll._stop("cut");
  }
  assert.equal(world.pilot._wish(), 6);
  world.end();
});

test("a hidden tab gives its connection back, and asks now and then", async () => {
  const world = new World(["poll"]);
  await world.pass(0);
  const [poll] = world.started.splice(0);
  poll.brings(["a", 0]);
  world.pilot._hiddenAt = world.now;
  world.pilot._kick();
  await world.pass(30_001);
  assert.ok(poll.stopped);
  for (let minute = 0; minute < 3; minute++) {
    assert.equal(world.started.length, 1, "one poll in half of `resume`");
    const [nap] = world.started.splice(0);
    nap.brings(["a", 0]);
    await world.pass(0);
    assert.ok(nap.stopped);
    await world.pass(60_001);
  }
  world.end();
});

test("a hidden tab that says something asks at once, and soon again for the answer, less and less often", async () => {
  const world = new World(["poll"]);
  await world.pass(0);
  world.started.splice(0)[0].brings(["a", 0]);
  world.pilot._hiddenAt = world.now;
  world.pilot._kick();
  await world.pass(30_001);
  world.started.splice(0).forEach((nap) => nap.brings(["a", 0]));
  await world.pass(10_000);
  assert.equal(world.started.length, 0);
  world.pilot._link._send(["m", "hello"]);
  world.pilot._kick();
  await world.pass(0);
  const [first] = world.started.splice(0);
  first._stop("no network");
  await world.pass(1500);
  const [again] = world.started.splice(0); // what failed is tried again
  again.brings(["a", 1]);
  const naps = [];
  for (let second = 0; second < 200; second++) {
    await world.pass(1000);
    for (const nap of world.started.splice(0)) {
      naps.push(Math.round((nap._started - again._started) / 1000));
      nap.brings(["a", 1]);
    }
  }
  assert.deepEqual(naps, [1, 3, 7, 15, 31, 63, 123, 183]);
  world.end();
});

test("after sleep a late timer gives what has come a second before anything is dropped", async () => {
  const world = new World(["websocket", "poll"]);
  await world.pass(0);
  const ws = world.started.find((one) => one.name == "websocket");
  ws._limit = () => ws._heard + 30_000;
  ws.brings(["a", 0]);
  await world.pass(0);
  world.now += 3_600_000; // the lid was closed
  await world.pass(500);
  assert.ok(carries(ws));
  ws.brings(["h"]); // its news is read
  await world.pass(5000);
  assert.ok(carries(ws));
  world.end();
});

test("a WebSocket that is refused again and again is asked less and less often", async () => {
  const world = new World(["websocket"]);
  await world.pass(0);
  for (let refusal = 0; refusal < 3; refusal++) {
    const [ws] = world.started.splice(0);
    try {
      ws.brings(["x", 4429, "too many", { retry: 7 }]);
    } catch (fault) {
      ws._stop(fault);
    }
    await world.pass(6000);
    assert.deepEqual(world.take(), []);
    await world.pass(2000);
    assert.equal(world.started.length, 1);
  }
  world.end();
});

/** A server that answers polls and sends after a round trip, or never if the client does not wait; it holds no poll. */
class Far {
  roundTrip = 10;
  received = 0;
  asked = 0;
  givenUp = 0;

  /** Answer a request; the world's clock says when. */
  fetch = (_url, { body, signal }) =>
    new Promise((resolve, reject) => {
      this.asked++;
      signal.onabort = () => {
        this.givenUp++;
        reject(signal.reason);
      };
      const [, ...packets] = body.split("\n").map((line) => JSON.parse(line));
      setTimeout(() => {
        let next = Infinity;
        for (const [kind, value] of packets) {
          if (kind == "#") next = value;
          else if (kind == "m" && next++ == this.received + 1) this.received++;
        }
        if (!signal.aborted) resolve(new Response(JSON.stringify(["a", this.received])));
      }, this.roundTrip);
    });
}

test("when the network turns slow in mid-session, each answer that is late is followed by twice the patience", async () => {
  const far = new Far();
  const world = new World(["poll"], { fetch: far.fetch });
  const { _link: link } = world.pilot;
  const say = () => {
    link._send(["m", "hello"]);
    world.pilot._kick();
  };
  say();
  await world.pass(20);
  assert.equal(link._confirmed, 1);
  far.roundTrip = 12_000; // far more than the patience with which a quick network is met
  far.asked = 0;
  say();
  await world.pass(60_000);
  assert.equal(link._confirmed, 2);
  assert.ok(far.givenUp > 0 && far.givenUp <= 5, `given up ${far.givenUp} times`);
  const before = far.givenUp;
  say();
  await world.pass(60_000);
  assert.equal(link._confirmed, 3);
  assert.equal(far.givenUp, before, "what was learned holds");
  world.end();
});

test("a slower round trip counts for half, a quicker one for an eighth", () => {
  const world = new World(["poll"]);
  const trips = [];
  for (const ms of [90, 26, 0, -5]) {
    world.pilot._measured(ms);
    trips.push(world.info.roundTrip);
  }
  assert.deepEqual(trips, [50, 47, 47, 47]);
  world.end();
});
