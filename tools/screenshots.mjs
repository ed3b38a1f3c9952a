// Makes docs/img/*.png: the chat demo in Chromium and Firefox, on a desktop and a phone, light and dark.
//
//   node tools/screenshots.mjs [WORD]        only the pictures whose name holds the word, such as firefox or dark
//
// It starts the demo itself (python -m hybridws demo; PYTHON says which python, else the one of .venv) and ends it.
// Wants `npm ci` in tests/, npm itself for the pictures of the comparison, Debian's chromium and firefox-esr (CHROMIUM
// and FIREFOX name others) and, for the page's first choice of letters, Debian's fonts-inter, fonts-jetbrains-mono and
// fonts-noto-color-emoji.

import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const top = new URL("../", import.meta.url);
const puppeteer = createRequire(new URL("tests/package.json", top))("puppeteer-core");

const IMAGES = new URL("docs/img/", top);
const PATIENCE = 45_000; // ms for anything that should happen on a page
const SCREENS = {
  desktop: { width: 1280, height: 800, deviceScaleFactor: 1 },
  phone: { width: 390, height: 844, deviceScaleFactor: 2 },
};

/** Per browser how it is started in a scheme. Firefox takes the scheme as a preference: 0 is dark, 1 is light. */
const BROWSERS = {
  chromium: {
    // --no-sandbox: this also runs as root; the only page it opens is our own.
    launch: () => ({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] }),
    prepare: (page, scheme) => page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]),
  },
  firefox: {
    launch: (scheme) => ({
      browser: "firefox",
      executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
      extraPrefsFirefox: { "layout.css.prefers-color-scheme.content-override": scheme === "dark" ? 0 : 1 },
    }),
    prepare: () => undefined,
  },
};

/** One picture each: which browser, screen and transport, what is broken, and what is opened before it is taken. */
const PICTURES = [
  { browser: "chromium", screen: "desktop", fault: "antivirus", over: "poll" },
  { browser: "firefox", screen: "desktop", fault: "corporate", over: "stream", open: "frames" },
  { browser: "chromium", screen: "phone", over: "websocket" },
  { browser: "firefox", screen: "phone", over: "websocket", open: "side" },
  { browser: "chromium", screen: "phone", fault: "hotel", open: "lab" },
  { browser: "chromium", screen: "desktop", fault: "tunnel", open: "compare" },
  { browser: "firefox", screen: "phone", fault: "tunnel", open: "compare" },
];

const ROOM = "lobby";
const YOU = "Mellow Heron";
const OTHERS = { "Amber Wren": "poll", "Brisk Hare": "stream", "Hazel Swift": "websocket" };
/** What you say before you break your network. */
const WATCH_THIS = {
  antivirus: "I switch my antivirus on…",
  corporate: "I go through the proxy at work…",
  hotel: "I take the Wi-Fi of a hotel…",
  tunnel: "my train goes into a tunnel…",
};
/** Who says what; the line with `breaks` is what the picture is about. */
const TALK = [
  { who: "Amber Wren", text: "Morning! The Wi-Fi on this train blocks WebSocket, so I am here over polls." },
  { who: "Brisk Hare", text: "Hotel here. No WebSocket either, but streams get through 🙂" },
  { who: YOU, breaks: true },
  { who: "Amber Wren", text: "Did you leave?" },
  { who: YOU, text: "No. I simply went on.\nThe server is one coroutine: async for message in session" },
  { who: "Brisk Hare", text: "In the workshop they take a proxy apart. Coming?" },
];
const TYPIST = "Amber Wren";
const WATCH = 12_000; // ms for which the probe runs before a picture of the plot

async function startDemo(more) {
  const python = process.env.PYTHON ?? fileURLToPath(new URL(".venv/bin/python", top));
  const demo = spawn(python, ["-m", "hybridws", "demo", "--port", "0", ...more], {
    cwd: fileURLToPath(top),
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: demo.stdout })) {
    const address = line.match(/http:\/\/\S+/)?.[0];
    if (address) return { address, end: () => demo.kill() };
  }
  throw new Error("the demo ended without saying where it is");
}

