// Does in Node, Deno or Bun what js_client.mjs offers: takes {client, url, plan} as JSON from standard input, prints what
// came of it.

import { text } from "node:stream/consumers";
import * as live from "./js_client.mjs";

const { client, url, plan } = JSON.parse(await text(process.stdin));
const { HybridWS } = await import(client);
const extra = globalThis.WebSocket ? {} : { WebSocket: (await import("ws")).WebSocket }; // Node 20 has none of its own
console.log(JSON.stringify(await live.converse(HybridWS, url, { ...plan, extra })));
