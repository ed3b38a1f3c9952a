// Socket.IO (Engine.IO 4): echo, and to everybody what begins with a B.
import http from "node:http";
import { Server } from "socket.io";

const server = http.createServer();
const io = new Server(server, { perMessageDeflate: false, httpCompression: false, serveClient: false });
io.on("connection", (socket) => {
  socket.on("m", (message) => (message[0] === "B" ? io : socket).emit("m", message));
});
server.listen(Number(process.argv[2]), "127.0.0.1", 1024);
