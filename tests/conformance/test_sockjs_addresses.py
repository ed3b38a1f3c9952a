"""SockJS on HTTP: its addresses, methods, versions of HTTP, and chunks (docs/sockjs.md §1)."""

from __future__ import annotations

import pytest

from hybridws import ANY_ORIGIN_WITH_CREDENTIALS
from tests.conformance.peers import HTTP, ROWS, Mounting
from tests.conformance.wire import Wire, Witness, ask, echo

ADDRESSES = {
    "": ("GET", "HEAD"),
    "/info": ("GET", "OPTIONS"),
    "/iframe.html": ("GET", "HEAD"),
    "/sockjs.min.js": ("GET", "HEAD"),
    "/websocket": ("GET",),
    "/a/b/websocket": ("GET",),
    "/a/b/xhr": ("POST", "OPTIONS"),
    "/a/b/xhr_send": ("POST", "OPTIONS"),
    "/a/b/xhr_streaming": ("POST", "OPTIONS"),
    "/a/b/eventsource": ("GET",),
    "/a/b/htmlfile": ("GET",),
    "/a/b/jsonp": ("GET",),
    "/a/b/jsonp_send": ("POST",),
}
"""Every address and its methods."""


@pytest.mark.rule("S1.1", "S2.9")
@pytest.mark.parametrize("path", ["", "/"])
async def test_greeting(path: str, place: Mounting) -> None:
    """The prefix itself greets, without a cookie even where cookies are on."""
    reply = await ask(await place(echo, jsessionid=True), "GET", path)
    assert (reply.status, reply.body) == (200, b"Welcome to SockJS!\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert "Set-Cookie" not in reply.headers


@pytest.mark.rule("S1.2")
async def test_unknown_addresses(place: Mounting) -> None:
    """What is no address of SockJS is 404 with a text, and says nothing of what was asked."""
    where = await place(echo)
    for path in (
        "/a",
        "/a.html",
        "//",
        "///",
        "/a/a",
        "/a/a/",
        "/a/a/a",
        "/a/a/xhr/a",
        "/a/a/xhr_sen",
        "/INFO",
        "/infox",
    ):
        for method in ("GET", "POST"):
            reply = await ask(where, method, path)
            assert reply.status == 404, (method, path)
            assert reply.text == "there is nothing at this address"
    assert not where.server.sessions


@pytest.mark.rule("S1.3")
async def test_names_of_sessions(place: Mounting) -> None:
    """The two names in an address may be anything without a slash or a dot, and must be something."""
    where = await place(echo)
    good = ("/a/a", "/_/_", "/1/1", "/abcdefgh_i-j%20/abcdefg_i-j%20", "/%C3%BC/%E2%82%AC", "/000/;x=1")
    for names in good:
        reply = await ask(where, "POST", f"{names}/xhr")
        assert (reply.status, reply.body) == (200, b"o\n"), names
    assert len(where.server.sessions) == len(good)
    for names in ("/", "/a", "//a", "/a/", "//", "/a./a", "/a/a.", "/./.", "/a.b/c", "///"):
        for method in ("GET", "POST"):
            assert (await ask(where, method, f"{names}/xhr")).status == 404, names
    assert len(where.server.sessions) == len(good)


@pytest.mark.rule("S1.4", "S1.5")
async def test_session_is_known_by_its_own_name(place: Mounting) -> None:
    """The first of the two names, and a slash at the end, make no other session."""
    witness = Witness()
    where = await place(witness)
    assert (await ask(where, "POST", "/one/same/xhr")).body == b"o\n"
    assert (await ask(where, "POST", "/two/same/xhr_send/", body=b'["x"]')).status == 204
    assert await witness.message() == "x"
    await (await witness.session()).send("y")
    assert (await ask(where, "POST", "/three/same/xhr/")).body == b'a["y"]\n'
    assert len(where.server.sessions) == 1
    for path in ("/", "/info/", "/iframe.html/"):
        assert (await ask(where, "GET", path)).status == 200


@pytest.mark.rule("S1.6", "S8.6")
async def test_wrong_methods(place: Mounting) -> None:
    """An address answers a method that it does not take with 405, the ones that it takes, and nothing else."""
    where = await place(echo)
    async with await Wire.to(where.origin) as wire:
        for path, methods in ADDRESSES.items():
            for method in sorted({"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} - set(methods)):
                await wire.request(method, where.at(path), body=b"")
                reply = await wire.reply()
                assert reply.status == 405, (method, path)
                assert {name.strip() for name in reply.headers["Allow"].split(",")} == set(methods)
                assert "Content-Type" not in reply.headers
                assert not reply.body
    assert not where.server.sessions


@pytest.mark.rule("S1.7")
async def test_http_1_0(place: Mounting) -> None:
    """HTTP/1.0 knows no chunks: a length says where an answer ends, or the connection does."""
    witness = Witness()
    where = await place(witness, response_limit=1)
    async with await Wire.to(where.origin) as wire:
        await wire.request("GET", where.at(""), version="1.0")
        head = await wire.head()
        assert "Transfer-Encoding" not in head.headers
        assert "Content-Length" in head.headers or head.headers["Connection"] == "close"
        assert await wire.rest() == b"Welcome to SockJS!\n"
    async with await Wire.to(where.origin) as wire:
        await wire.request("POST", where.at("/a/b/xhr_streaming"), version="1.0")
        head = await wire.head()
        assert not {"Transfer-Encoding", "Content-Length"} & set(head.headers)
        assert head.headers.get("Connection", "close") == "close"
        assert await wire.rest() == b"h" * 2048 + b"\no\n"


@pytest.mark.rule("S1.7")
async def test_http_1_0_keep_alive(place: Mounting) -> None:
    """A client of HTTP/1.0 that asks to keep its connection may use it again where the answer has a length."""
    where = await place(echo)
    async with await Wire.to(where.origin) as wire:
        for _ in range(2):
            await wire.request("GET", where.at(""), {"Connection": "keep-alive"}, version="1.0")
            head = await wire.head()
            assert head.headers["Connection"].lower() == "keep-alive"
            assert await wire.rest() == b"Welcome to SockJS!\n"


@pytest.mark.rule("S1.8", "S1.9")
@pytest.mark.parametrize("path", [row.path for row in ROWS.values() if row.prelude])
async def test_streams_are_chunked(path: str, place: Mounting) -> None:
    """A stream is chunked, prelude and each frame by itself, and its connection can be used again."""

    async def close(session: object) -> None:
        """Return at once, so that open and close are written together."""

    where = await place(close)
    row = next(row for row in ROWS.values() if row.path == path)
    async with await Wire.to(where.origin) as wire:
        await wire.request(row.method, where.at(f"/a/b/{path}"), {"Origin": where.origin})
        head = await wire.head()
        assert head.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in head.headers
        assert row.prelude
        assert row.prelude(await wire.chunk())
        assert row.unwrap(await wire.chunk()) == "o"
        assert row.unwrap(await wire.chunk()) == 'c[1000,"Normal closure"]'
        assert await wire.chunk() == b""
        await wire.request("GET", where.at("/"))
        assert (await wire.reply()).status == 200


@pytest.mark.rule("S1.8")
async def test_keep_alive(place: Mounting) -> None:
    """One connection carries polls and sends one after another."""
    witness = Witness()
    where = await place(witness)
    async with await Wire.to(where.origin) as wire:
        await wire.request("POST", where.at("/a/b/xhr"))
        reply = await wire.reply()
        assert (reply.body, reply.headers["Content-Length"]) == (b"o\n", "2")
        for _ in range(3):
            await wire.request("POST", where.at("/a/b/xhr_send"), body=b'["x"]')
            assert (await wire.reply()).status == 204
            await (await witness.session() if witness.opened.qsize() else next(iter(where.server.sessions))).send("y")
            await wire.request("POST", where.at("/a/b/xhr"))
            assert (await wire.reply()).body == b'a["y"]\n'


@pytest.mark.rule("S1.10")
async def test_post_without_length(place: Mounting) -> None:
    """A POST that says nothing of its body has none."""
    where = await place(echo)
    async with await Wire.to(where.origin) as wire:
        await wire.send(b"POST /echo/a/b/xhr HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await wire.reply()).body == b"o\n"
        await wire.send(b"POST /echo/a/b/xhr_send HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = await wire.reply()
        assert (reply.status, reply.text) == (500, "Payload expected.")


@pytest.mark.rule("S1.11")
@pytest.mark.parametrize("transport", HTTP)
async def test_foreign_query(transport: str, place: Mounting) -> None:
    """A query that only the page and its client understand changes nothing."""
    witness = Witness()
    where = await place(witness)
    row = ROWS[transport]
    query = f"{row.path}{'&' if '?' in row.path else '?'}t=1700000000000&user=%26%00&t=2"
    async with await Wire.to(where.origin) as wire:
        await wire.request(row.method, where.at(f"/a/b/{query}"), {"Origin": where.origin})
        assert (await wire.head()).status == 200
        chunk = await wire.chunk()
        assert row.unwrap(await wire.chunk() if row.prelude else chunk) == "o"
        session = await witness.session()
        assert session.http_request.query["user"] == "&\0"
    assert (await ask(where, "GET", "/info?t=17&x=y")).status == 200


@pytest.mark.rule("S1.1")
async def test_prefixes(place: Mounting) -> None:
    """A mount may be deep down, or at the root."""
    for prefix in ("/", "/deep/down", "/with-._~marks"):
        where = await place(echo, prefix=prefix, origins=ANY_ORIGIN_WITH_CREDENTIALS)
        where = where._replace(prefix=prefix.rstrip("/"))
        assert (await ask(where, "GET", "/")).body == b"Welcome to SockJS!\n"
        assert (await ask(where, "POST", "/a/b/xhr")).body == b"o\n"
