"""Whose a session of SockJS is: its name is the client's own, so whoever else comes by it must show the same user."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hybridws.options import Admission
from tests.conformance.wire import Witness, ask, echo, until

if TYPE_CHECKING:
    from hybridws.exchange import Request
    from tests.conformance.peers import Dial, Mounting

ADA = {"Cookie": "user=ada; theme=dark"}
EMBEDDED = {"Sec-Fetch-Site": "same-origin"}
"""What a browser says of a script tag of our own page."""
OTHERS = [{"Cookie": "user=eve"}, {"Cookie": "theme=dark"}, {"Authorization": "Bearer eve"}]


async def by_cookie(request: Request, _auth: object) -> object:
    """Take a header or a cookie for the user's name."""
    return request.headers.get("Authorization", "").removeprefix("Bearer ") or request.cookies.get("user")


@pytest.mark.parametrize("other", OTHERS, ids=repr)
async def test_another_user(place: Mounting, other: dict[str, str]) -> None:
    """Who knows a session's name but is somebody else can neither read nor write there; the session is unharmed."""
    witness = Witness()
    served = await place(witness, authenticate=by_cookie)
    own = {**ADA, "Origin": served.origin}
    assert (await ask(served, "POST", "/0/secret/xhr", own, b"")).body == b"o\n"
    session = await witness.session()
    evil = {**other, **EMBEDDED, "Origin": served.origin}
    for method, path, body in (
        ("POST", "xhr", b""),
        ("POST", "xhr_streaming", b""),
        ("GET", "eventsource", None),
        ("GET", "jsonp?c=cb", None),
        ("GET", "htmlfile?c=cb", None),
        ("POST", "xhr_send", b'["evil"]'),
        ("POST", "jsonp_send", b'["evil"]'),
    ):
        reply = await ask(served, method, f"/0/secret/{path}", evil, body)
        assert reply.status in (401, 403), path
    assert (await ask(served, "POST", "/0/secret/xhr_send", own, b'["mine"]')).status == 204
    assert await witness.message() == "mine"
    await session.send("for ada")
    assert (await ask(served, "POST", "/0/secret/xhr", own, b"")).body == b'a["for ada"]\n'


async def test_the_same_user_in_a_new_cookie(place: Mounting) -> None:
    """A cookie that changes its dress is asked about once, and goes on."""
    witness = Witness()
    asked: list[str] = []

    async def count(request: Request, auth: object) -> object:
        asked.append(request.headers.get("Cookie", ""))
        return await by_cookie(request, auth)

    served = await place(witness, authenticate=count)
    headers = {"Cookie": "user=ada", "Origin": served.origin}
    assert (await ask(served, "POST", "/0/mine/xhr", headers, b"")).body == b"o\n"
    for cookie in ("user=ada", "user=ada; theme=light", "user=ada; theme=light"):
        headers["Cookie"] = cookie
        assert (await ask(served, "POST", "/0/mine/xhr_send", headers, b'["x"]')).status == 204
    assert asked == ["user=ada", "user=ada; theme=light"]


async def test_without_authentication_cookies_say_nothing(place: Mounting, dial: Dial) -> None:
    """Where nobody asks who a client is, another cookie is no other client."""
    served = await place(echo)
    peer = dial(served, "xhr-polling")
    await peer.open()
    for cookie in ("a=1", "b=2"):
        headers = {"Cookie": cookie, "Origin": served.origin}
        assert (await ask(served, "POST", f"{peer.address}/xhr_send", headers, b'["x"]')).status == 204


@pytest.mark.parametrize("transport", ["websocket", "xhr-streaming", "xhr-polling", "websocket-raw"])
async def test_expired(place: Mounting, dial: Dial, transport: str) -> None:
    """Credentials that have run out end the session with 4401; SockJS has no word to ask for fresh ones."""
    witness = Witness()

    async def briefly(_request: object, _auth: object) -> object:
        return Admission("ada", 0.4)

    served = await place(witness, authenticate=briefly, disconnect_delay=0.5)
    peer = dial(served, transport)
    await peer.open()
    await peer.listen()
    assert await peer.closed() == (4401, "the credentials have expired")
    assert (await witness.end()).closed == (4401, "the credentials have expired", "network")


@pytest.mark.parametrize("transport", ["websocket", "xhr-streaming", "eventsource", "xhr-polling", "websocket-raw"])
async def test_revoked(place: Mounting, dial: Dial, transport: str) -> None:
    """`server.revoke(user)` ends sessions of SockJS and raw WebSockets too."""

    async def ada(_request: object, _auth: object) -> object:
        return "ada"

    served = await place(echo, authenticate=ada)
    peer = dial(served, transport)
    await peer.open()
    await peer.listen()
    await until(lambda: served.server.sessions_of("ada")[0].seat)
    assert served.server.revoke("ada") == 1
    assert await peer.closed() == (4401, "the credentials were revoked")


async def test_websockets_of_one_user_at_once(place: Mounting, dial: Dial) -> None:
    """`max_sessions_per_user` holds for WebSockets too, with 429 before the handshake."""

    async def ada(_request: object, _auth: object) -> object:
        return "ada"

    served = await place(echo, authenticate=ada, max_sessions_per_user=1)
    await dial(served, "websocket").open()
    for transport in ("websocket", "websocket-raw", "xhr-polling"):
        with pytest.raises(AssertionError, match=r"429.*max_sessions_per_user"):
            await dial(served, transport).open()


async def test_reflected_files(place: Mounting) -> None:
    """An answer that repeats words of its own address is never shown as a page or a program (RFD)."""
    served = await place(echo)
    reply = await ask(served, "GET", "/0/x/jsonp?c=calc", EMBEDDED)
    assert reply.headers["Content-Disposition"] == "attachment; filename=f.txt"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/0/x/xhr.bat", "/0/x/xhr;/x.cmd", "/0/x/jsonp.bat?c=calc", "/0/x/jsonp;/x.cmd?c=calc", "/info.bat"):
        for method in ("GET", "POST"):
            reply = await ask(served, method, path, {"Origin": served.origin}, b"")
            assert reply.status == 404, path
            assert json.dumps("calc") not in reply.text
