// Talks STOMP with @stomp/stompjs: takes {url, transport, body} as JSON on standard input, prints what it met as JSON.
// `transport` is one of sockjs-client's, or null for a WebSocket without SockJS.

import { Client } from "@stomp/stompjs";
import SockJS from "sockjs-client";
import { text } from "node:stream/consumers";
import { WebSocket } from "ws";

globalThis.WebSocket = WebSocket; // Node has one of its own from version 22 only

const { url, transport, body } = JSON.parse(await text(process.stdin));
const story = { transport: null, protocol: null, version: null, messages: [], errors: [], receipt: null };
const address = transport
  ? { webSocketFactory: () => new SockJS(url, null, { transports: [transport] }) }
  : { brokerURL: url };

await new Promise((resolve) => {
  const client = new Client({
    ...address,
    reconnectDelay: 0,
    onConnect: (frame) => {
      story.version = client.connectedVersion;
      story.transport = client.webSocket.transport ?? null;
      story.protocol = client.webSocket.protocol ?? null;
      story.server = frame.headers.server;
      client.subscribe("/topic/news", (message) => {
        story.messages.push([message.headers.destination, message.body]);
        if (message.body === "last") client.deactivate();
      });
      client.publish({ destination: "/topic/other", body: "for nobody" });
      client.publish({ destination: "/topic/news", body });
      client.publish({ destination: "/topic/news", body: "last" });
    },
    onDisconnect: (frame) => {
      story.receipt = frame.command; // the answer to DISCONNECT
    },
    onStompError: (frame) => story.errors.push(frame.headers.message),
    onWebSocketError: (event) => story.errors.push(String(event.message ?? event)),
    onWebSocketClose: (event) => {
      story.closed = [event.code, event.reason];
      resolve();
    },
  });
  client.activate();
});
console.log(JSON.stringify(story));
