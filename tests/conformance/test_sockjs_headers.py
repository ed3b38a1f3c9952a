"""SockJS between caches, pages of other origins, and balancers (docs/sockjs.md §2)."""

from __future__ import annotations

import pytest

from hybridws import ANY_ORIGIN_WITH_CREDENTIALS
from tests.conformance.peers import EVERY, HTTP, NOT_CACHED, ROWS, Mounting
from tests.conformance.wire import Place, Reply, ask, echo, handshake

FOREIGN = "https://elsewhere.example"


async def ask_all(place: Place, headers: dict[str, str]) -> dict[str, Reply]:
    """Make one request to every address of a transport but the WebSockets, and return the answers."""
    assert place.server.options.response_limit == 1, "streams must end by themselves"
    opened = await ask(place, "POST", "/0/s/xhr", headers)
    assert opened.status == 200
    replies = {"xhr_send": await ask(place, "POST", "/0/s/xhr_send", headers, b'["x"]')}
    replies["jsonp_send"] = await ask(place, "POST", "/0/s/jsonp_send", headers, b'["x"]')
    for name, row in ROWS.items():
        replies[name] = await ask(place, row.method, f"/0/{name}/{row.path}", headers)
        assert replies[name].status == 200
    replies["info"] = await ask(place, "GET", "/info", headers)
    return replies


@pytest.mark.rule("S2.1", "S7.23")
async def test_not_cached(place: Mounting) -> None:
    """No answer of a session may be kept by anybody on the way, or be taken for another type than it says."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS, response_limit=1)
    for name, reply in (await ask_all(where, {})).items():
        assert reply.headers.getall("Cache-Control") == [NOT_CACHED], name
        assert not {"Expires", "Last-Modified"} & set(reply.headers), name
        assert reply.headers["X-Content-Type-Options"] == "nosniff", name


@pytest.mark.rule("S2.2", "S2.5")
@pytest.mark.parametrize("name", ["info", "xhr", "xhr_send", "xhr_streaming"])
@pytest.mark.parametrize("origin", [FOREIGN, "null"])
async def test_preflight(name: str, origin: str, place: Mounting) -> None:
    """A preflight is allowed for a year, for the methods of its address and the headers that it asks for."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS)
    path = "/info" if name == "info" else f"/a/b/{name}"
    reply = await ask(where, "OPTIONS", path, {"Origin": origin, "Access-Control-Request-Headers": "a, b, C-d"})
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Cache-Control"] == "public, max-age=31536000"
    assert reply.headers["Expires"]
    assert int(reply.headers["Access-Control-Max-Age"]) > 1_000_000
    method = "GET" if name == "info" else "POST"
    assert reply.headers["Access-Control-Allow-Methods"] == f"OPTIONS, {method}"
    assert reply.headers["Access-Control-Allow-Headers"] == "a, b, C-d"
    assert reply.headers["Access-Control-Allow-Origin"] == origin
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert not where.server.sessions


@pytest.mark.rule("S2.5")
@pytest.mark.parametrize("headers", [{}, {"Access-Control-Request-Headers": ""}])
async def test_preflight_for_no_headers(headers: dict[str, str], place: Mounting) -> None:
    """Who asks for no headers is allowed none."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS)
    reply = await ask(where, "OPTIONS", "/a/b/xhr", {"Origin": FOREIGN, **headers})
    assert "Access-Control-Allow-Headers" not in reply.headers


@pytest.mark.rule("S2.3", "S2.6", "S2.7")
@pytest.mark.parametrize("origin", [FOREIGN, "null"])
async def test_any_origin_with_credentials(origin: str, place: Mounting) -> None:
    """Where every origin may connect as its visitor, each gets itself back, but where scripts do not read anyway."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS, response_limit=1)
    for name, reply in (await ask_all(where, {"Origin": origin})).items():
        if name in ("jsonp-polling", "jsonp_send", "htmlfile"):
            assert not [header for header in reply.headers if header.startswith("Access-Control")], name
        else:
            assert reply.headers.getall("Access-Control-Allow-Origin") == [origin], name
            assert reply.headers.getall("Access-Control-Allow-Credentials") == ["true"], name
            assert "Origin" in reply.headers["Vary"], name


@pytest.mark.rule("S2.4", "S2.6")
async def test_no_origin(place: Mounting) -> None:
    """Without an origin the answer is for anybody, and for nobody in particular."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS, response_limit=1)
    for name, reply in (await ask_all(where, {})).items():
        if name not in ("jsonp-polling", "jsonp_send", "htmlfile"):
            assert reply.headers.getall("Access-Control-Allow-Origin") == ["*"], name
            assert "Origin" in reply.headers["Vary"], name
        assert "Access-Control-Allow-Credentials" not in reply.headers, name


@pytest.mark.rule("S2.7", "S2.9")
async def test_iframe_has_neither_cors_nor_cookie(place: Mounting) -> None:
    """The iframe page is for frames, not for scripts of other pages, and sets no cookie."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS, jsessionid=True)
    reply = await ask(where, "GET", "/iframe.html", {"Origin": FOREIGN})
    assert reply.status == 200
    assert not [header for header in reply.headers if header.startswith("Access-Control")]
    assert "Set-Cookie" not in reply.headers


