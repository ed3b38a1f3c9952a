// sockjs-node: echo, and to everybody what begins with a B.
import http from "node:http";
import { createRequire } from "node:module";

const sockjs = createRequire(import.meta.url)("sockjs");
const members = new Set();
const echo = sockjs.createServer({ log: () => undefined });
echo.on("connection", (connection) => {
  members.add(connection);
  connection.on("close", () => members.delete(connection));
  connection.on("data", (message) => {
    if (message[0] === "B") for (const member of members) member.write(message);
    else connection.write(message);
  });
});
const server = http.createServer();
echo.installHandlers(server, { prefix: "/echo" });
server.listen(Number(process.argv[2]), "127.0.0.1", 1024);
