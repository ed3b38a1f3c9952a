// The servers of Socket.IO and SockJS, for the demo's comparison. Usage: node peers.mjs FOLDER-OF-NODE_MODULES
//
// Both say what ours.py says over hybridws: see there. All options are the libraries' defaults, but for two that every
// page of another port needs: Socket.IO lets it in (cors), and SockJS's iframes find their script here (sockjs_url).
// Prints the ports as one line of JSON. Ends with its input, so that it never outlives the demo.

import { readFile } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const EVERY = 50; // ms between two numbers, either way
const MAX_PAGES = 200; // pages whose numbers are known

const folder = process.argv[2];
const require = createRequire(join(folder, "peers.mjs"));

// Node 18 takes a .js file for a module only if a package.json says so, and the page's folder has none.
const tally = await readFile(new URL("../page/tally.js", import.meta.url), "utf8");
const { Tally } = await import(`data:text/javascript,${encodeURIComponent(tally)}`);

/** The pages of one library, by their keys. */
class Pages {
  #pages = new Map();

  get(key) {
    const page = this.#pages.get(key) ?? { up: new Tally(), sent: 0, newest: null };
    this.#pages.delete(key); // the newest stand last
    this.#pages.set(key, page);
    if (this.#pages.size > MAX_PAGES) this.#pages.delete(this.#pages.keys().next().value);
    return page;
  }

  /**
   * Serve one connection: returns what is to be called with each message, and what at its end.
   * @param {(value: object) => boolean} say says a value; tells whether the library has taken it
   */
  serve(say) {
    let page = null;
    let timer = 0;
    const tell = () => {
      if (page.newest !== say) return clearInterval(timer);
      const { came, lost, twice, late } = page.up;
      if (say({ n: page.sent + 1, up: { came, lost, twice, late } })) page.sent++;
    };
    const hear = (message) => {
      const { key, n } = message ?? {};
      if (!(Number.isSafeInteger(n) && n > 0)) return; // no page of ours says that
      if (!page) {
        page = this.get(String(key));
        page.newest = say;
        timer = setInterval(tell, EVERY);
      }
      page.up.take(n);
    };
    return { hear, end: () => clearInterval(timer) };
  }
}

function socketio() {
  const { Server } = require("socket.io");
  const pages = new Pages();
  const server = http.createServer();
  new Server(server, { cors: { origin: true } }).on("connection", (socket) => {
    const { hear, end } = pages.serve((value) => socket.connected && socket.emit("message", value));
    socket.on("message", hear);
    socket.on("disconnect", end);
  });
  return server;
}

function sockjs() {
  const script = join(folder, "node_modules/sockjs-client/dist/sockjs.min.js");
  const pages = new Pages();
  const server = http.createServer(async (_, response) => {
    response.setHeader("Content-Type", "text/javascript").end(await readFile(script)); // all else is SockJS's own
  });
  const { createServer } = require("sockjs");
  const sessions = createServer({ sockjs_url: "/sockjs.min.js", log: () => undefined });
  sessions.on("connection", (connection) => {
    const { hear, end } = pages.serve((value) => connection.write(JSON.stringify(value)));
    connection.on("data", (text) => hear(parsed(text)));
    connection.on("close", end);
  });
  sessions.installHandlers(server, { prefix: "/sockjs" });
  return server;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const listen = (server) =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));

process.on("SIGINT", () => {}); // Ctrl-C is for the demo, which then ends our input
process.stdin.on("end", () => process.exit(0)).resume();
console.log(JSON.stringify({ socketio: await listen(socketio()), sockjs: await listen(sockjs()) }));
