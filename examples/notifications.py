"""Push from an ordinary view: whoever POSTs tells everybody, or one user, who is connected at that moment.

python examples/notifications.py           then open http://127.0.0.1:8080/?user=ada, and:
curl http://127.0.0.1:8080/notify -d user=ada -d text=hello
"""

from __future__ import annotations

from aiohttp import web

import hybridws
from hybridws.aiohttp import SERVERS, mount

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Notifications</title>
<h1>Notifications</h1>
<ul id="list" role="log" aria-label="Notifications"></ul>
<script type="module">
  import { HybridWS } from "/live/hybridws.mjs";
  const user = new URLSearchParams(location.search).get("user") ?? "nobody";
  const live = new HybridWS("/live", { json: true, auth: user });
  live.onmessage = ({ data }) => {
    const row = document.createElement("li");
    row.textContent = data.text;
    document.getElementById("list").append(row);
  };
</script>
</html>
"""


async def who(_request: object, auth: object) -> object:
    """Believe what the client says. examples/auth.py asks for more."""
    return auth if isinstance(auth, str) and auth else None


async def listen(session: hybridws.Session) -> None:
    """Wait until the client leaves: all that it is sent comes from elsewhere."""
    await session.wait_closed()


async def notify(request: web.Request) -> web.Response:
    """Answer `POST /notify`: pass a text on, and tell how many it reached."""
    form = await request.post()
    text, user = str(form.get("text", "")), str(form.get("user", ""))
    if not text:
        raise web.HTTPBadRequest(text="A notification needs a text: -d text=hello\n")
    live = request.app[SERVERS]["/live"]
    news = {"text": text}
    reached = live.send_to(user, news, slow="drop_oldest") if user else live.broadcast(news, slow="drop_oldest")
    return web.Response(text=f"{reached}\n")


async def page(_: web.Request) -> web.Response:
    """Answer `GET /`."""
    return web.Response(text=PAGE, content_type="text/html")


if __name__ == "__main__":
    app = web.Application()
    mount(app, "/live", listen, authenticate=who)
    app.add_routes([web.get("/", page), web.post("/notify", notify)])
    hybridws.run(app, port=8080)
