// HybridWS against a real server: a WebSocket to the letter, and what it has besides.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { HybridWS, RequestFailed } from "../src/index.js";
import { msgpack } from "../src/msgpack.js";
import { SockJS } from "../src/sockjs.js";
import { startServer } from "./real.mjs";

let server;
before(async () => (server = await startServer()));
after(() => server.stop());

const event = (ws, type) => new Promise((resolve) => ws.addEventListener(type, resolve, { once: true }));
const echo = (options) => new HybridWS(`${server.url}/echo`, options);
const bytes = (data) => Array.from(new Uint8Array(data));
const named = (name) => (fault) => fault.name == name;

/** Take messages until there are `count`. */
async function take(ws, count) {
  const got = [];
  for await (const message of ws) if (got.push(message) == count) break;
  return got;
}

test("its statics, constants and defaults are a WebSocket's", () => {
  const ws = new HybridWS("ws://127.0.0.1:1/x?room=1");
  for (const [name, value] of Object.entries({ CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 })) {
    assert.equal(HybridWS[name], value);
    assert.equal(ws[name], value);
  }
  const { readyState, binaryType, bufferedAmount, protocol, extensions, url, onopen, onmessage, onerror, onclose } = ws;
  assert.deepEqual([readyState, binaryType, bufferedAmount, protocol, extensions], [0, "blob", 0, "", ""]);
  assert.equal(url, "ws://127.0.0.1:1/x?room=1");
  assert.deepEqual([onopen, onmessage, onerror, onclose], [null, null, null, null]);
  ws.close();
});

test("a class that extends it may call its own fields what it likes", async () => {
  const { HybridWS: Built } = await import("../dist/hybridws.mjs");
  const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"];
  class Own extends Built {
    constructor(...all) {
      super(...all);
      for (const letter of letters) for (const name of [letter, `_${letter}`]) this[name] = name;
    }
  }
  for (const letter of letters) Own.prototype[letter] = assert.fail;
  const ws = new Own(`${server.url}/echo`, { transports: "poll" });
  ws.send("mine");
  assert.deepEqual(await take(ws, 1), ["mine"]);
  ws.close();
  await event(ws, "close");
  assert.deepEqual(letters.map((letter) => ws[letter]), letters);
});

test("it refuses addresses, subprotocols and closes as a WebSocket does", () => {
  for (const url of ["ftp://host/", "ws://host/#part", "//", "ws://"]) assert.throws(() => new HybridWS(url), named("SyntaxError"), url);
  for (const names of [["a", "a"], ["a b"], [""]]) assert.throws(() => new HybridWS("ws://host/", names), named("SyntaxError"));
  const ws = new HybridWS("ws://127.0.0.1:1/");
  for (const code of [0, 999, 1001, 1005, 2999, 5000, NaN]) assert.throws(() => ws.close(code), named("InvalidAccessError"));
  assert.throws(() => ws.close(1000, "é".repeat(62)), named("SyntaxError"));
  ws.close();
});

test("closed before it is open: error, then close with 1006, once each", async () => {
  const ws = echo();
  const seen = [];
  for (const type of ["open", "error", "close"]) ws.addEventListener(type, ({ code, wasClean }) => seen.push([type, code, wasClean]));
  ws.close();
  assert.equal(ws.readyState, 2);
  await event(ws, "close");
  assert.deepEqual(seen, [
    ["error", undefined, undefined],
    ["close", 1006, false],
  ]);
  await assert.rejects(ws.ready);
});

test("nobody there: error, close with 1006, and `ready` says why", async () => {
  const ws = new HybridWS("ws://127.0.0.1:1/", { openTimeout: 300 });
  const { code } = await event(ws, "close");
  assert.equal(code, 1006);
  assert.equal(ws.readyState, 3);
  await assert.rejects(ws.ready);
  assert.ok(ws.info.attempts.every(({ failure }) => failure));
});

