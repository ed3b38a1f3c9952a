// Runs the vectors that both languages share (tests/vectors/README.md tells what each list means).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { json } from "../src/json.js";
import { Link } from "../src/link.js";
import { msgpack } from "../src/msgpack.js";
import { Outbox } from "../src/outbox.js";
import { isNumbered, countOf } from "../src/packets.js";
import { DEFAULTS } from "../src/pilot.js";
import { eventReader } from "../src/streams.js";
import { Malformed, TooLarge } from "../src/values.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8"));
const CODECS = { json, msgpack };
const encode = (codec, words) => (codec == "json" ? words : Uint8Array.from(Buffer.from(words, "hex")));
const decode = (words) => (typeof words == "string" ? words : Buffer.from(words).toString("hex"));

/** Bytes are ["b", base64] in the vectors, and a Uint8Array in a message here. */
const inward = (packet) => (packet[0] == "b" ? ["m", Uint8Array.from(Buffer.from(packet[1], "base64"))] : packet);
const outward = (packet) => {
  if (packet[1] instanceof Uint8Array) return ["b", Buffer.from(packet[1]).toString("base64")];
  return JSON.stringify(packet.at(-1)) == "{}" && "@x".includes(packet[0]) ? packet.slice(0, -1) : packet;
};
const load = (codec, words, options = {}) =>
  CODECS[codec].loads(encode(codec, words), { ...DEFAULTS, ...options }).map(([packet]) => outward(packet));
const size = (codec, words) => (codec == "json" ? Buffer.byteLength(words) : words.length / 2);
const plain = (value) => JSON.parse(JSON.stringify(value));

test("packets.json: each packet has one form in each codec", () => {
  const { good, also, unknown, unsendable } = read("packets");
  for (const { packet, numbers, ...forms } of good) {
    for (const codec of ["json", "msgpack"]) {
      const words = CODECS[codec].dumps(inward(packet), DEFAULTS);
      assert.equal(decode(words), forms[codec]);
      const [[back, long]] = CODECS[codec].loads(words, DEFAULTS);
      assert.deepEqual(outward(back), outward(packet));
      assert.equal(long, size(codec, forms[codec]));
      assert.equal(isNumbered(back) ? countOf(back) : 0, numbers);
    }
  }
  for (const { codec, words, packet } of also) assert.deepEqual(load(codec, words), [outward(inward(packet))], words);
  for (const array of unknown) assert.deepEqual(load("json", JSON.stringify(array)), []);
  for (const { packet } of unsendable)
    for (const codec of ["json", "msgpack"]) assert.throws(() => CODECS[codec].dumps(packet, DEFAULTS), TypeError, JSON.stringify(packet));
});

test("packets.json: what is not in the protocol's language is refused", () => {
  for (const { packet, codec, words, fault } of read("packets").malformed) {
    if (codec) assert.throws(() => load(codec, words), Malformed, `${fault}: ${words}`);
    else assert.throws(() => load("json", JSON.stringify(packet)), Malformed, fault);
  }
});

test("batches.json", () => {
  const { good, also, malformed, too_large } = read("batches");
  for (const { name, packets, ...forms } of good) {
    for (const codec of ["json", "msgpack"]) {
      const words = CODECS[codec].join(packets.map((packet) => CODECS[codec].dumps(inward(packet), DEFAULTS)));
      assert.equal(decode(words), forms[codec], name);
      assert.deepEqual(load(codec, forms[codec]), packets, name);
    }
  }
  for (const { codec, words, packets, why } of also) assert.deepEqual(load(codec, words), packets, why);
  for (const { codec, words, options, fault } of malformed) assert.throws(() => load(codec, words, options), Malformed, fault);
  for (const { codec, words, options } of too_large) {
    assert.throws(() => load(codec, words, options), TooLarge);
    const more = Object.fromEntries(Object.entries(options).map(([name, limit]) => [name, limit + 1]));
    load(codec, words, more);
  }
});

test("sse.json: a stream is read the same however it is cut", () => {
  for (const { name, stream, events } of read("sse").read) {
    const bytes = new TextEncoder().encode(stream);
    const fed = (chunks) => {
      const reader = eventReader(10_000);
      return chunks.flatMap((chunk) => reader(chunk));
    };
    assert.deepEqual(fed([bytes]), events, name);
    assert.deepEqual(fed(Array.from(bytes, (byte) => Uint8Array.of(byte))), events, name);
    for (let at = 1; at < bytes.length; at++) assert.deepEqual(fed([bytes.subarray(0, at), bytes.subarray(at)]), events, name);
  }
});

