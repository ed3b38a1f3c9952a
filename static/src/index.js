// The entry "hybridws".
export { HybridWS, HybridWS as default, RequestFailed } from "./client.js";
