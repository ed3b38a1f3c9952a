// Does in Node what js_client.mjs offers: takes {client, url, plan} as JSON from standard input, prints what came of it.

import { text } from "node:stream/consumers";
import { WebSocket } from "ws";
import * as live from "./js_client.mjs";

const { client, url, plan } = JSON.parse(await text(process.stdin));
const { HybridWS } = await import(client);
console.log(JSON.stringify(await live.converse(HybridWS, url, { ...plan, extra: { WebSocket } })));
