// The global script of the second entry: `SockJS`, and `HybridWS`, on which it stands.
import "./global.js";
import { SockJS } from "./sockjs.js";
Object.assign(globalThis, { SockJS });
