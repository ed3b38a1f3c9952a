// The plot: each message's round trip and delivery delay in the last minute, by transport, with a mark at each switch.

import { $, duration, put } from "./dom.js";
import { probe } from "./probe.js";
import { switches } from "./switches.js";

const SPAN = 60_000; // ms from its left edge to now
const [LEAST, MOST] = [0.5, 20_000]; // ms at its foot and head, on a logarithmic scale
const LINES = { 1: "1 ms", 10: "10 ms", 100: "100 ms", 1000: "1 s", 10_000: "10 s" };
const LEFT = 48; // px for the words at its left
const FOOT = 4;
const EVERY = 250; // ms between two drawings
const OVER = ["websocket", "stream", "poll"];

const canvas = $("plot");
const pen = canvas.getContext("2d");
let colours = {};

/** Read the colours of the page's scheme. */
function mix() {
  const style = getComputedStyle(canvas);
  for (const name of [...OVER, "line", "soft", "ink"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
  // light-dark() is resolved only where a property is used
  const probeBox = $("swatch");
  for (const name of Object.keys(colours)) {
    probeBox.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probeBox).color;
  }
}

function draw() {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || document.hidden) return;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const now = performance.now();
  const x = (at) => width - ((now - at) / SPAN) * (width - LEFT);
  const y = (ms) => {
    const part = Math.log(Math.min(Math.max(ms, LEAST), MOST) / LEAST) / Math.log(MOST / LEAST);
    return (height - FOOT) * (1 - part) + FOOT / 2;
  };
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const [ms, label] of Object.entries(LINES)) {
    pen.fillStyle = colours.line;
    pen.fillRect(LEFT, Math.round(y(ms)), width - LEFT, 1);
    pen.fillStyle = colours.soft;
    pen.fillText(label, LEFT - 6, y(ms));
  }
  for (const { at, to } of switches) {
    if (now - at > SPAN) continue;
    pen.fillStyle = colours[to] ?? colours.soft;
    pen.globalAlpha = 0.55;
    pen.fillRect(Math.round(x(at)), 0, 1, height);
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.moveTo(x(at) - 3.5, 0);
    pen.lineTo(x(at) + 4.5, 0);
    pen.lineTo(x(at) + 0.5, 6);
    pen.fill();
  }
  for (const { at, ms, trip, over } of probe.samples) {
    if (now - at > SPAN) continue;
    pen.fillStyle = colours[over] ?? colours.soft;
    pen.globalAlpha = trip ? 0.9 : 0.35;
    const size = trip ? 2.5 : 2;
    pen.fillRect(x(at) - size / 2, y(ms) - size / 2, size, size);
  }
  pen.globalAlpha = 1;
}

/** Say in words what is drawn. */
function summary() {
  const now = performance.now();
  const trips = probe.samples.filter(({ at, trip }) => trip && now - at < SPAN).map(({ ms }) => ms);
  if (!trips.length) return put($("plot-says"), "Nothing has come back yet.");
  trips.sort((a, b) => a - b);
  const text = `Round trips of the last minute: median ${duration(trips[trips.length >> 1])}, longest ${duration(trips.at(-1))}`;
  put($("plot-says"), text);
}

mix();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", mix);
setInterval(draw, EVERY);
setInterval(summary, 1000);
