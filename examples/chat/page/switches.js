// Notices each change of transport, how long it took, and that nothing was lost by it.

import { count, duration } from "./dom.js";
import { probe } from "./probe.js";
import { wire } from "./wire.js";

/** Changes so far, for the plot: {at, from, to, ms}. @type {any[]} */
export const switches = [];
const KEPT = 200;

let from = null; // what carried last
let cause = 0; // when it broke, or somebody chose another (ms of performance.now); 0: the client found a better one
let broke = false;
/** @type {((text: string, over: string) => void)[]} */
const listeners = [];

/** Hear of each change in a line. @param {(text: string, over: string) => void} act */
export const onSwitch = (act) => listeners.push(act);

/** Somebody chooses a transport now. */
export function chosen() {
  cause = performance.now();
  broke = false;
}

const tell = (text, over) => {
  for (const act of listeners) act(text, over);
};

function carried(to) {
  const now = performance.now();
  const attempt = wire.session?.info.attempts.findLast(({ transport }) => transport === to);
  const ms = cause ? now - cause : (attempt?.took ?? 0);
  if (from !== null && (from !== to || broke)) {
    const server = probe.server?.up ?? { lost: 0, twice: 0 };
    const lost = probe.down.lost + server.lost;
    const twice = probe.down.twice + server.twice;
    const what = from === to ? `${to} again` : `${from} → ${to}`;
    tell(`${what} in ${duration(ms)} · ${lost} lost · ${twice} twice · message ${count(probe.down.highest)}`, to);
    switches.push({ at: now, from, to, ms });
    if (switches.length > KEPT) switches.shift();
  }
  from = to;
  cause = 0;
  broke = false;
}

wire.on("state", ({ state, reason, transport, unacked }) => {
  if (state === "transport" || state === "resumed") carried(transport);
  if (state === "interrupted") {
    cause ||= performance.now();
    broke = true;
  }
  if (state === "reset") tell(`The session is lost: ${reason}. ${count(unacked.length)} not acknowledged, and known.`, "");
  if (state === "closed") from = null;
});
