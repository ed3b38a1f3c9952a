"""What SockJS serves beside its sessions: info, the iframe page and the client's script (docs/sockjs.md §3 and §4)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from hybridws import assets
from tests.conformance.peers import NOT_CACHED
from tests.conformance.wire import ask, echo

if TYPE_CHECKING:
    from tests.conformance.peers import Mounting

PAGE = """<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="URL"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"""
"""The page, to the byte, but for the script's address."""


@pytest.mark.rule("S3.1", "S3.2", "S2.1")
async def test_info(place: Mounting) -> None:
    """Info says what the client must know before it connects."""
    reply = await ask(await place(echo), "GET", "/info")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert reply.headers["Cache-Control"] == NOT_CACHED
    info = json.loads(reply.body)
    assert info["websocket"] is True
    assert info["cookie_needed"] is False
    assert info["origins"] == ["*:*"]
    assert type(info["entropy"]) is int
    assert 0 <= info["entropy"] < 2**32


@pytest.mark.rule("S3.3")
async def test_entropy(place: Mounting) -> None:
    """Each answer brings other dice."""
    where = await place(echo)
    seen = {json.loads((await ask(where, "GET", "/info")).body)["entropy"] for _ in range(5)}
    assert len(seen) == 5


@pytest.mark.rule("S3.4", "S7.19")
async def test_info_says_what_is_off(place: Mounting) -> None:
    """A mount without WebSocket says so, and has no such address."""
    where = await place(echo, transports=["xhr-polling"], jsessionid=True)
    info = json.loads((await ask(where, "GET", "/info")).body)
    assert (info["websocket"], info["cookie_needed"]) == (False, True)
    assert (await ask(where, "GET", "/a/b/websocket")).status == 404


@pytest.mark.rule("S4.1", "S4.3", "S4.4")
@pytest.mark.parametrize(
    "path",
    [
        "/iframe.html",
        "/iframe-a.html",
        "/iframe-.html",
        "/iframe-0.1.2.html",
        "/iframe-0.1.2abc-dirty.2144.html",
        "/iframe-0.1.2.html?t=123414",
        "/iframe.html?t=qweqweq123",
    ],
)
async def test_iframe(path: str, place: Mounting) -> None:
    """The page is the prescribed one under all its names, and may be kept for a year."""
    reply = await ask(await place(echo), "GET", path)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert reply.body.decode() == PAGE.replace("URL", "/echo/sockjs.min.js")
    assert reply.headers["Cache-Control"] == "public, max-age=31536000"
    assert reply.headers["Expires"]
    assert "Last-Modified" not in reply.headers


@pytest.mark.rule("S4.2")
async def test_no_iframe(place: Mounting) -> None:
    """Near misses of the page's name are 404."""
    where = await place(echo)
    for path in ("/iframe.htm", "/iframe", "/IFRAME.HTML", "/IFRAME", "/iframe.HTML", "/iframe.xml", "/iframe-/.html"):
        assert (await ask(where, "GET", path)).status == 404, path


@pytest.mark.rule("S4.3")
@pytest.mark.parametrize("path", ["/iframe.html", "/sockjs.min.js"])
async def test_cached_pages(path: str, place: Mounting) -> None:
    """The tag stays the same, and who has the page already gets no other."""
    where = await place(echo)
    first, second = await ask(where, "GET", path), await ask(where, "GET", path)
    assert first.headers["ETag"]
    assert first.headers["ETag"] == second.headers["ETag"]
    kept = await ask(where, "GET", path, {"If-None-Match": first.headers["ETag"]})
    assert (kept.status, kept.body) == (304, b"")
    assert "Content-Type" not in kept.headers
    assert kept.headers["ETag"] == first.headers["ETag"]
    other = await ask(where, "GET", path, {"If-None-Match": '"another"'})
    assert other.status == 200


@pytest.mark.rule("S4.5")
async def test_script(place: Mounting) -> None:
    """The page's script is the client that we ship, and says its version."""
    where = await place(echo, prefix="/deep/echo")
    page = await ask(where, "GET", "/iframe.html")
    found = re.search(r'<script src="([^"]+)">', page.text)
    assert found
    assert found[1] == "/deep/echo/sockjs.min.js"
    script = await ask(where, "GET", "/sockjs.min.js")
    assert script.headers["Content-Type"] == "application/javascript; charset=UTF-8"
    assert script.body == assets.find("static/vendor/sockjs-client/sockjs.min.js").read_bytes()
    assert b'"1.6.1"' in script.body


@pytest.mark.rule("S4.5")
async def test_script_of_the_applications_own(place: Mounting) -> None:
    """`sockjs_url` is what the page loads, and can say nothing else to the browser."""
    where = await place(echo, sockjs_url='https://cdn.example/sockjs.js?a&"><script>')
    page = await ask(where, "GET", "/iframe.html")
    assert page.text.count("<script") == 2
    assert '<script src="https://cdn.example/sockjs.js?a&amp;&quot;&gt;&lt;script&gt;">' in page.text


@pytest.mark.rule("S4.6", "S7.19")
async def test_no_legacy(place: Mounting) -> None:
    """What only old browsers need is not there unless it is asked for."""
    where = await place(echo, legacy=False)
    own = {"Origin": where.origin}
    assert (await ask(where, "GET", "/iframe.html", own)).status == 404
    for path in ("/a/b/htmlfile?c=cb", "/a/b/jsonp?c=cb"):
        assert (await ask(where, "GET", path, own)).status == 404
    assert (await ask(where, "POST", "/a/b/jsonp_send", own, b"[]")).status == 404
    assert not where.server.sessions