/** What only a server does: it drops broadcasts for slow clients, tries WebSockets, reads POSTs that overtake, ends abruptly. */
const SERVERS = ["loose", "key", "drop_oldest", "overtakes", "trial", "abandon", "end"];
const forClients = ({ steps }) => !steps.some((step) => SERVERS.some((word) => word in step));

test("outbox.json", () => {
  const scripts = read("outbox").filter(forClients);
  assert.ok(scripts.length >= 3);
  for (const { name, steps } of scripts) {
    const outbox = new Outbox();
    for (const step of steps) {
      const note = `${name}: ${JSON.stringify(step)}`;
      if ("append" in step) assert.equal(outbox.append(step.append, step.append.length), step.is, note);
      else if ("since" in step) assert.deepEqual(outbox.since(step.since, step.limit), step.is, note);
      else if ("confirm" in step) assert.equal(outbox.confirm(step.confirm), step.is, note);
      else for (const [key, value] of Object.entries(step.state)) assert.equal(outbox[key], value, note);
    }
  }
});

const STATES = ["OPEN", "CLOSING", "CLOSED"];
const FAULTS = { unsendable: TypeError, "too large": RangeError };

function run({ name, options, steps }, codec) {
  const limits = { ...DEFAULTS, ...options };
  const link = new Link(CODECS[codec], limits);
  const lanes = {};
  const inbox = [];
  const says = (frame) => frame && CODECS[codec].loads(frame.payload, DEFAULTS).map(([packet]) => outward(packet));
  for (const step of steps) {
    const note = `${name} (${codec}): ${JSON.stringify(step)}`;
    const [verb] = Object.keys(step);
    const lane = lanes[step[verb]];
    if (verb == "send") {
      if (step.fault) assert.throws(() => link.send(inward(step.send)), FAULTS[step.fault], note);
      else assert.equal(link.send(inward(step.send)), step.is, note);
    } else if (verb == "lane") lanes[step.lane] = link.lane();
    else if (verb == "owe") lane.owes = true;
    else if (verb == "write" || verb == "peek") {
      const frame = link.pending(lane, step.limit);
      assert.deepEqual(says(frame), step.is, note);
      if (frame && verb == "write") link.wrote(lane, frame);
    } else if (verb == "receive") {
      const news = [];
      const batch = step.batch.map((packet) => {
        const words = CODECS[codec].dumps(inward(packet), DEFAULTS);
        return [inward(packet), CODECS[codec].size(words)];
      });
      const work = () =>
        link.receive(lane, batch, (packet, long) => {
          news.push(outward(packet));
          if (packet[0] == "m") inbox.push([outward(packet)[1], long]);
        });
      if (step.fault) assert.throws(work, Malformed, note);
      else work();
      assert.deepEqual(news, step.new, note);
    } else if (verb == "take") {
      const [value, long] = inbox.shift();
      assert.deepEqual(value, step.take, note);
      link.taken(long);
    } else if (verb == "confirm") {
      if (step.fault) assert.throws(() => link.confirm(step.confirm), Malformed, note);
      else link.confirm(step.confirm);
    } else if (verb == "close") link.close(...step.close);
    else if (verb == "unconfirmed") {
      const values = link.unconfirmed().map((value) => (value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value));
      assert.deepEqual(values, step.unconfirmed, note);
    } else if (verb == "has_more") assert.equal(link.hasMore(lane), step.is, note);
    else if (verb == "ack_due") assert.equal(link.ackDue(lane), step.is, note);
    else if (verb == "finished") {
      assert.equal(link.state == 2 && (!link.heard || lane.acked >= link.received), step.is, note);
    } else {
      assert.equal(verb, "state", note);
      const is = { ...link, state: STATES[link.state], inbox: link.inboxSize, full: link.full, confirmed: link.outbox.confirmed, last: link.outbox.last };
      for (const [key, value] of Object.entries(step.state)) assert.deepEqual(is[key], value, `${note} ${key}`);
    }
  }
}

const scripts = read("links");
test("links.json: the scripts that are a client's", () => {
  assert.ok(scripts.filter(forClients).length >= 40);
});
for (const script of scripts.filter(forClients)) {
  for (const codec of script.codec ? [script.codec] : ["json", "msgpack"]) test(`links.json, ${codec}: ${script.name}`, () => run(script, codec));
}