for (const transports of ["poll", "stream"]) {
  for (const codec of [undefined, msgpack]) {
    const over = `${transports}, ${codec ? "msgpack" : "json"}`;
    test(`${over}: text, Blobs, buffers and views come back in order, also those sent before open`, async () => {
      const ws = echo({ transports, codec });
      ws.binaryType = "arraybuffer";
      const got = [];
      ws.onmessage = ({ data }) => got.push(typeof data == "string" ? data : bytes(data));
      ws.send("early");
      ws.send("lone \ud800");
      ws.send(new Blob(["ab"]));
      ws.send(Uint8Array.of(0, 255, 10).subarray(1));
      ws.send(Uint8Array.of(1, 2).buffer);
      ws.send(17);
      assert.equal(ws.bufferedAmount, 5 + 8 + 2 + 2 + 2 + 2);
      await ws.ready;
      await ws.deliver("last");
      while (got.length < 7) await event(ws, "message");
      assert.deepEqual(got, ["early", "lone \ufffd", [97, 98], [255, 10], [1, 2], "17", "last"]);
      assert.equal(ws.bufferedAmount, 0);
      assert.equal(ws.transport, transports);
      assert.match(ws.info.why, new RegExp(`^on ${transports}`));
      ws.close(3456, "done");
      const { code, reason, wasClean } = await event(ws, "close");
      assert.deepEqual([code, reason, wasClean], [3456, "done", true]);
      ws.send("xyz");
      assert.equal(ws.bufferedAmount, 3);
    });

    test(`${over}: requests both ways`, async () => {
      const ws = echo({ transports, codec, json: true });
      await ws.ready;
      assert.deepEqual(await ws.request({ a: [1.5, null] }), { "you said": { a: [1.5, null] } });
      await assert.rejects(ws.request("fail"), (fault) => fault instanceof RequestFailed && fault.code == 4321);
      await assert.rejects(ws.request("x", { signal: AbortSignal.abort() }), named("AbortError"));
      ws.onrequest = async (value) => `${value} that`;
      ws.send("!ask");
      assert.deepEqual(await take(ws, 1), ["what? that"]);
      ws.send({ json: ["value", 1, true] });
      assert.deepEqual(await take(ws, 1), [{ json: ["value", 1, true] }]);
      ws.close();
      assert.equal((await event(ws, "close")).code, 1005);
      await assert.rejects(ws.deliver("late"), named("InvalidStateError"));
    });
  }
}

test("the server's close comes after all it said", async () => {
  const ws = echo({ transports: "stream" });
  const got = [];
  ws.onmessage = ({ data }) => got.push(data);
  for (const text of ["one", "two", "!close", "never"]) ws.send(text);
  const { code, reason, wasClean } = await event(ws, "close");
  assert.deepEqual([got, code, reason, wasClean], [["one", "two"], 3210, "bye", true]);
});

test("what cannot be sent is the caller's error, and harms nothing", async () => {
  const ws = echo({ transports: "poll", json: true });
  await ws.ready;
  assert.throws(() => ws.send({ number: NaN }), TypeError);
  assert.throws(() => ws.send("x".repeat(300_000)), RangeError);
  ws.send("fine");
  assert.deepEqual(await take(ws, 1), ["fine"]);
  ws.close();
  await event(ws, "close");
});

test("before open there is a bound, and then an error; nothing is dropped in silence", () => {
  const ws = echo({ buffer: 1000 });
  for (let i = 0; i < 5; i++) ws.send("x".repeat(100));
  assert.throws(() => ws.send("x".repeat(500)), named("QuotaExceededError"));
  ws.close();
});

for (const transports of ["poll", "stream"])
  test(`${transports}: a server that takes little at once is given no more`, async () => {
    const ws = new HybridWS(`${server.url}/narrow`, { transports, json: true });
    const numbers = Array.from({ length: 100 }, (_, n) => n);
    for (const n of numbers) ws.send(n); // before it has said anything, it takes as many as usual
    assert.deepEqual(await take(ws, 100), numbers);
    for (const n of numbers) ws.send(n);
    assert.deepEqual(await take(ws, 100), numbers);
    assert.throws(() => ws.send([[[[1]]]]), TypeError);
    assert.throws(() => ws.send(numbers), TypeError);
    ws.close();
  });

