// Runs the vectors that both languages share (tests/vectors/README.md tells what each list means).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { json } from "../src/json.js";
import { makeLink } from "../src/link.js";
import { msgpack } from "../src/msgpack.js";
import { makeOutbox } from "../src/outbox.js";
import { decode as loads, encode as dumps, isNumbered, sizeOf } from "../src/packets.js";
import { DEFAULTS } from "../src/pilot.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8"));
const CODECS = { json, msgpack };
const form = (codec, words) => (codec == "json" ? words : Uint8Array.from(Buffer.from(words, "hex")));
const plainly = (words) => (typeof words == "string" ? words : Buffer.from(words).toString("hex"));

/** Bytes are ["b", base64] in the vectors, and a Uint8Array in a message here. */
const inward = (packet) => (packet[0] == "b" ? ["m", Uint8Array.from(Buffer.from(packet[1], "base64"))] : packet);
const outward = (packet) => {
  if (packet[1] instanceof Uint8Array) return ["b", Buffer.from(packet[1]).toString("base64")];
  return JSON.stringify(packet.at(-1)) == "{}" && "@x".includes(packet[0]) ? packet.slice(0, -1) : packet;
};
const load = (codec, words, options = {}) =>
  loads(CODECS[codec], form(codec, words), { ...DEFAULTS, ...options }).map(([packet]) => outward(packet));
const size = (codec, words) => (codec == "json" ? Buffer.byteLength(words) : words.length / 2);
const plain = (value) => JSON.parse(JSON.stringify(value));

test("packets.json: each packet has one form in each codec", () => {
  const { good, also, unknown, unsendable } = read("packets");
  for (const { packet, numbers, ...forms } of good) {
    for (const codec of ["json", "msgpack"]) {
      const words = dumps(CODECS[codec], inward(packet), DEFAULTS);
      assert.equal(plainly(words), forms[codec]);
      const [[back, long]] = loads(CODECS[codec], words, DEFAULTS);
      assert.deepEqual(outward(back), outward(packet));
      assert.equal(long, size(codec, forms[codec]));
      assert.equal(isNumbered(back) ? (back[0] == "k" ? back[1] : 1) : 0, numbers);
    }
  }
  for (const { codec, words, packet } of also) assert.deepEqual(load(codec, words), [outward(inward(packet))], words);
  for (const array of unknown) assert.deepEqual(load("json", JSON.stringify(array)), []);
  for (const { packet } of unsendable)
    for (const codec of ["json", "msgpack"]) assert.throws(() => dumps(CODECS[codec], packet, DEFAULTS), TypeError, JSON.stringify(packet));
});

test("packets.json: what is not in the protocol's language is refused", () => {
  for (const { packet, codec, words, fault } of read("packets").malformed) {
    if (codec) assert.throws(() => load(codec, words), `${fault}: ${words}`);
    else {
      assert.throws(() => load("json", JSON.stringify(packet)), fault);
      assert.throws(() => loads(msgpack, msgpack.dumps(packet), DEFAULTS), fault);
    }
  }
});

test("batches.json", () => {
  const { good, also, malformed, too_large } = read("batches");
  for (const { name, packets, ...forms } of good) {
    for (const codec of ["json", "msgpack"]) {
      const words = CODECS[codec].join(packets.map((packet) => dumps(CODECS[codec], inward(packet), DEFAULTS)));
      assert.equal(plainly(words), forms[codec], name);
      assert.deepEqual(load(codec, forms[codec]), packets, name);
    }
  }
  for (const { codec, words, packets, why } of also) assert.deepEqual(load(codec, words), packets, why);
  for (const { codec, words, options, fault } of malformed) assert.throws(() => load(codec, words, options), fault);
  for (const { codec, words, options } of too_large) {
    assert.throws(() => load(codec, words, options), /too large/);
    const more = Object.fromEntries(Object.entries(options).map(([name, limit]) => [name, limit + 1]));
    load(codec, words, more);
  }
});

test("sse.json: a stream is read the same however it is cut", () => {
  for (const { name, stream, events } of read("sse").read) {
    const bytes = new TextEncoder().encode(stream);
    const fed = (chunks) => {
      const reader = json.reader(10_000);
      return chunks.flatMap((chunk) => reader(chunk));
    };
    assert.deepEqual(fed([bytes]), events, name);
    assert.deepEqual(fed(Array.from(bytes, (byte) => Uint8Array.of(byte))), events, name);
    for (let at = 1; at < bytes.length; at++) assert.deepEqual(fed([bytes.subarray(0, at), bytes.subarray(at)]), events, name);
  }
});