/** Open the chat in a tab of its own, under a name, and wait until it is in its room. */
async function arrive(browser, address, { name, transport, viewport, prepare }) {
  const page = await browser.newPage();
  await prepare?.(page);
  await page.setViewport(viewport);
  // A tab's key decides its colour: the same ones each time, and no two alike.
  await page.evaluateOnNewDocument((key) => sessionStorage.setItem("hybridws-demo-key", key), name);
  await page.goto(`${new URL(`?transport=${transport}`, address)}#${ROOM}`);
  await until(page, isIn, ROOM, transport === "auto" ? "websocket" : transport);
  await page.evaluate((called) => {
    const field = document.getElementById("name");
    field.value = called;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }, name);
  return page;
}

/** Wait until something holds on a page. By a timer: a tab in the background draws no frames. */
const until = (page, holds, ...values) => page.waitForFunction(holds, { timeout: PATIENCE, polling: 50 }, ...values);

const isIn = (room, transport) =>
  document.documentElement.dataset.room === room && document.documentElement.dataset.transport === transport;

async function say(page, text) {
  await page.bringToFront(); // a page that is hidden for long asks its server only now and then
  await page.evaluate((said) => {
    document.getElementById("text").value = said;
    document.getElementById("composer").requestSubmit();
  }, text);
  await hears(page, text);
}

const hears = (page, text) =>
  until(
    page,
    (said) => [...document.querySelectorAll("#log li:not(.waiting) .said")].some((p) => p.textContent === said),
    text,
  );

async function breakIt(page, fault, over) {
  await page.evaluate((key) => document.querySelector(`[data-key=${key}]`).click(), fault);
  if (over) await until(page, isIn, ROOM, over);
}

async function takePicture(address, { browser: kind, screen, fault, over, open }, scheme, path) {
  const { launch, prepare } = BROWSERS[kind];
  const browser = await puppeteer.launch({ headless: true, ...launch(scheme) });
  try {
    const others = new Map();
    for (const [name, way] of Object.entries(OTHERS)) {
      others.set(name, await arrive(browser, address, { name, transport: way, viewport: SCREENS.desktop }));
    }
    const viewport = SCREENS[screen];
    const you = await arrive(browser, address, {
      name: YOU,
      transport: "auto",
      viewport,
      prepare: (page) => prepare(page, scheme),
    });
    for (const { who, text, breaks } of TALK) {
      const page = others.get(who) ?? you;
      if (!breaks) await say(page, text);
      else if (fault) {
        await say(page, `At my desk all of them work. Watch this: ${WATCH_THIS[fault]}`);
        await breakIt(page, fault, over);
      }
    }
    await you.bringToFront();
    if (open === "compare") {
      if (screen === "phone") await you.click(".top [popovertarget=lab]");
      await you.click("#compare-tab");
    }
    await setTimeout(WATCH);
    await others.get(TYPIST).bringToFront();
    await others.get(TYPIST).evaluate(() => {
      document.getElementById("text").value = "On my way";
      document.getElementById("text").dispatchEvent(new Event("input"));
    });
    await you.bringToFront();
    await until(you, () => document.getElementById("typing").textContent !== "");
    if (open === "frames") await you.click("#frames-tab");
    else if (open && open !== "compare") await you.click(`.top [popovertarget=${open}]`);
    await setTimeout(600);
    await you.screenshot({ path });
  } finally {
    await browser.close();
  }
}

const wanted = process.argv[2] ?? "";
await mkdir(IMAGES, { recursive: true });
for (const picture of PICTURES) {
  for (const scheme of ["light", "dark"]) {
    const name = [picture.browser, picture.screen, scheme, picture.open].filter(Boolean).join("-");
    if (!name.includes(wanted)) continue;
    const more = picture.open === "compare" ? ["--compare"] : [];
    const demo = await startDemo(more); // a fresh one each time, so that the room's history is this picture's own
    try {
      await takePicture(demo.address, picture, scheme, fileURLToPath(new URL(`${name}.png`, IMAGES)));
    } finally {
      demo.end();
    }
    console.log(`docs/img/${name}.png`);
  }
}
