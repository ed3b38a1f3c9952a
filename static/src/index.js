// The entry "hybridws".
export { HybridWS, HybridWS as default, RequestFailed } from "./client.js";
// What other codecs stand on; not for applications.
export { packetOf } from "./packets.js";
export { Malformed, TooLarge, check } from "./values.js";
