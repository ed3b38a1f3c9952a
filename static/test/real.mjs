// Starts the Python server of server.py for a test file, and ends it with it.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { existsSync } from "node:fs";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Return the server's address, and what ends it. */
export async function startServer() {
  const own = `${ROOT}.venv/bin/python`;
  const python = process.env.PYTHON || (existsSync(own) ? own : "python3");
  const server = spawn(python, [`${ROOT}static/test/server.py`], { cwd: ROOT, env: { ...process.env, PYTHONPATH: ROOT }, stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => server.once("exit", resolve));
  for await (const url of createInterface({ input: server.stdout })) {
    return {
      url,
      stop: () => {
        server.stdin.end();
        return ended;
      },
    };
  }
  throw new Error("the server did not start");
}
