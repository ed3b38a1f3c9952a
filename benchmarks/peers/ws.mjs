// ws, the WebSocket server of Node: echo, and to everybody what begins with a B.
import { WebSocketServer, WebSocket } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 1024, perMessageDeflate: false });
server.on("connection", (socket) => {
  socket.on("message", (data, binary) => {
    if (data[0] !== 66) return socket.send(data, { binary });
    for (const member of server.clients) if (member.readyState === WebSocket.OPEN) member.send(data, { binary });
  });
});
