// The page: what the visitor does, and what moves by itself.

import * as chat from "./chat.js";
import { compare } from "./compare.js";
import { $, atEnd, make } from "./dom.js";
import { redraw } from "./frames.js";
import { choose } from "./lab.js";
import { scrollDown, wireLine } from "./log.js";
import { friendly, me, rename } from "./me.js";
import "./plot.js";
import { turn } from "./probe.js";
import { onSwitch } from "./switches.js";
import { wire } from "./wire.js";

const PULSE_EVERY = 300; // ms between two pulses of one way on the strip: it shows that something passes, not how much

// ---- The composer.

const text = $("text");

text.addEventListener("input", () => {
  chat.typing(text.value.trim() !== "");
  const left = text.maxLength - text.value.length;
  $("left").textContent = left <= 200 ? String(left) : "";
});
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (said) chat.say(said);
  text.value = $("left").textContent = "";
  text.focus();
});

const pictures = (list) => [...(list ?? [])].filter(({ type }) => type.startsWith("image/"));
text.addEventListener("paste", (event) => {
  const found = pictures(event.clipboardData?.files);
  if (!found.length) return;
  event.preventDefault();
  found.forEach(chat.show);
});
$("scroll").addEventListener("dragover", (event) => event.preventDefault());
$("scroll").addEventListener("drop", (event) => {
  event.preventDefault();
  pictures(event.dataTransfer?.files).forEach(chat.show);
});
$("picture").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", ({ target }) => {
  pictures(target.files).forEach(chat.show);
  target.value = "";
});

// ---- Who and where.

$("new-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room-name").value.trim();
  $("room-name").value = "";
  if (name) chat.enter(name);
});
$("name").addEventListener("change", ({ target }) => chat.takeName(target.value));
$("dice").addEventListener("click", () => chat.takeName(friendly()));
$("me").addEventListener("submit", (event) => {
  event.preventDefault();
  $("name").blur(); // brings "change"
});
$("newer").addEventListener("click", scrollDown);
$("scroll").addEventListener("scroll", () => {
  if (atEnd($("scroll"))) $("newer").hidden = true;
});
addEventListener("hashchange", () => {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name && name !== document.documentElement.dataset.room) chat.enter(name);
});
document.addEventListener("visibilitychange", () => document.hidden || chat.seen());

// ---- The network.

$("badge").addEventListener("click", (event) => {
  if (getComputedStyle($("lab")).position === "fixed") return; // a sheet: popovertarget opens it
  event.preventDefault();
  $("transports").querySelector(":checked").focus();
});

const panels = [...document.querySelectorAll("[role=tab]")];
function openPanel(tab) {
  for (const one of panels) {
    const on = one === tab;
    one.setAttribute("aria-selected", String(on));
    one.tabIndex = on ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !on;
  }
  redraw();
  if (tab.id === "compare-tab") compare();
}
for (const [index, tab] of panels.entries()) {
  tab.addEventListener("click", () => openPanel(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = panels[(index + step + panels.length) % panels.length];
    openPanel(next);
    next.focus();
  });
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
const pulsed = { in: 0, out: 0 };
wire.on("frame", ({ way, at }) => {
  if (document.hidden || still.matches || at - pulsed[way] < PULSE_EVERY) return;
  pulsed[way] = at;
  const pulse = make("i", way);
  pulse.addEventListener("animationend", () => pulse.remove());
  $("strip").append(pulse);
});

wire.on("state", ({ state, reason }) => {
  const gone = state === "closed";
  $("notice").hidden = !gone;
  if (gone) $("notice-text").textContent = `No connection (${reason}). Your messages wait here; trying again.`;
  if (state === "open") $("notice").hidden = true;
});

onSwitch(wireLine);
setInterval(chat.drawTyping, 250);

// ---- Begin.

const asked = new URLSearchParams(location.search);
rename(me.name);
if (asked.has("rate")) {
  $("rate").value = asked.get("rate");
  turn(Number(asked.get("rate")) || 0);
}
const transport = asked.get("transport") ?? "auto";
if ($("transports").querySelector(`[value="${CSS.escape(transport)}"]`)) choose(transport);
wire.start();