test("far more than a buffer may be sent at once", async () => {
  const ws = echo({ transports: "stream" });
  await ws.ready;
  const text = "y".repeat(50_000);
  for (let i = 0; i < 60; i++) ws.send(`${i} ${text}`);
  const got = await take(ws, 60);
  assert.deepEqual(got.map((data) => parseInt(data)), Array.from(got.keys()));
  ws.close();
  await event(ws, "close");
});

for (const transports of ["stream", "poll"])
  test(`${transports}: a burst of small messages, more than a buffer of them, comes back whole and in order`, async () => {
    const ws = echo({ transports });
    await ws.ready;
    const got = [];
    const all = new Promise((resolve) => (ws.onmessage = ({ data }) => got.push(Number(data)) == 20_000 && resolve()));
    for (let i = 0; i < 20_000; i++) ws.send(String(i));
    await all;
    assert.deepEqual(got, Array.from(got.keys()));
    ws.close();
    await event(ws, "close");
  });

test("an iterator that waits slows the server down and loses nothing", async () => {
  const ws = echo({ transports: "poll" });
  await ws.ready;
  const messages = ws[Symbol.asyncIterator]();
  const first = messages.next();
  for (let i = 0; i < 50; i++) ws.send(String(i));
  assert.equal((await first).value, "0");
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (let i = 1; i < 50; i++) assert.equal((await messages.next()).value, String(i));
  ws.close();
  assert.equal((await messages.next()).done, true);
});

test("`use` changes the transport of a session that goes on", async () => {
  const ws = echo({ transports: ["stream", "poll"] });
  await ws.ready;
  const turned = (name) => new Promise((resolve) => ws.addEventListener("state", ({ transport }) => transport == name && resolve()));
  if (ws.transport != "stream") await turned("stream");
  const down = turned("poll");
  ws.use("poll");
  await down;
  ws.send("over poll");
  assert.deepEqual(await take(ws, 1), ["over poll"]);
  const up = turned("stream");
  ws.use();
  await up;
  ws.close();
  await event(ws, "close");
});

