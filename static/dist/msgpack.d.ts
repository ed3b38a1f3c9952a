import type { Codec } from "./hybridws.js";

/** For the option `codec`: packets in msgpack, for much binary data. */
export const msgpack: Codec;
