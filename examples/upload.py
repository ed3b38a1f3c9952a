"""Large files as binary messages, with backpressure: nobody holds more than a buffer, however slow the disk is.

    python examples/upload.py [FOLDER]         then open http://127.0.0.1:8080

The page reads a piece, `deliver`s it, and reads on when the server has it. The server takes the next piece when the
last one is on its disk; until then the client's messages wait, first in the session's buffer, then at the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from pathlib import Path
from tempfile import gettempdir

from aiohttp import web

import hybridws
from hybridws.aiohttp import mount

MOST = 2**30
"""Bytes of one file."""

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Upload</title>
<h1>Upload</h1>
<input type="file" id="file" aria-label="A file"> <progress id="progress" max="1" value="0"></progress>
<p id="says" role="status"></p>
<script type="module">
  import { HybridWS } from "/upload/hybridws.mjs";
  const PIECE = 128 * 1024;
  const $ = (id) => document.getElementById(id);
  $("file").onchange = async ({ target: { files: [file] } }) => {
    const session = new HybridWS("/upload", { json: true });
    const answer = new Promise((resolve) => { session.onmessage = ({ data }) => resolve(data); });
    session.send({ name: file.name, size: file.size });
    for (let at = 0; at < file.size; at += PIECE) {
      await session.deliver(await file.slice(at, at + PIECE).arrayBuffer());
      $("progress").value = Math.min((at + PIECE) / file.size, 1);
    }
    const { sha256, error } = await answer;
    $("says").textContent = error ?? `${file.name} is there: ${sha256}`;
    session.close();
  };
</script>
</html>
"""


class Refused(Exception):
    """The client wants what cannot be; the text says why."""


async def receive(session: hybridws.Session, folder: Path) -> None:
    """Take files, one after the other: an object with `name` and `size`, then the bytes in pieces."""
    async for message in session:
        try:
            await session.send(await take(session, message, folder))
        except Refused as error:
            await session.send({"error": str(error)})
            await session.close(4400, "not a file")


async def take(session: hybridws.Session, header: object, folder: Path) -> dict[str, object]:
    """Write one file, and return what the client is told. Raises Refused."""
    match header:
        case {"name": str(name), "size": int(size)} if 0 <= size <= MOST:
            path = folder / (re.sub(r"[^\w.-]", "_", name)[-100:].lstrip(".") or "unnamed")
        case _:
            raise Refused(f"first comes an object with name and size, of at most {MOST:,} bytes")
    digest, left = hashlib.sha256(), size
    with path.open("wb") as file:
        while left:
            piece = await anext(session)
            if not isinstance(piece, bytes) or len(piece) > left:
                raise Refused(f"{left:,} bytes of {name} are still to come, as binary messages")
            digest.update(piece)
            await asyncio.to_thread(file.write, piece)  # until it is written, nothing more is taken
            left -= len(piece)
    return {"name": path.name, "size": size, "sha256": digest.hexdigest()}


def application(folder: Path) -> web.Application:
    """Make the application: a page, and the sessions that it uploads over."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def handler(session: hybridws.Session) -> None:
        await receive(session, folder)

    app = web.Application()
    app.router.add_get("/", page)
    mount(app, "/upload", handler)
    return app


if __name__ == "__main__":
    target = Path(sys.argv[1] if sys.argv[1:] else gettempdir()).resolve()
    print(f"Files go to {target}; the page is http://127.0.0.1:8080")
    hybridws.run(application(target), port=8080)
