// Does in Node what sockjs.mjs offers: takes {do, url, plan} as JSON on standard input and prints the outcome as JSON.

import SockJS from "sockjs-client";
import { text } from "node:stream/consumers";
import * as live from "./sockjs.mjs";

const { do: what, url, plan } = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(await live[what](SockJS, url, plan)));
