// The global script: `HybridWS`, and `HybridWS.RequestFailed`.
import { HybridWS, RequestFailed } from "./client.js";
Object.assign(globalThis, { HybridWS: Object.assign(HybridWS, { RequestFailed }) });
