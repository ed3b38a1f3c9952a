// Drives one browser for the tests. Usage: node browser.mjs chromium|firefox PATH-OF-THE-BROWSER
//
// Takes one command a line as JSON on standard input and answers each with a line {id, value} or {id, error}:
//   open  tab url kind proxy a new tab or window, or another page in the one of this name; waits until it is complete. All
//                            that a new one asks for it asks from the proxy, HOST:PORT, if there is one
//   call  tab name args      call window.NAME(...args) and wait for its value (both travel as JSON text, which carries
//                            lone surrogates too)
//   until tab script         wait until the expression is true
//   fill  tab selector text  put a text into a field, instead of what is there, and press Enter
//   click tab selector
//   follow tab selector      click what leads to another page, and wait until that is complete
//   press tab keys           press these keys, one after the other, in the tab that is brought to the front
//   audit tab                have axe-core look at the page; the value is what it finds wrong, in a line each
//   offline tab on           take the network away from a tab, or give it back
//   freeze tab on            freeze a tab as the browser does with one that is long hidden, or let it go on
//   double tab as            open the page of a tab once more from there, as duplicating the tab does: with its storage
//   shut  tab                close the tab
// The first line that it prints tells the browser's version. It ends, and the browser with it, when its input ends.

import axe from "axe-core";
import puppeteer from "puppeteer-core";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";

const START = 60_000; // ms for the browser to start: a busy machine with a cold disk has taken half of it
const PATIENCE = 25_000; // ms for one command
const LOOK_EVERY = 20; // ms

const CHROMIUM_FLAGS = [
  "--headless",
  "--no-sandbox", // it does not start as root with one; it sees our own pages only
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--force-prefers-reduced-motion", // without a GPU, what moves takes more than all else together
];

// Two tabs here are two people: without these, timers of the one behind would go off once a second, and no sooner.
// (For Chromium, puppeteer sees to that by itself.)
const FIREFOX_SETTINGS = {
  "dom.min_background_timeout_value": 4,
  "dom.min_background_timeout_value_without_budget_throttling": 4,
  "dom.timeout.enable_budget_timer_throttling": false,
  "ui.prefersReducedMotion": 1, // as above
  "network.proxy.allow_hijacking_localhost": true, // a tab that is told of a proxy asks that for what is on this machine
};

const [name, executablePath] = process.argv.slice(2);
const browser = await puppeteer.launch({
  browser: name === "firefox" ? "firefox" : "chrome",
  executablePath,
  headless: true,
  args: name === "firefox" ? [] : CHROMIUM_FLAGS,
  ignoreDefaultArgs: ["--disable-back-forward-cache"], // people have it
  extraPrefsFirefox: FIREFOX_SETTINGS,
  timeout: START,
  protocolTimeout: START,
  defaultViewport: { width: 1280, height: 800 }, // a desktop: on a phone the chat hides what does not fit
});
const tabs = new Map();

const commands = {
  async open({ tab, url, kind, proxy }) {
    // Left to themselves browsers ask no proxy for what is on this machine.
    const place = proxy ? await browser.createBrowserContext({ proxyServer: proxy, proxyBypassList: ["<-loopback>"] }) : browser;
    const page = tabs.get(tab) ?? (await place.newPage({ type: kind }));
    if (proxy) page.once("close", () => place.close());
    page.setDefaultTimeout(PATIENCE);
    tabs.set(tab, page);
    await page.goto(url, { waitUntil: "load" });
  },
  async call({ tab, name, args }) {
    const work = async (name, args) => JSON.stringify(await window[name](...JSON.parse(args)));
    return JSON.parse((await tabs.get(tab).evaluate(work, name, JSON.stringify(args))) ?? "null");
  },
  async until({ tab, script }) {
    const page = tabs.get(tab);
    const end = Date.now() + PATIENCE;
    let fault = "";
    const holds = () => page.evaluate(script).catch((thrown) => void (fault = thrown.message)); // pages come and go
    while (!(await holds())) {
      if (Date.now() > end) {
        const show = () => [JSON.stringify(document.documentElement.dataset), document.body.innerText];
        const shown = await page.evaluate(show);
        throw new Error([`never true: ${script}`, fault, "in this page:", ...shown].join("\n"));
      }
      await setTimeout(LOOK_EVERY);
    }
  },
  async fill({ tab, selector, text }) {
    const page = tabs.get(tab);
    await page.bringToFront(); // keys go to the tab in front
    const field = await page.$(selector);
    await field.evaluate((element, text) => {
      element.focus();
      element.select();
      document.execCommand("insertText", false, text); // as if pasted; key by key takes Firefox 30 ms each
    }, text);
    await field.press("Enter");
  },
  async click({ tab, selector }) {
    // The element's own click: one on a place of the screen would need the tab in front and the element in sight.
    await tabs.get(tab).$eval(selector, (element) => element.click());
  },
  async follow({ tab, selector }) {
    const page = tabs.get(tab);
    const there = page.waitForNavigation({ waitUntil: "load" });
    await page.$eval(selector, (element) => void setTimeout(() => element.click())); // later: this answer leaves first
    await there;
  },
  async press({ tab, keys }) {
    const page = tabs.get(tab);
    await page.bringToFront();
    for (const key of keys) await page.keyboard.press(key);
  },
  async audit({ tab }) {
    const page = tabs.get(tab);
    await page.evaluate(axe.source); // not as a script of the page, whose policy lets in none but its own
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    return violations.flatMap(({ id, impact, help, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${impact}: ${id}: ${help}: ${target}: ${failureSummary}`),
    );
  },
  async offline({ tab, on }) {
    await tabs.get(tab).setOfflineMode(on);
  },
  async freeze({ tab, on }) {
    const page = tabs.get(tab);
    if (name === "firefox") await page.evaluate((type) => document.dispatchEvent(new Event(type)), on ? "freeze" : "resume");
    else {
      const session = await page.createCDPSession();
      await session.send("Page.setWebLifecycleState", { state: on ? "frozen" : "active" });
      await session.detach();
    }
  },
  async double({ tab, as }) {
    const page = tabs.get(tab);
    const popup = new Promise((resolve) => page.once("popup", resolve));
    await page.evaluate(() => void window.open(location.href));
    tabs.set(as, await popup);
  },
  async shut({ tab }) {
    const page = tabs.get(tab);
    tabs.delete(tab);
    await page?.close();
  },
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ id: 0, value: await browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, ...details } = JSON.parse(line);
  const patience = new AbortController();
  const late = setTimeout(2 * PATIENCE, null, { signal: patience.signal }).then(() => {
    throw new Error(`${what} took too long`);
  });
  late.catch(() => {}); // it is aborted when it is not needed
  try {
    say({ id, value: (await Promise.race([commands[what](details), late])) ?? null });
  } catch (fault) {
    say({ id, error: String(fault.stack ?? fault) });
  } finally {
    patience.abort();
  }
}
await browser.close();
