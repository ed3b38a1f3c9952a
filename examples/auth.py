"""Who is it? A cookie for pages of this server, a token for everything else; both end, and are renewed while connected.

    python examples/auth.py [SECONDS]          then open http://127.0.0.1:8080

A page that has the cookie needs nothing more. Other clients fetch a token with a password, and a new one, by a
function, before the old one ends, without a break in the session. SECONDS is how long a token lives.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from aiohttp import web

import hybridws
from hybridws.aiohttp import mount
from hybridws.errors import NotAuthenticated
from hybridws.options import Admission

if TYPE_CHECKING:
    from hybridws.exchange import Request

KEY = secrets.token_bytes(32)
"""Signs tokens and cookies. A real server keeps it, so that they outlive a restart."""

PASSWORDS = {"ada": "lovelace", "grace": "hopper"}
COOKIE = "session"
COOKIE_LIVES = 12 * 3600.0
"""Seconds."""
SIGNATURE = hashlib.sha256().digest_size

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Who is it?</title>
<h1>Who is it?</h1>
<form method="post" action="/login">
  <label>Name <input name="name" value="ada"></label>
  <label>Password <input name="password" type="password" value="lovelace"></label>
  <button>Log in</button>
</form>
<p id="says" role="status"></p>
<script type="module">
  import { HybridWS } from "/live/hybridws.mjs";
  const live = new HybridWS("/live");
  const says = (text) => { document.getElementById("says").textContent = text; };
  live.onopen = () => live.send("who am I?");
  live.onmessage = ({ data }) => says(data);
  live.onclose = ({ code, reason }) => says(`${code} ${reason}`);
</script>
</html>
"""


def sign(user: str, seconds: float) -> str:
    """Make a token: who it is, until when, and our signature over both."""
    body = json.dumps({"user": user, "until": time.time() + seconds}).encode()
    return urlsafe_b64encode(hmac.digest(KEY, body, "sha256") + body).decode()


def check(token: str) -> Admission:
    """Return whose token it is, and for how long. Raises NotAuthenticated."""
    try:
        raw = urlsafe_b64decode(token.encode())
        signature, body = raw[:SIGNATURE], raw[SIGNATURE:]
    except ValueError:
        raise NotAuthenticated("that is no token") from None
    if not hmac.compare_digest(signature, hmac.digest(KEY, body, "sha256")):
        raise NotAuthenticated("that token is not ours")
    told = json.loads(body)
    left = told["until"] - time.time()
    if left <= 0:
        raise NotAuthenticated("that token has ended; fetch a new one at /token")
    return Admission(told["user"], expires=left)


async def authenticate(request: Request, auth: object) -> Admission:
    """Let in whoever shows a token or has the cookie; asked at the opening, and again whenever a client renews.

    A cookie is believed because the mount lets in pages of this server's own origin alone (`origins`).
    """
    if isinstance(auth, str):
        return check(auth)
    return check(request.cookies.get(COOKIE, ""))


async def talk(session: hybridws.Session) -> None:
    """Tell the client who it is, whenever it says anything."""
    async for _ in session:
        await session.send(f"you are {session.user}")


def known(name: str, password: str) -> bool:
    """Tell whether a password is right, in a time that does not depend on how wrong it is."""
    return hmac.compare_digest(PASSWORDS.get(name, secrets.token_hex()).encode(), password.encode())


async def login(request: web.Request) -> web.Response:
    """Answer `POST /login`: give the page a cookie that no script reads and no other site sends."""
    form = await request.post()
    name = str(form.get("name", ""))
    if not known(name, str(form.get("password", ""))):
        raise web.HTTPForbidden(text="That is not the password.\n")
    answer = web.Response(status=303, headers={"Location": "/"})
    # Over HTTPS: secure=True as well.
    answer.set_cookie(COOKIE, sign(name, COOKIE_LIVES), max_age=int(COOKIE_LIVES), httponly=True, samesite="Strict")
    return answer


async def token(request: web.Request) -> web.Response:
    """Answer `POST /token`: give a client a token for its name and password."""
    form = await request.post()
    name = str(form.get("name", ""))
    if not known(name, str(form.get("password", ""))):
        raise web.HTTPForbidden(text="That is not the password.\n")
    return web.Response(text=sign(name, request.app[LIVES]))


async def page(_: web.Request) -> web.Response:
    """Answer `GET /`."""
    return web.Response(text=PAGE, content_type="text/html")


LIVES = web.AppKey("lives", float)
"""Seconds that a token lives."""


if __name__ == "__main__":
    app = web.Application()
    app[LIVES] = float(sys.argv[1]) if sys.argv[1:] else 300.0
    mount(app, "/live", talk, authenticate=authenticate)
    app.add_routes([web.get("/", page), web.post("/login", login), web.post("/token", token)])
    hybridws.run(app, port=8080)
