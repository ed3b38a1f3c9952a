// Sixty cursors: draws where they are, tells where ours is, and counts what that takes.

import { HybridWS } from "/cursors/live/hybridws.mjs";
import { $, amount, duration, put } from "./dom.js";
import { makeTaps } from "./taps.js";

const WHOLE = 1000; // width and height of the field, in the numbers that travel
const TELL = 33; // ms between two places of ours
const GLIDE = 0.35; // of the way to its place that a cursor goes in a frame
const COLOURS = 12;

const canvas = $("canvas");
const pen = canvas.getContext("2d");
const shown = new Map(); // name -> {x, y, toX, toY}: where it is drawn, and where it goes
let mine = "";
let place = null; // ours, until it is told
let counted = { updates: 0, requests: 0, down: 0 };

const taps = makeTaps(({ way, kind, size }) => {
  if (way === "in") counted.down += size;
  else if (kind !== "websocket") counted.requests++;
});
const live = new HybridWS("/cursors/live", { json: true, transports: "poll", onlost: "reopen", ...taps });

live.onmessage = ({ data }) => {
  if (data.is === "you") mine = data.name;
  if (data.is === "seen") put($("trip"), duration(performance.now() - data.at));
  if (data.is !== "cursors") return;
  counted.updates++;
  const here = new Set();
  for (const [name, x, y] of data.all) {
    here.add(name);
    const one = shown.get(name);
    if (one) Object.assign(one, { toX: x, toY: y });
    else shown.set(name, { x, y, toX: x, toY: y });
  }
  for (const name of shown.keys()) if (!here.has(name)) shown.delete(name);
};
live.onstate = ({ transport }) => {
  document.documentElement.dataset.transport = transport ?? "";
  put($("over"), transport ?? "nothing, for a moment");
};
live.onclose = ({ reason }) => put($("over"), `nothing: ${reason || "the server is away"}. Load the page again.`);

$("choice").addEventListener("change", ({ target }) => live.use(target.value));

$("field").addEventListener("pointermove", ({ clientX, clientY }) => {
  const box = canvas.getBoundingClientRect();
  place = { x: Math.round(((clientX - box.left) / box.width) * WHOLE), y: Math.round(((clientY - box.top) / box.height) * WHOLE) };
  $("hint").hidden = true;
});

setInterval(() => {
  if (!place || live.readyState !== 1 || live.bufferedAmount > 2000) return; // the newest place is enough
  live.send({ ...place, at: performance.now() });
  place = null;
}, TELL);

const hue = (name) => ([...name].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % COLOURS) * (360 / COLOURS);

function arrow(x, y, name) {
  const own = name === mine;
  pen.fillStyle = own ? getComputedStyle(canvas).color : `oklch(0.66 0.13 ${hue(name)})`;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x + 4.5, y + 15);
  pen.lineTo(x + 8, y + 9);
  pen.lineTo(x + 15, y + 7);
  pen.closePath();
  pen.fill();
  if (own) pen.fillText("you", x + 16, y + 20);
}

function draw() {
  requestAnimationFrame(draw);
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `600 12px ${getComputedStyle(canvas).fontFamily}`;
  for (const [name, one] of shown) {
    one.x += (one.toX - one.x) * GLIDE;
    one.y += (one.toY - one.y) * GLIDE;
    arrow((one.x / WHOLE) * width, (one.y / WHOLE) * height, name);
  }
}

setInterval(() => {
  put($("updates"), String(counted.updates));
  put($("requests"), String(counted.requests));
  put($("down"), `${amount(counted.down)}/s`);
  document.documentElement.dataset.updates = String(counted.updates);
  document.documentElement.dataset.cursors = String(shown.size);
  counted = { updates: 0, requests: 0, down: 0 };
}, 1000);
draw();
