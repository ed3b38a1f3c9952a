// The network: which transport carries, what is broken, and the numbers of it all.

import { $, amount, count, make, put, wireOf } from "./dom.js";
import { probe, turn } from "./probe.js";
import { chosen } from "./switches.js";
import { wire } from "./wire.js";

const ONE_OF_THEM = new Set(["WebSocket", "Answers"]); // kinds of faults that exclude each other
const page = document.documentElement;
const faults = new Set(); // those that are on, by their keys
let preset = "";
let kinds = {}; // fault -> its kind
let hints = {}; // fault or preset -> what it does

// ---- Which transport.

for (const line of document.querySelectorAll("#transports label")) line.append(wireOf(line.firstElementChild.value));

/** Use a transport, or whichever is best ("auto"). */
export function choose(name) {
  for (const radio of $("transports").querySelectorAll("input")) radio.checked = radio.value === name;
  chosen();
  wire.use(name === "auto" ? undefined : name);
}

$("transports").addEventListener("change", ({ target }) => choose(target.value));

wire.on("state", ({ state, transport }) => {
  const shown = state === "interrupted" || state === "closed" ? null : (transport ?? wire.session?.transport ?? null);
  page.dataset.state = state === "closed" || state === "connecting" ? state : shown ? "open" : "interrupted";
  page.dataset.transport = shown ?? "";
  const words = { closed: "offline", connecting: "connecting", interrupted: "interrupted" };
  put($("badge-text"), shown ?? words[page.dataset.state] ?? "connecting");
  for (const line of [$("strip"), document.querySelector(".badge .line")]) line.dataset.kind = wireOf(shown).dataset.kind;
  for (const label of document.querySelectorAll("#transports label")) label.classList.toggle("live", label.dataset.name === shown);
});

// ---- What is broken.

async function command(words) {
  try {
    show(await wire.command(words));
  } catch (fault) {
    put($("lab-error"), `That did not work: ${fault.message}`);
    setTimeout(() => put($("lab-error"), ""), 6000);
  }
}

function pressed(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function drawFaults() {
  for (const button of $("faults").querySelectorAll("button")) pressed(button, faults.has(button.dataset.key));
  for (const button of $("presets").querySelectorAll("button")) pressed(button, preset === button.dataset.key);
  const broken = faults.size > 0 || preset !== "" || $("offline").getAttribute("aria-pressed") === "true";
  page.toggleAttribute("data-broken", broken);
  $("mend").hidden = !broken;
  put($("fault-count"), faults.size ? `${faults.size} on` : "");
  const said = [preset, ...faults].filter(Boolean).map((key) => hints[key]);
  put($("break-says"), said.length ? `${said.join(". ")}.` : "Of this tab alone. What is said goes on, over whatever is left.");
}

/** Switch one fault on or off. */
function toggle(key) {
  preset = "";
  if (!faults.delete(key)) {
    if (ONE_OF_THEM.has(kinds[key])) for (const other of faults) if (kinds[other] === kinds[key]) faults.delete(other);
    faults.add(key);
  }
  drawFaults();
  return command({ do: "faults", keys: [...faults] });
}

function choosePreset(key) {
  preset = preset === key ? "" : key;
  faults.clear();
  drawFaults();
  return command({ do: "preset", key: preset });
}

function offline(on = $("offline").getAttribute("aria-pressed") !== "true") {
  pressed($("offline"), on);
  drawFaults();
  return command({ do: "offline", on });
}

async function mend() {
  faults.clear();
  preset = "";
  if ($("offline").getAttribute("aria-pressed") === "true") await offline(false);
  drawFaults();
  await command({ do: "faults", keys: [] });
  $("presets").querySelector("button").focus();
}

/** Make a button that stays pressed. */
function switchOf({ key, label, hint }, act) {
  const button = make("button", "chip", label);
  button.type = "button";
  button.dataset.key = key;
  button.title = hint;
  pressed(button, false);
  const words = make("span", "unseen", `: ${hint}`);
  button.append(words);
  button.addEventListener("click", () => act(key));
  return button;
}

function offer({ faults: all, presets }) {
  $("presets").replaceChildren(...presets.map((one) => switchOf(one, choosePreset)));
  kinds = Object.fromEntries(all.map(({ key, kind }) => [key, kind]));
  hints = Object.fromEntries([...all, ...presets].map(({ key, hint }) => [key, hint]));
  $("faults").replaceChildren(
    ...Array.from(new Set(Object.values(kinds)), (kind) => {
      const group = make("div", "group");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", kind);
      const name = make("span", "kind", kind);
      name.setAttribute("aria-hidden", "true");
      const some = make("div", "some");
      some.append(...all.filter((one) => one.kind === kind).map((one) => switchOf(one, toggle)));
      group.append(name, some);
      return group;
    }),
  );
}

wire.on("tab", (tab) => {
  offer(tab);
  page.dataset.tab = tab.tab;
  $("breakable").hidden = !wire.breakable;
  $("unbreakable").hidden = wire.breakable;
  pressed($("offline"), false);
  const [had, chose] = [[...faults], preset];
  drawFaults();
  // The server was started again, and has forgotten what was broken.
  if (had.length) command({ do: "faults", keys: had });
  if (chose) command({ do: "preset", key: chose });
});

$("cut").addEventListener("click", () => command({ do: "cut" }));
$("freeze").addEventListener("click", () => command({ do: "freeze" }));
$("offline").addEventListener("click", () => offline());
$("mend").addEventListener("click", mend);

// ---- The numbers.

$("rate").addEventListener("change", ({ target }) => {
  turn(Number(target.value));
  command({ do: "rate", rate: Number(target.value) });
});

function show(numbers) {
  if (!numbers?.up) return;
  const { up, down, net } = numbers;
  const cells = {
    "up-sent": probe.sent,
    "down-sent": down.sent,
    "up-acked": probe.acked,
    "down-acked": down.acked,
    "up-lost": up.lost,
    "down-lost": probe.down.lost,
    "up-twice": up.twice,
    "down-twice": probe.down.twice,
    "up-late": up.late,
    "down-late": probe.down.late,
  };
  for (const [id, number] of Object.entries(cells)) {
    put($(id), count(number));
    if (/lost|twice|late/.test(id)) $(id).classList.toggle("bad", number > 0);
  }
  page.dataset.server = numbers.transport ?? "";
  put($("mode"), net ? (net.offline ? "offline" : net.mode) : "direct");
  if (!net) return;
  put($("net-bytes"), `↑ ${amount(net.up)} ↓ ${amount(net.down)}`);
  put($("net-requests"), count(net.requests));
  put($("net-cuts"), count(net.cuts));
}

wire.on("numbers", (numbers) => {
  show(numbers);
  const why = wire.session?.info.why;
  if (why) put($("why"), why.replaceAll(" ,", ","));
});