/** A proxy before the server that can be told to answer nothing but 502, or to know no session. */
async function portal(path) {
  const state = { mode: "pass" };
  const proxy = createServer(async (request, response) => {
    const body = await Array.fromAsync?.(request) ?? (await (async () => { const all = []; for await (const some of request) all.push(some); return all; })());
    if (state.mode == "gone" && !request.url.includes("/open")) {
      response.writeHead(410).end('["x",4404,"no such session"]');
      return;
    }
    if (state.mode == "portal") {
      response.writeHead(200, { "Content-Type": "text/html" }).end("<html>please log in</html>");
      return;
    }
    const answer = await fetch(server.url + request.url, { method: request.method, body: Buffer.concat(body), headers: { "Content-Type": "text/plain" } });
    response.writeHead(answer.status).end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    state,
    url: `http://127.0.0.1:${proxy.address().port}${path}`,
    stop: () => {
      proxy.closeAllConnections();
      proxy.close();
    },
  };
}

test("a portal that says 200 to everything is not believed", async () => {
  const between = await portal("/echo");
  between.state.mode = "portal";
  const ws = new HybridWS(between.url, { transports: "poll" });
  setTimeout(() => (between.state.mode = "pass"), 300);
  await ws.ready;
  ws.send("through");
  assert.deepEqual(await take(ws, 1), ["through"]);
  ws.close();
  await event(ws, "close");
  between.stop();
});

test("a lost session: reset with what was not acked, then close with 4404", async () => {
  const between = await portal("/echo");
  const ws = new HybridWS(between.url, { transports: "poll" });
  await ws.ready;
  await ws.deliver("known");
  between.state.mode = "gone";
  ws.send("lost");
  const reset = await new Promise((resolve) => ws.addEventListener("state", (turn) => turn.state == "reset" && resolve(turn)));
  assert.deepEqual(reset.unacked, ["lost"]);
  const { code, wasClean } = ws.readyState == 3 ? { code: 4404, wasClean: false } : await event(ws, "close");
  assert.deepEqual([code, wasClean], [4404, false]);
  between.stop();
});

test("a lost session with onlost `reopen`: a new one takes its place, and no close is seen", async () => {
  const between = await portal("/echo");
  const ws = new HybridWS(between.url, { transports: "poll", onlost: "reopen" });
  ws.onclose = () => assert.fail("closed");
  await ws.ready;
  between.state.mode = "gone";
  const reset = new Promise((resolve) => ws.addEventListener("state", (turn) => turn.state == "reset" && resolve(turn)));
  ws.send("lost");
  assert.deepEqual((await reset).unacked, ["lost"]);
  between.state.mode = "pass";
  ws.send("anew");
  assert.deepEqual(await take(ws, 1), ["anew"]);
  assert.equal(ws.info.resets, 1);
  ws.onclose = null;
  ws.close();
  await event(ws, "close");
  between.stop();
});

for (const transports of ["stream", "poll"])
  test(`a server that restarts, with onlost \`reopen\`, over ${transports}: a new session, and what came before is not lost`, async () => {
    const ws = new HybridWS(server.url + "/echo", { transports, onlost: "reopen" });
    ws.onclose = () => assert.fail("closed");
    const heard = (async () => {
      const words = [];
      for await (const word of ws) {
        words.push(word);
        if (words.length == 1) await new Promise((resolve) => setTimeout(resolve, 300)); // "before" comes while this one reads no further
        if (words.length == 3) return words;
      }
    })();
    ws.send("one");
    ws.send("!restart");
    const reset = await new Promise((resolve) => ws.addEventListener("state", (turn) => turn.state == "reset" && resolve(turn)));
    assert.equal(reset.reason, "the server is restarting");
    ws.send("anew");
    assert.deepEqual(await heard, ["one", "before", "anew"]);
    ws.onclose = null;
    ws.close();
    assert.equal((await event(ws, "close")).code, 1005);
  });

test("a server that restarts, without `reopen`: close with 1012", async () => {
  const ws = new HybridWS(server.url + "/echo");
  await ws.ready;
  ws.send("!restart");
  assert.equal((await event(ws, "close")).code, 1012);
});

test("an address keeps its host, whatever that begins with", () => {
  for (const [given, url] of [["http://ws.example/x", "ws://ws.example/x"], ["ws://http.example/", "ws://http.example/"], ["https://ws/", "wss://ws/"]]) {
    const ws = new HybridWS(given);
    assert.equal(ws.url, url);
    ws.close();
  }
});

/** Count the addresses that a client asks for. */
function counting(asked = []) {
  return {
    asked,
    fetch: (url, init) => {
      asked.push(url);
      return fetch(url, init);
    },
    WebSocket: class extends (globalThis.WebSocket ?? EventTarget) {
      constructor(url) {
        super(url);
        asked.push(url);
      }
      close() {}
    },
  };
}

test("open and WebSocket carry the session's route, and nothing else does", async () => {
  const { asked, ...own } = counting();
  const ws = new HybridWS(`${server.url}/echo?room=1`, own);
  await ws.ready;
  await ws.deliver("hello");
  const named = asked.map((url) => new URL(url)).map(({ pathname, searchParams }) => [pathname.split("/").at(-1), searchParams.get("room"), searchParams.get("route")]);
  const route = named[0][2];
  assert.match(route, /^[A-Za-z0-9]{1,16}$/);
  assert.deepEqual(named[0], ["open", "1", route]);
  assert.ok(named.some(([kind]) => kind == "websocket"));
  for (const [kind, room, told] of named) assert.deepEqual([room, told], ["1", ["open", "websocket"].includes(kind) ? route : null]);
  ws.close();
  await event(ws, "close");
});

test("the subprotocol is the server's choice of those asked for", async () => {
  for (const [asked, chosen] of [[["chat.v1", "chat.v2"], "chat.v2"], ["chat.v1", "chat.v1"], [[], ""]]) {
    const ws = new HybridWS(`${server.url}/spoken`, asked, { transports: "poll" });
    await ws.ready;
    assert.equal(ws.protocol, chosen);
    ws.close();
    await event(ws, "close");
  }
  const ws = new HybridWS(`${server.url}/spoken`, "chat.v9", { transports: "poll" });
  assert.equal((await event(ws, "close")).code, 4400);
  assert.equal(ws.protocol, "");
});

test("`auth` is asked again when it is refused, and before it expires", async () => {
  const shown = ["old", "ticket 1", "ticket 2"];
  const ws = new HybridWS(`${server.url}/guarded`, { transports: "stream", auth: async () => shown.shift() });
  await ws.ready;
  while (shown.length) await new Promise((resolve) => setTimeout(resolve, 50));
  ws.send("still here");
  assert.deepEqual(await take(ws, 1), ["still here"]);
  ws.close();
  await event(ws, "close");
  const stranger = new HybridWS(`${server.url}/guarded`, { auth: "none" });
  assert.equal((await event(stranger, "close")).code, 4401);
});

test("`log` hears of every turn, and so does the console with `debug`", async () => {
  const turns = [];
  const ws = echo({ transports: "poll", log: (state, reason) => turns.push([state, reason]) });
  await ws.ready;
  await ws.deliver("x");
  ws.close();
  await event(ws, "close");
  assert.deepEqual(turns.map(([state]) => state), ["connecting", "open", "transport", "closed"]);
  assert.equal(turns[2][1], "poll");
  const { debug } = console;
  const heard = [];
  console.debug = (...words) => heard.push(words);
  const told = echo({ debug: true });
  told.close();
  await event(told, "close");
  console.debug = debug;
  assert.deepEqual(heard.map(([state]) => state), ["connecting", "closed"]);
});

test("three sessions lost within a minute: the next one waits", async () => {
  const between = await portal("/echo");
  const pauses = [];
  const { setTimeout: later } = globalThis;
  globalThis.setTimeout = (work, ms, ...more) => {
    pauses.push(ms);
    return later(work, ms == 20_000 && pauses.includes("third") ? 10 : ms, ...more);
  };
  try {
    const ws = new HybridWS(between.url, { transports: "poll", onlost: "reopen" });
    await ws.ready;
    for (const lost of ["first", "second", "third"]) {
      pauses.push(lost);
      between.state.mode = "gone";
      const reset = new Promise((resolve) => ws.addEventListener("state", ({ state }) => state == "reset" && resolve()));
      ws.send(lost);
      await reset;
      between.state.mode = "pass";
      await ws.deliver("anew");
    }
    assert.deepEqual(pauses.filter((ms) => ms == 20_000 || typeof ms == "string"), ["first", "second", "third", 20_000]);
    ws.close();
    await event(ws, "close");
  } finally {
    globalThis.setTimeout = later;
    between.stop();
  }
});

test("a Blob that cannot be read ends the connection, as a WebSocket's does", async () => {
  class Lost extends Blob {
    arrayBuffer() {
      return Promise.reject(new DOMException("the file has gone", "NotReadableError"));
    }
  }
  const ws = echo({ transports: "poll" });
  await ws.ready;
  ws.send(new Lost(["abc"]));
  const { code, wasClean } = await event(ws, "close");
  assert.deepEqual([code, wasClean], [1006, false]);
});

test("SockJS's constructor and events", async () => {
  const sock = new SockJS(`${server.url}/echo`, null, { transports: ["xhr-polling"] });
  assert.throws(() => sock.send("early"), /InvalidStateError/);
  await new Promise((resolve) => (sock.onopen = resolve));
  const got = new Promise((resolve) => (sock.onmessage = resolve));
  sock.send("hello");
  assert.equal((await got).data, "hello");
  assert.equal(sock.transport, "poll");
  const closed = new Promise((resolve) => (sock.onclose = resolve));
  assert.throws(() => sock.close(1001), /InvalidAccessError/);
  sock.close();
  const { code, reason, wasClean } = await closed;
  assert.deepEqual([code, reason, wasClean], [1000, "Normal closure", true]);
});
