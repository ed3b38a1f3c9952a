// The other clients under measurement: told what to do on the command line, they print one line of JSON.
//
//   node peers.mjs server                          a Socket.IO server; prints its port
//   node peers.mjs socketio|socketio-ws|sockjs URL WAIT TURN
//
// A client sends "hello" when it is open, and prints the milliseconds from its start to the echo and to the word that
// the server pushes, and, if TURN is above 0: from the change of the network (it prints "ready" and waits for a line)
// to the next echo. It gives up after WAIT milliseconds.
import { createServer } from "node:http";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const [what, url, wait, turn] = process.argv.slice(2);

function serve() {
  const { Server } = require("socket.io");
  const http = createServer();
  new Server(http).on("connection", (socket) => {
    setTimeout(() => socket.emit("message", "pushed"), 100);
    socket.on("message", (text) => socket.emit("message", text));
  });
  http.listen(0, "127.0.0.1", () => console.log(http.address().port));
}

const { io } = what.startsWith("socketio") ? require("socket.io-client") : {}; // before the clock starts
const SockJS = what === "sockjs" && require("sockjs-client");

function socketio(options) {
  const parts = new URL(url);
  const socket = io(parts.origin, { reconnectionDelay: 1000, ...options });
  return {
    send: (text) => socket.emit("message", text),
    on: (open, message) => socket.on("connect", open).on("message", message),
    transport: () => socket.io.engine?.transport?.name,
  };
}

function sockjs() {
  const socket = new SockJS(url);
  return {
    send: (text) => socket.readyState === 1 && socket.send(text),
    on: (open, message) => {
      socket.onopen = open;
      socket.onmessage = (event) => message(event.data);
    },
    transport: () => socket.transport,
  };
}

const CLIENTS = {
  socketio: () => socketio({}),
  "socketio-ws": () => socketio({ transports: ["websocket", "polling"], tryAllTransports: true }),
  sockjs,
};

async function measure() {
  const begun = performance.now();
  const told = { echo: null, push: null, turned: null, transport: null };
  const client = CLIENTS[what]();
  let turnedAt = 0;
  const end = () => {
    told.transport = client.transport() ?? null;
    console.log(JSON.stringify(told));
    process.exit(0);
  };
  setTimeout(end, Number(wait) + Number(turn));
  client.on(
    () => client.send(turnedAt ? "turned" : "hello"),
    (text) => {
      const now = performance.now();
      if (text === "hello") told.echo ??= now - begun;
      if (text === "pushed") told.push ??= now - begun;
      if (text === "turned") {
        told.turned ??= now - turnedAt;
        end();
      }
      if (told.echo !== null && told.push !== null && !turnedAt) {
        if (!Number(turn)) end();
        setTimeout(() => console.log("ready"), 500); // by then an upgrade is over
        turnedAt = Infinity;
      }
    },
  );
  for await (const _ of createInterface({ input: process.stdin })) {
    turnedAt = performance.now();
    client.send("turned");
  }
}

if (what === "server") serve();
else await measure();
