// Other people's libraries over our class instead of a WebSocket, forced to each transport: each a real exchange.

import { Client } from "@stomp/stompjs";
import { createClient } from "graphql-ws";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { firstValueFrom, take, toArray } from "rxjs";
import { webSocket } from "rxjs/webSocket";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { HybridWS } from "../dist/hybridws.mjs"; // as it is delivered
import { startServer } from "./real.mjs";

// Its build for browsers, since the one for Node wants the events of the package ws; it looks where it is when it loads.
Object.assign(globalThis, { window: globalThis, document: {}, navigator: { userAgent: "Node" } });
const { default: mqtt } = await import("mqtt/dist/mqtt.esm");
delete globalThis.window;
delete globalThis.document;

let server;
before(async () => (server = await startServer()));
after(() => server.stop());

for (const transports of ["poll", "stream", "websocket"]) {
  /** What a library would call WebSocket. */
  class Forced extends HybridWS {
    constructor(url, protocols) {
      super(url, protocols, { transports, WebSocket });
    }
  }
  const address = (path) => server.url.replace("http", "ws") + path;

  test(`graphql-ws over ${transports}`, async () => {
    const client = createClient({ url: address("/graphql"), webSocketImpl: Forced, retryAttempts: 0 });
    const counts = [];
    await new Promise((resolve, reject) =>
      client.subscribe({ query: "subscription { count }" }, { next: ({ data }) => counts.push(data.count), error: reject, complete: resolve }),
    );
    assert.deepEqual(counts, [1, 2, 3]);
    await client.dispose();
  });

  test(`rxjs webSocket over ${transports}`, async () => {
    const subject = webSocket({ url: address("/echo"), WebSocketCtor: Forced });
    const got = firstValueFrom(subject.pipe(take(3), toArray()));
    for (const value of [{ a: 1 }, "two", [3]]) subject.next(value);
    assert.deepEqual(await got, [{ a: 1 }, "two", [3]]);
    subject.complete();
  });

  test(`@stomp/stompjs over ${transports}`, async () => {
    const body = await new Promise((resolve, reject) => {
      const client = new Client({
        webSocketFactory: () => new Forced(address("/stomp"), ["v12.stomp"]),
        reconnectDelay: 0,
        onConnect: () => {
          client.subscribe("/news", (message) => client.deactivate().then(() => resolve(message.body)));
          client.publish({ destination: "/news", body: "News: ünï😀" });
        },
        onStompError: reject,
      });
      client.activate();
    });
    assert.equal(body, "News: ünï😀");
  });

  test(`mqtt.js over ${transports}`, async () => {
    const client = mqtt.connect(address("/mqtt"), {
      protocolVersion: 4,
      reconnectPeriod: 0,
      timerVariant: "native", // not in a worker made of a blob
      createWebsocket: (url, protocols) => new Forced(url, protocols),
    });
    const got = new Promise((resolve) => client.on("message", (topic, payload) => resolve([topic, payload.toString()])));
    await client.subscribeAsync("news");
    await client.publishAsync("news", "hello");
    assert.deepEqual(await got, ["news", "hello"]);
    await client.endAsync();
  });

  test(`y-websocket over ${transports}`, async () => {
    const ends = [new Y.Doc(), new Y.Doc()].map((doc) => {
      const provider = new WebsocketProvider(address("/yjs"), "doc", doc, { WebSocketPolyfill: Forced, disableBc: true });
      return { doc, provider };
    });
    await Promise.all(ends.map(({ provider }) => new Promise((resolve) => provider.on("status", ({ status }) => status == "connected" && resolve()))));
    const [one, two] = ends;
    const seen = new Promise((resolve) => two.doc.getText("t").observe(() => two.doc.getText("t").toString() == "hello" && resolve()));
    one.doc.getText("t").insert(0, "hello");
    await seen;
    for (const { provider, doc } of ends) {
      provider.destroy();
      doc.destroy(); // ends its timers
    }
  });
}
