// Makes docs/img/console-*.png: the console with a crowd, in Chromium and Firefox, light and dark.
//
//   node tools/console_screenshots.mjs [SESSIONS]        1,000 unless told otherwise
//
// It starts tools/console_stage.py itself (PYTHON says which python, else the one of .venv) and ends it. Wants `npm ci`
// in tests/, Debian's chromium and firefox-esr, and, for the page's first choice of letters, its fonts-inter and
// fonts-jetbrains-mono.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const top = new URL("../", import.meta.url);
const puppeteer = createRequire(new URL("tests/package.json", top))("puppeteer-core");
const WATCH = 70_000; // ms that the page watches before its picture is taken: so that its charts show something
const LOOK = 12_000; // ms that one session is looked at
const SCREEN = { width: 1440, height: 900 };

const PICTURES = [
  { name: "console-chromium-light", kind: "chromium", scheme: "light" },
  { name: "console-firefox-dark", kind: "firefox", scheme: "dark", list: "ended" },
];

async function launch(kind, scheme) {
  if (kind === "firefox") {
    const extraPrefsFirefox = { "layout.css.prefers-color-scheme.content-override": scheme === "dark" ? 0 : 1 };
    return puppeteer.launch({ headless: true, browser: kind, executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr", extraPrefsFirefox });
  }
  return puppeteer.launch({ headless: true, executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
}

const python = process.env.PYTHON ?? fileURLToPath(new URL(".venv/bin/python", top));
const stage = spawn(python, ["tools/console_stage.py", process.argv[2] ?? "1000"], {
  cwd: fileURLToPath(top),
  env: { ...process.env, PYTHONPATH: "." },
  stdio: ["pipe", "pipe", "inherit"],
});
try {
  let address;
  for await (const line of createInterface({ input: stage.stdout })) {
    address ??= line;
    if (line === "full") break;
  }
  for (const { name, kind, scheme, list } of PICTURES) {
    const browser = await launch(kind, scheme);
    try {
      const page = await browser.newPage();
      if (kind === "chromium") await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      page.on("pageerror", (fault) => console.error(name, fault));
      page.on("console", (line) => console.error(name, line.text()));
      await page.setViewport(SCREEN);
      await page.goto(`${address}/console`);
      await sleep(WATCH);
      if (list) await page.click(`#tab-${list}`);
      else await page.click("#head th:nth-child(9) button");
      await sleep(2_000);
      await page.click("#rows tr:nth-child(5) button");
      await sleep(LOOK);
      await page.screenshot({ path: fileURLToPath(new URL(`docs/img/${name}.png`, top)) });
      console.log(`docs/img/${name}.png`);
    } finally {
      await browser.close();
    }
  }
} finally {
  stage.stdin.end();
}
