// How a user would write it; tsc checks it, nobody runs it.

import type * as Public from "../src/hybridws.js";
import { HybridWS as Real } from "../src/client.js";
import { HybridWS, RequestFailed } from "../src/hybridws.js";
import { SockJS } from "../src/sockjs.js";

// The class keeps to its declaration, and is a WebSocket to whoever wants one.
declare const real: Real;
const kept: Pick<Public.HybridWS, "send" | "close" | "deliver" | "request" | "use" | "readyState" | "url" | "protocol" | "bufferedAmount" | "unacked"> = real;
const socket: WebSocket = new HybridWS("wss://example.com/chat", "chat.v1") as WebSocket;

const ws = new HybridWS("/chat", { transports: "poll", json: true, auth: async () => "token", onlost: "reopen" });
ws.onmessage = ({ data }) => console.log(data);
ws.addEventListener("close", ({ code, reason, wasClean }) => console.log(code + 1, reason.length, wasClean));
ws.addEventListener("state", ({ state, transport }) => state == "open" && transport == "poll");
// @ts-expect-error there is no such transport
new HybridWS("/chat", { transports: "pigeon" });

export async function main(): Promise<void> {
  await ws.ready;
  ws.send(new Uint8Array(3));
  await ws.deliver({ any: "value" });
  try {
    const answer: unknown = await ws.request({ question: 1 }, { timeout: 1000, signal: AbortSignal.timeout(500) });
    console.log(answer);
  } catch (fault) {
    if (fault instanceof RequestFailed) console.log(fault.code);
  }
  for await (const message of ws) console.log(message);
  ws.use("websocket");
  console.log(ws.info.why, ws.info.attempts[0]?.failure?.length, ws.transport);
  ws.close(1000, "bye");
}

const sock = new SockJS("/echo", null, { transports: ["xhr-polling"] });
sock.onmessage = (event) => console.log(event.data);
export { kept, socket };
