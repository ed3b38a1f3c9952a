// The ladder with a scripted clock, and the pilot with scripted transports: what is tried, when, and what is believed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/backoff.js";
import { json } from "../src/json.js";
import { Ladder, Rung } from "../src/ladder.js";
import { DEFAULTS, Pilot } from "../src/pilot.js";

const HALF = 0.5; // the chance at which jitter adds nothing

test("a transport that could not be used is tried every 10 s, then every 30 s, then every 5 min", () => {
  const rung = new Rung();
  const tries = [];
  for (let now = 0; now < 2_000_000; ) {
    rung.failed(now, HALF);
    tries.push(rung.dueAt() - now);
    now = rung.dueAt();
  }
  assert.deepEqual([...new Set(tries)], [10_000, 30_000, 300_000]);
  assert.equal(tries.filter((wait) => wait == 10_000).length, 12);
});

test("two deaths before trust within 60 s put it in quarantine, doubling to 30 min", () => {
  const rung = new Rung();
  let now = 0;
  const waits = [];
  for (let round = 0; round < 7; round++) {
    rung.died(now, 100, false, 0);
    assert.equal(rung.dueAt(), now, "the first is pardoned");
    rung.died(now + 1000, 100, false, 0);
    waits.push((rung.dueAt() - now - 1000) / 1000);
    now = rung.dueAt();
  }
  assert.deepEqual(waits, [60, 120, 240, 480, 960, 1800, 1800]);
});

test("three deaths at any age within 5 min do so too, and explained ones never", () => {
  const rung = new Rung();
  for (const now of [0, 100_000]) rung.died(now, 50_000, false, 0);
  assert.equal(rung.dueAt(), 100_000);
  for (const now of [110_000, 120_000, 130_000]) rung.died(now, 10, true, 0);
  assert.equal(rung.dueAt(), 130_000);
  rung.died(200_000, 50_000, false, 0);
  assert.equal(rung.dueAt(), 260_000);
});

test("another network clears all of it; the last resort is always there", () => {
  const ladder = new Ladder(["websocket", "poll"]);
  ladder.rungs.websocket.failed(0, HALF);
  ladder.rungs.poll.failed(0, HALF);
  assert.equal(ladder.dueAt("websocket"), 10_000);
  assert.equal(ladder.dueAt("poll"), 0);
  ladder.networkChanged();
  assert.equal(ladder.dueAt("websocket"), 0);
});