@pytest.mark.rule("S2.3", "S2.11")
async def test_listed_origins(place: Mounting) -> None:
    """With a list, its origins and one's own are told that they may read; nobody else is."""
    where = await place(echo, origins=[FOREIGN])
    for origin in (FOREIGN, where.origin):
        reply = await ask(where, "GET", "/info", {"Origin": origin})
        assert reply.headers["Access-Control-Allow-Origin"] == origin
        assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    for origin in ("null", "http://elsewhere.example", f"{FOREIGN}.evil.example", f"{FOREIGN}:444", f"{FOREIGN}/"):
        reply = await ask(where, "GET", "/info", {"Origin": origin})
        assert reply.status == 403, origin
        assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.rule("S2.12")
async def test_any_origin_without_credentials(place: Mounting) -> None:
    """With `*`, every page may read, but never as its visitor."""
    where = await place(echo, origins="*", response_limit=1)
    for name, reply in (await ask_all(where, {"Origin": FOREIGN})).items():
        if name not in ("jsonp-polling", "jsonp_send", "htmlfile"):
            assert reply.headers.getall("Access-Control-Allow-Origin") == ["*"], name
        assert "Access-Control-Allow-Credentials" not in reply.headers, name


@pytest.mark.rule("S2.11", "S2.6", "S8.6")
@pytest.mark.parametrize("transport", EVERY)
async def test_foreign_origin(transport: str, place: Mounting) -> None:
    """By default a page of another origin gets 403 over every transport, in words, and no session is made."""
    where = await place(echo)
    if transport in HTTP:
        row = ROWS[transport]
        reply = await ask(where, row.method, f"/a/b/{row.path}", {"Origin": FOREIGN})
    else:
        path = "/a/b/websocket" if transport == "websocket" else "/websocket"
        reply = await ask(where, "GET", path, {**handshake(), "Origin": FOREIGN})
    assert reply.status == 403
    assert reply.text == f"Origin '{FOREIGN}' may not connect here"
    assert "Access-Control-Allow-Origin" not in reply.headers
    if transport not in ("htmlfile", "jsonp-polling", "websocket", "websocket-raw"):
        assert "Origin" in reply.headers["Vary"]
    assert not where.server.sessions


@pytest.mark.rule("S2.11", "S6.13")
async def test_foreign_origin_may_not_join(place: Mounting) -> None:
    """Who may connect may still not enter a session that a page of another origin has opened."""
    where = await place(echo, origins=[FOREIGN])
    assert (await ask(where, "POST", "/a/b/xhr", {"Origin": where.origin})).body == b"o\n"
    for path in ("xhr", "xhr_send"):
        reply = await ask(where, "POST", f"/a/b/{path}", {"Origin": FOREIGN}, b'["x"]')
        assert (reply.status, reply.text) == (403, f"this session belongs to pages of {where.origin}")


@pytest.mark.rule("S2.8")
@pytest.mark.parametrize(("sent", "expected"), [(None, "dummy"), ("abcdef", "abcdef"), ('"a b"', "dummy")])
async def test_cookie(sent: str | None, expected: str, place: Mounting) -> None:
    """Every transport sets the cookie to what came, or to something; what is no plain word is not repeated."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS, response_limit=1, jsessionid=True)
    replies = await ask_all(where, {"Cookie": f"other=1; JSESSIONID={sent}"} if sent else {})
    assert "Set-Cookie" not in replies.pop("info").headers
    for name, reply in replies.items():
        assert reply.headers.getall("Set-Cookie") == [f"JSESSIONID={expected}; path=/"], name


@pytest.mark.rule("S2.8")
async def test_cookie_of_the_applications_own(place: Mounting) -> None:
    """A function gives the cookie its value, from the request."""
    where = await place(echo, jsessionid=lambda request: request.headers["X-Node"])
    reply = await ask(where, "POST", "/a/b/xhr", {"X-Node": "seven"})
    assert reply.headers["Set-Cookie"] == "JSESSIONID=seven; path=/"


@pytest.mark.rule("S2.9")
async def test_no_cookie(place: Mounting) -> None:
    """Without the option there are no cookies, whatever comes."""
    where = await place(echo, origins=ANY_ORIGIN_WITH_CREDENTIALS, response_limit=1)
    for name, reply in (await ask_all(where, {"Cookie": "JSESSIONID=x"})).items():
        assert "Set-Cookie" not in reply.headers, name


@pytest.mark.rule("S2.10")
async def test_cookie_behind_https(place: Mounting) -> None:
    """Behind https the cookie can come back to a page of another site."""
    where = await place(echo, jsessionid=True, public_url="https://chat.example")
    reply = await ask(where, "POST", "/a/b/xhr", {"Origin": "https://chat.example"})
    assert reply.headers["Set-Cookie"] == "JSESSIONID=dummy; path=/; Secure; SameSite=None"


@pytest.mark.rule("S9.10", "S2.1")
async def test_streams_are_not_held_back(place: Mounting) -> None:
    """Every stream, and nothing else, asks proxies to pass it on as it comes."""
    where = await place(echo, response_limit=1, origins=ANY_ORIGIN_WITH_CREDENTIALS)
    for name, reply in (await ask_all(where, {})).items():
        expected = "no" if name in ("xhr-streaming", "eventsource", "htmlfile") else None
        assert reply.headers.get("X-Accel-Buffering") == expected, name