/** What only a server does: it drops broadcasts for slow clients, tries WebSockets, reads POSTs that overtake, ends abruptly. */
const SERVERS = ["loose", "key", "drop_oldest", "relieve", "overtakes", "trial", "abandon", "end"];
const forClients = ({ steps }) => !steps.some((step) => SERVERS.some((word) => word in step));

test("outbox.json", () => {
  const scripts = read("outbox").filter(forClients);
  assert.ok(scripts.length >= 3);
  for (const { name, steps } of scripts) {
    const outbox = makeOutbox();
    for (const step of steps) {
      const note = `${name}: ${JSON.stringify(step)}`;
      if ("append" in step) assert.equal(outbox._append({ _words: step.append, _size: step.append.length }), step.is, note);
      else if ("since" in step) assert.deepEqual(outbox._since(step.since, step.limit), step.is, note);
      else if ("confirm" in step) {
        const before = outbox._confirmed;
        outbox._confirm(step.confirm);
        assert.equal(outbox._confirmed > before, step.is, note);
      } else for (const [key, value] of Object.entries(step.state)) assert.equal(outbox[`_${key}`], value, note);
    }
  }
});

const FAULTS = { unsendable: TypeError, "too large": RangeError };

function run({ name, options, steps }, codec) {
  const limits = { ...DEFAULTS, ...options };
  const link = makeLink(CODECS[codec], limits);
  const lanes = {};
  const says = (frame) => (frame ? loads(CODECS[codec], frame, DEFAULTS).map(([packet]) => outward(packet)) : null);
  for (const step of steps) {
    const note = `${name} (${codec}): ${JSON.stringify(step)}`;
    const [verb] = Object.keys(step);
    const lane = lanes[step[verb]];
    if (verb == "send") {
      if (step.fault) assert.throws(() => link._send(inward(step.send)), FAULTS[step.fault], note);
      else assert.equal(link._send(inward(step.send)), step.is, note);
    } else if (verb == "lane") lanes[step.lane] = { ...link._lane(), _owes: true, _acked: -1 };
    else if (verb == "owe") lane._owes = true;
    else if (verb == "write") assert.deepEqual(says(link._write(lane, step.limit)), step.is, note);
    else if (verb == "peek") assert.deepEqual(says(link._write({ ...lane }, step.limit)), step.is, note);
    else if (verb == "receive") {
      const news = [];
      const batch = step.batch.map((packet) => [inward(packet), sizeOf(dumps(CODECS[codec], inward(packet), DEFAULTS))]);
      const work = () => link._receive(lane, batch, (packet) => news.push(outward(packet)));
      if (step.fault) assert.throws(work, Error, note);
      else work();
      assert.deepEqual(news, step.new.filter(([kind]) => kind != "h"), note);
      if (step.batch.some(([kind]) => kind == "h")) assert.ok(lane._owes, `${note}: a heartbeat is answered with an ack`);
    } else if (verb == "take") assert.deepEqual(outward(["m", link._take()])[1], step.take, note);
    else if (verb == "confirm") {
      const work = () => link._receive({}, [[["a", step.confirm], 1]], assert.fail);
      if (step.fault) assert.throws(work, Error, note);
      else work();
    } else if (verb == "close") link._close(...step.close);
    else if (verb == "unconfirmed") {
      const messages = link._items.map(({ _packet }) => _packet).filter(([kind]) => kind == "m");
      const values = messages.map(([, value]) => (value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value));
      assert.deepEqual(values, step.unconfirmed, note);
    } else if (verb == "has_more") assert.equal(!!link._hasMore(lane), step.is, note);
    else if (verb == "ack_due") assert.equal(link._ackDue(lane), step.is, note);
    else if (verb == "finished") {
      assert.equal(!!link._over() && (!link._heard || lane._acked >= link._received), step.is, note);
    } else {
      assert.equal(verb, "state", note);
      const { _size, _confirmed, _last, _heard, _said, _received, _inboxSize } = link;
      const is = {
        received: _received,
        ackable: link._ackable(),
        said: _said ?? null,
        heard: _heard ?? null,
        state: link._over() ? "CLOSED" : _said ? "CLOSING" : "OPEN",
        inbox: _inboxSize,
        full: _size >= limits.buffer,
        confirmed: _confirmed,
        last: _last,
      };
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