test("waits have full jitter: at once, then up to 0.5 s, doubling to 20 s", () => {
  const backoff = new Backoff();
  const waits = Array.from({ length: 9 }, () => backoff.failed(1));
  assert.deepEqual(waits, [0, 500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
  backoff.succeeded();
  assert.equal(backoff.failed(1), 0);
});

/** A world with a clock that waits for nothing, and transports that do what they are told. */
class World {
  now = 1000;
  timers = new Map();
  started = [];
  told = [];
  next = 1;

  constructor(order = ["websocket", "stream", "poll"]) {
    const carrier = (name) => (pilot) => {
      const one = {
        name,
        lane: pilot.link.lane(),
        started: this.now,
        proved: 0,
        retired: false,
        heard: this.now,
        touched: this.now,
        sending: null,
        woken: 0,
        limit: () => (one.proved ? Infinity : one.started + 5000),
        fail: (fault, code) => pilot.ended(one, fault, code),
        stop() {
          one.retired = one.stopped = true;
        },
        retire() {
          one.retired = true;
        },
        beat() {
          one.beats = true;
        },
        wake() {
          one.woken++;
        },
      };
      this.started.push(one);
      return one;
    };
    const env = {
      now: () => this.now,
      later: (work, ms) => {
        this.timers.set(this.next, [this.now + ms, work]);
        return this.next++;
      },
      cancel: (timer) => this.timers.delete(timer),
      WebSocket: Object,
      carriers: Object.fromEntries(["websocket", "stream", "poll"].map((name) => [name, carrier(name)])),
    };
    const hooks = { hand() {}, moved() {}, tell: (state) => this.told.push(state), lost() {}, over() {} };
    const address = `http://world-${World.count++}`; // what worked is remembered by address
    this.pilot = new Pilot(address, order, json, env, hooks, { attempts: [], roundTrip: 10 });
    this.pilot.begin({ ...DEFAULTS, sid: "s", key: "k" }, []);
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

  take() {
    return this.started.splice(0).map((one) => one.name);
  }
}

test("at the open WebSocket and stream are tried at once; the stream goes on until the WebSocket has answered", async () => {
  const world = new World();
  await world.pass(0);
  const [ws, stream] = world.started;
  assert.deepEqual(world.take(), ["websocket", "stream"]);
  world.pilot.carried(stream);
  await world.pass(300);
  assert.equal(world.pilot.carrier, stream);
  assert.ok(!stream.retired);
  world.pilot.carried(ws);
  assert.ok(stream.retired && !stream.stopped);
  assert.equal(world.pilot.carrier, ws);
  await world.pass(60_000);
  assert.deepEqual(world.take(), []);
  world.pilot.stop();
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
  world.pilot.carried(poll);
  await world.pass(11_000);
  assert.deepEqual(world.take(), ["stream"]);
  assert.ok(poll.retired);
  world.pilot.stop();
});

test("when the transport dies the next is there at once, and the application hears of it once", async () => {
  const world = new World();
  await world.pass(0);
  const [ws] = world.started;
  world.pilot.carried(ws);
  world.take();
  await world.pass(30_000);
  ws.fail("cut", 1006);
  await world.pass(0);
  const [again] = world.started;
  assert.deepEqual(world.take(), ["websocket", "stream"]);
  assert.equal(world.told.filter((state) => state == "interrupted").length, 1);
  world.pilot.carried(again);
  assert.ok(world.told.includes("resumed"));
  world.pilot.stop();
});

test("a WebSocket that keeps dying early is left alone, and HTTP carries on", async () => {
  const world = new World();
  await world.pass(0);
  for (let death = 0; death < 2; death++) {
    const ws = world.started.find((one) => one.name == "websocket");
    world.take();
    world.pilot.carried(ws);
    await world.pass(300);
    ws.fail("cut", 1006);
    await world.pass(0);
  }
  const stream = world.started.find((one) => one.name == "stream");
  assert.deepEqual(world.take(), ["stream"]);
  world.pilot.carried(stream);
  await world.pass(59_000);
  assert.deepEqual(world.take(), []);
  world.pilot.wake(); // online: another network
  await world.pass(0);
  assert.ok(world.take().includes("websocket"));
  world.pilot.stop();
});

test("an ack that is late is asked for, and silence then drops the WebSocket", async () => {
  const world = new World();
  await world.pass(0);
  const [ws] = world.started;
  world.pilot.carried(ws);
  world.pilot.link.send(["m", "hello"]);
  world.pilot.kick();
  await world.pass(900);
  assert.ok(!ws.beats);
  await world.pass(200);
  assert.ok(ws.beats);
  assert.equal(world.pilot.carrier, ws);
  await world.pass(1100);
  assert.notEqual(world.pilot.carrier, ws);
  world.pilot.stop();
});

test("two connections that died of silence teach how long it may last", async () => {
  const world = new World(["poll"]);
  for (let death = 0; death < 2; death++) {
    await world.pass(0);
    const [poll] = world.started;
    world.take();
    world.pilot.carried(poll);
    poll.touched = world.now;
    await world.pass(10_000);
    poll.fail("cut");
  }
  assert.deepEqual(world.pilot.wishes(), { hold: 6, heartbeat: 6 });
  world.pilot.stop();
});

test("a hidden tab gives its connection back, and asks now and then", async () => {
  const world = new World(["poll"]);
  await world.pass(0);
  const [poll] = world.started.splice(0);
  world.pilot.carried(poll);
  world.pilot.hiddenAt = world.now;
  world.pilot.kick();
  await world.pass(30_001);
  assert.ok(poll.stopped);
  for (let minute = 0; minute < 3; minute++) {
    assert.equal(world.started.length, 1, "one poll in half of `resume`");
    const [nap] = world.started.splice(0);
    world.pilot.carried(nap);
    await world.pass(0);
    assert.ok(nap.stopped);
    await world.pass(60_001);
  }
  world.pilot.stop();
});

test("after sleep a late timer gives what has come a second before anything is dropped", async () => {
  const world = new World(["websocket", "poll"]);
  await world.pass(0);
  const ws = world.started.find((one) => one.name == "websocket");
  ws.limit = () => ws.heard + 30_000;
  world.pilot.carried(ws);
  await world.pass(0);
  world.now += 3_600_000; // the lid was closed
  await world.pass(500);
  assert.equal(world.pilot.carrier, ws);
  ws.heard = world.now; // its news is read
  await world.pass(5000);
  assert.equal(world.pilot.carrier, ws);
  world.pilot.stop();
});
