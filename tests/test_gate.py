"""Who may come in: exact origins, through trusted proxies only, in words that say what to change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession, WSServerHandshakeError, web

from hybridws import ANY_ORIGIN, ANY_ORIGIN_WITH_CREDENTIALS, Options
from hybridws.aiohttp import mount
from hybridws.errors import Forbidden
from hybridws.gate import Gate, Risk, new_id, origin_of
from tests.memory import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from hybridws import Server, Session
    from hybridws.exchange import Request

OWN = {"Host": "example.org"}
"""What every request to our example brings."""


def admitted(gate: Gate, request: Request, risk: Risk = Risk.WRITES) -> bool:
    """Tell whether a request is let in."""
    try:
        gate.admit(request, risk)
    except Forbidden:
        return False
    return True


def gate_for(*origins: str, public_url: str | None = None, proxies: Sequence[str] = ()) -> Gate:
    """Make a gate that lets these origins in besides its own."""
    return Gate(Options(origins=origins or None, public_url=public_url, trusted_proxies=proxies))


# ── origins ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.org", "https://example.org"),
        ("https://example.org/", "https://example.org"),
        ("https://EXAMPLE.org/a/b?c#d", "https://example.org"),
        ("HTTPS://example.org:443", "https://example.org"),
        ("http://example.org:80/", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("https://example.org:8443", "https://example.org:8443"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
        ("https://user:pass@example.org", "https://example.org"),
        ("https://example.org.", "https://example.org."),
        ("", None),
        ("null", None),
        ("example.org", None),
        ("//example.org", None),
        ("ftp://example.org", None),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)", None),
        ("https://", None),
        ("https://:443", None),
        ("https://example.org:0x50", None),
        ("https://example.org:99999", None),
        ("http://[::1", None),
    ],
)
def test_an_origin_has_one_form(url: str, origin: str | None) -> None:
    """Scheme, host and a port that is not the scheme's own (RFC 6454 §4); what has none is None."""
    assert origin_of(url) == origin


ALLOWED = ["https://good.example", "https://good.example:8443", "http://xn--bcher-kva.example", "http://[::1]:3000"]

IMPOSTORS = [
    "https://good.example.evil.com",
    "https://evil-good.example",
    "https://evil.com/https://good.example",
    "https://good.example@evil.com",
    "https://evil.com#good.example",
    "https://sub.good.example",
    "https://good.exampl",
    "https://good.example.",
    "http://good.example",
    "https://good.example:444",
    "https://good.example:443",
    "https://good.example:",
    "https://good.example/",
    "https://GOOD.example",
    "HTTPS://good.example",
    " https://good.example",
    "https://good.example https://evil.com",
    "https://good.example,https://evil.com",
    "https://gооd.example",  # noqa: RUF001 - two Cyrillic letters, as in an IDN homograph
    "http://bücher.example",
    "http://xn--bcher-kva.evil.example",
    "http://[::1]",
    "http://[0:0:0:0:0:0:0:1]:3000",
    "null",
    "",
    "*",
    "file://",
    "chrome-extension://good.example",
]


@pytest.mark.parametrize("origin", ALLOWED)
@pytest.mark.parametrize("risk", Risk)
def test_a_listed_origin_comes_in(origin: str, risk: Risk) -> None:
    """On every kind of request, and the browser is told that its page may read the answer."""
    headers = gate_for(*ALLOWED).admit(asked(headers={**OWN, "Origin": origin}), risk)
    assert headers == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


@pytest.mark.parametrize("origin", IMPOSTORS)
@pytest.mark.parametrize("risk", Risk)
def test_an_origin_that_only_looks_alike_does_not(origin: str, risk: Risk) -> None:
    """The match is exact: no suffix, prefix, case, port, dot, list or alphabet passes for another."""
    for cookie in ({}, {"Cookie": "sid=1"}):
        request = asked(headers={**OWN, "Origin": origin, "Sec-Fetch-Site": "same-origin", **cookie})
        assert not admitted(gate_for(*ALLOWED), request, risk)


def test_the_default_is_the_same_origin() -> None:
    """Scheme, host and port of the request itself; a port that is the scheme's own need not be said."""
    gate = gate_for()
    for host, scheme, origin in (
        ("example.org", "http", "http://example.org"),
        ("example.org:80", "http", "http://example.org"),
        ("EXAMPLE.org", "https", "https://example.org"),
        ("example.org:8080", "http", "http://example.org:8080"),
        ("[::1]:8080", "http", "http://[::1]:8080"),
        ("example.org.", "http", "http://example.org."),
    ):
        assert admitted(gate, asked(headers={"Host": host, "Origin": origin}, scheme=scheme))
    for host, scheme, origin in (
        ("example.org", "http", "https://example.org"),
        ("example.org", "https", "http://example.org"),
        ("example.org", "http", "http://example.org:8080"),
        ("example.org:8080", "http", "http://example.org"),
        ("example.org.", "http", "http://example.org"),
        ("sub.example.org", "http", "http://example.org"),
        ("example.org", "http", "null"),
        ("", "http", "http://example.org"),
        ("", "http", ""),
        ("[::1", "http", "http://[::1"),
    ):
        assert not admitted(gate, asked(headers={"Host": host, "Origin": origin}, scheme=scheme))


def test_a_list_adds_to_the_own_origin() -> None:
    """Nobody must list the server's own pages, and an empty list adds nothing."""
    own = asked(headers={**OWN, "Origin": "http://example.org"})
    assert admitted(gate_for("https://other.example"), own)
    assert admitted(Gate(Options(origins=[])), own)
    assert not admitted(Gate(Options(origins=[])), asked(headers={**OWN, "Origin": "https://other.example"}))


@pytest.mark.parametrize(
    "text",
    [
        "good.example",
        "null",
        "*",
        "",
        "https://good.example/path",
        "https://",
        "ftp://good.example",
        "https://good.example:99999",
        "https://*.good.example",
        "https://bücher.example",
        "https://user@good.example",
        "https://good.example?x=1",
        "https://good.example#x",
    ],
)
def test_what_is_no_origin_cannot_be_listed(text: str) -> None:
    """A pattern, a path or an alphabet that no browser sends would never match: it is an error at start."""
    with pytest.raises(ValueError, match="is no origin: write scheme://host"):
        gate_for(text)


def test_a_slash_at_the_end_is_forgiven() -> None:
    """Copied out of an address bar, it is clear what is meant."""
    assert admitted(gate_for("https://good.example/"), asked(headers={**OWN, "Origin": "https://good.example"}))


# ── without an Origin ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_post_or_websocket_with_a_cookie_needs_an_origin() -> None:
    """A browser would have sent one: whoever sends a cookie without it rides on somebody's session."""
    gate = gate_for()
    assert not admitted(gate, asked("POST", {**OWN, "Cookie": "sid=1"}))
    assert not admitted(gate, asked("GET", {**OWN, "Cookie": "sid=1", "Sec-Fetch-Site": "same-origin"}))
    assert admitted(gate, asked("POST", {**OWN, "Cookie": "sid=1", "Origin": "http://example.org"}))
    assert admitted(gate, asked("POST", OWN)), "curl, or a program, speaks for nobody but itself"


def test_a_get_without_an_origin_is_a_page_of_ours_unless_the_browser_says_otherwise() -> None:
    """Browsers send no Origin with a GET to the same origin, but tell what is cross-site."""
    gate = gate_for()
    for site in ("same-origin", "same-site", "none"):
        assert admitted(gate, asked(headers={**OWN, "Cookie": "sid=1", "Sec-Fetch-Site": site}), Risk.READS)
    assert admitted(gate, asked(headers=OWN), Risk.READS)
    assert not admitted(gate, asked(headers={**OWN, "Sec-Fetch-Site": "cross-site"}), Risk.READS)


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "http://example.org/"}, False),
        ({"Referer": "http://example.org/page?x=1"}, True),
        ({"Referer": "https://good.example/page"}, True),
        ({"Referer": "https://good.example:443/page"}, True),
        ({"Sec-Fetch-Site": "same-site", "Referer": "https://good.example/"}, True),
        ({"Referer": "https://good.example.evil.com/"}, False),
        ({"Referer": "https://good.example@evil.com/"}, False),
        ({"Referer": "https://evil.com/https://good.example/"}, False),
        ({"Referer": "http://good.example/"}, False),
        ({"Referer": "about:blank"}, False),
        ({"Referer": ""}, False),
    ],
    ids=repr,
)
def test_what_a_script_tag_can_read_needs_a_page_that_is_known(headers: dict[str, str], passes: bool) -> None:  # noqa: FBT001
    """For jsonp and htmlfile: by `Sec-Fetch-Site: same-origin` or by a Referer of an allowed origin."""
    gate = gate_for("https://good.example")
    assert admitted(gate, asked(headers={**OWN, **headers}), Risk.EMBEDS) is passes


# ── behind a proxy ────────────────────────────────────────────────────────────────────────────────────────────────


def test_public_url_says_what_browsers_see() -> None:
    """Whatever Host and scheme the proxy in front made of it; no header can change it."""
    gate = gate_for(public_url="https://Chat.example/app/", proxies=["127.0.0.1"])
    inner = {"Host": "backend:8080", "X-Forwarded-Host": "evil.com", "X-Forwarded-Proto": "http"}
    assert gate.own_origin(asked(headers=inner)) == "https://chat.example"
    assert admitted(gate, asked(headers={**inner, "Origin": "https://chat.example"}))
    for origin in ("http://backend:8080", "http://evil.com", "http://chat.example"):
        assert not admitted(gate, asked(headers={**inner, "Origin": origin}))
    for broken in ("chat.example", "https://", "/app"):
        with pytest.raises(ValueError, match="public_url"):
            gate_for(public_url=broken)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, "http://backend:8080"),
        ({"X-Forwarded-Proto": "https"}, "https://backend:8080"),
        ({"X-Forwarded-Host": "example.org"}, "http://example.org"),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.org"}, "https://example.org"),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.org:8443"}, "https://example.org:8443"),
        ({"X-Forwarded-Host": "evil.com, example.org"}, "http://example.org"),
        ({"X-Forwarded-Proto": "http,https", "X-Forwarded-Host": "a, example.org "}, "https://example.org"),
        ({"Forwarded": "for=192.0.2.1;proto=https;host=example.org"}, "https://example.org"),
        ({"Forwarded": 'For="[2001:db8::1]"; Proto=HTTPS; Host="example.org:8443"'}, "https://example.org:8443"),
        ({"Forwarded": "host=evil.com;proto=http, host=example.org;proto=https"}, "https://example.org"),
        ({"Forwarded": "for=192.0.2.1"}, "http://backend:8080"),
        ({"Forwarded": "host=example.org", "X-Forwarded-Host": "evil.com"}, "http://example.org"),
        ({"Forwarded": "proto=gopher;host=example.org"}, ""),
        ({"Forwarded": "garbage"}, "http://backend:8080"),
        ({"X-Forwarded-Host": "[::1"}, ""),
    ],
    ids=repr,
)
def test_a_trusted_proxy_is_believed(headers: dict[str, str], own: str) -> None:
    """The nearest proxy's word counts (the last one); Forwarded (RFC 7239) comes before X-Forwarded-*."""
    gate = gate_for(proxies=["10.0.0.0/8", "::1"])
    for remote in ("10.1.2.3", "::1"):
        assert gate.own_origin(asked(headers={"Host": "backend:8080", **headers}, remote=remote)) == own


@pytest.mark.parametrize("remote", ["192.0.2.1", "::2", "", "no address", "10.0.0.0/8"])
def test_anybody_else_is_not(remote: str) -> None:
    """A client that sends the headers itself changes nothing, nor does a client without an address."""
    gate = gate_for(proxies=["10.0.0.0/8", "::1"])
    for headers in ({"X-Forwarded-Host": "evil.com"}, {"Forwarded": "host=evil.com"}):
        request = asked(headers={"Host": "example.org", "Origin": "http://evil.com", **headers}, remote=remote)
        assert gate.own_origin(request) == "http://example.org"
        assert not admitted(gate, request)
    assert gate_for().own_origin(asked(headers={**OWN, "X-Forwarded-Host": "evil.com"})) == "http://example.org"


def test_what_is_no_network_is_an_error_at_start() -> None:
    """So that a slip does not silently trust nobody, or everybody."""
    for wrong in ("proxy.local", "10.0.0.1/8", "300.1.1.1"):
        with pytest.raises(ValueError, match=wrong):
            gate_for(proxies=[wrong])


# ── anybody ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("origin", ["https://evil.com", "null", None])
@pytest.mark.parametrize("risk", Risk)
def test_any_origin_means_without_credentials(origin: str | None, risk: Risk) -> None:
    """`*` lets every page in, and no browser will send or show it anything by cookie."""
    headers = {**OWN, "Cookie": "sid=1", **({"Origin": origin} if origin else {})}
    assert Gate(Options(origins=ANY_ORIGIN)).admit(asked("POST", headers), risk) == {
        "Access-Control-Allow-Origin": "*",
        "Vary": "Origin",
    }


def test_any_origin_with_credentials_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    """The public suites want it: every Origin is reflected, with credentials; a warning at start says what it means."""
    with caplog.at_level(logging.WARNING, "hybridws"):
        gate = Gate(Options(origins=ANY_ORIGIN_WITH_CREDENTIALS))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "ANY origin" in record.getMessage()
    assert gate.admit(asked(headers={"Origin": "https://evil.com"}), Risk.WRITES) == {
        "Access-Control-Allow-Origin": "https://evil.com",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
    assert "Access-Control-Allow-Credentials" not in gate.admit(asked(), Risk.WRITES)


def test_no_other_setting_warns(caplog: pytest.LogCaptureFixture) -> None:
    """What is safe is quiet."""
    for origins in (None, ANY_ORIGIN, ["https://good.example"]):
        Gate(Options(origins=origins))
    assert caplog.records == []


def test_who_may_frame_the_iframe_page() -> None:
    """The same pages that may connect; with `*` only our own, since a frame would bring the cookies along."""
    assert gate_for().ancestors() == "'self'"
    assert (
        gate_for("https://b.example", "https://a.example").ancestors() == "'self' https://a.example https://b.example"
    )
    assert Gate(Options(origins=ANY_ORIGIN)).ancestors() == "'self'"
    assert Gate(Options(origins=ANY_ORIGIN_WITH_CREDENTIALS)).ancestors() is None


# ── what a refusal says ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "risk", "header", "value"),
    [
        ({"Origin": "https://evil.com"}, Risk.WRITES, "Origin", "https://evil.com"),
        ({"Cookie": "sid=secret"}, Risk.WRITES, "Origin", ""),
        ({"Sec-Fetch-Site": "cross-site"}, Risk.READS, "Sec-Fetch-Site", "cross-site"),
        ({"Referer": "https://evil.com/page"}, Risk.EMBEDS, "Referer", "https://evil.com/page"),
    ],
    ids=["origin", "cookie", "fetch", "referer"],
)
def test_a_refusal_tells_the_operator_both_values_and_the_option(
    headers: dict[str, str], risk: Risk, header: str, value: str
) -> None:
    """The log is given what came, what was expected, and which option would allow it; cookies are not in it."""
    with pytest.raises(Forbidden, match=header) as error:
        gate_for().admit(asked(headers={**OWN, **headers}), risk)
    line = error.value.hint
    assert error.value.cause == "origin"
    assert f"{header} {value!r}" in line
    assert "'http://example.org'" in line
    for option in ("origins=[...]", "public_url", "trusted_proxies"):
        assert option in line
    assert "secret" not in line


def test_a_refusal_repeats_little_of_what_came() -> None:
    """Neither the log nor the answer can be filled, or broken into lines, by a header."""
    long = "https://evil.com/" + "x" * 8_000
    for origin in (long, "a\r\nb\x1b[31m"):
        with pytest.raises(Forbidden) as error:
            gate_for().admit(asked(headers={**OWN, "Origin": origin}), Risk.WRITES)
        assert len(error.value.reason) < 300
        assert len(error.value.hint) < 600
        assert not any(char in error.value.hint for char in "\r\n\x1b")


# ── where a client is ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "10.0.0.1"),
        ({"X-Forwarded-For": "192.0.2.7"}, "192.0.2.7"),
        ({"X-Forwarded-For": "192.0.2.7:4711"}, "192.0.2.7"),
        ({"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}, "192.0.2.7"),
        ({"X-Forwarded-For": "192.0.2.7, 10.0.0.2"}, "192.0.2.7"),
        ({"X-Forwarded-For": "10.0.0.3, 10.0.0.2"}, "10.0.0.3"),
        ({"X-Forwarded-For": "2001:DB8::7"}, "2001:db8::7"),
        ({"X-Forwarded-For": "[2001:db8::7]:4711"}, "2001:db8::7"),
        ({"X-Forwarded-For": "unknown"}, "10.0.0.1"),
        ({"X-Forwarded-For": "192.0.2.7, " + "x" * 5000}, "10.0.0.1"),
        ({"X-Forwarded-For": ", ".join(["10.9.9.9"] * 5000)}, "10.9.9.9"),
        ({"Forwarded": "for=192.0.2.7"}, "192.0.2.7"),
        ({"Forwarded": 'for=198.51.100.1, For="[2001:db8::7]:4711";proto=https'}, "2001:db8::7"),
        ({"Forwarded": "for=_hidden", "X-Forwarded-For": "192.0.2.7"}, "10.0.0.1"),
        ({"Forwarded": "for=192.0.2.7", "X-Forwarded-For": "198.51.100.1"}, "192.0.2.7"),
        ({"Forwarded": "proto=https"}, "10.0.0.1"),
    ],
    ids=repr,
)
def test_the_address_is_the_nearest_that_is_no_proxys(headers: dict[str, str], address: str) -> None:
    """What trusted proxies have noted is walked back, from the nearest, up to the first that is none of them."""
    gate = gate_for(proxies=["10.0.0.0/8"])
    assert gate.address(asked(headers=headers, remote="10.0.0.1")) == address
    assert gate.address(asked(headers=headers, remote="::ffff:10.0.0.1")) == address.replace(
        "10.0.0.1", "::ffff:10.0.0.1"
    )


def test_a_client_cannot_choose_its_address() -> None:
    """Without trusted proxies, or from elsewhere, the headers say nothing."""
    for headers in ({"X-Forwarded-For": "192.0.2.7"}, {"Forwarded": "for=192.0.2.7"}):
        assert gate_for().address(asked(headers=headers, remote="198.51.100.1")) == "198.51.100.1"
        assert gate_for(proxies=["10.0.0.0/8"]).address(asked(headers=headers, remote="198.51.100.1")) == "198.51.100.1"


def test_ids_are_not_repeated() -> None:
    """128 random bits each."""
    ids = {new_id() for _ in range(20_000)}
    assert len(ids) == 20_000
    assert all(len(one) >= 22 and one.isascii() and "/" not in one for one in ids)


# ── over a real socket ────────────────────────────────────────────────────────────────────────────────────────────

EVIL = {"Origin": "https://good.example.evil.com"}
DOORS = [
    ("GET", ""),
    ("HEAD", ""),
    ("GET", "/"),
    ("GET", "/info"),
    ("OPTIONS", "/info"),
    ("GET", "/iframe.html"),
    ("GET", "/sockjs.min.js"),
    ("GET", "/websocket"),
    ("GET", "/000/abc/websocket"),
    ("POST", "/000/abc/xhr"),
    ("OPTIONS", "/000/abc/xhr"),
    ("POST", "/000/abc/xhr_streaming"),
    ("OPTIONS", "/000/abc/xhr_streaming"),
    ("POST", "/000/abc/xhr_send"),
    ("OPTIONS", "/000/abc/xhr_send"),
    ("GET", "/000/abc/eventsource"),
    ("GET", "/000/abc/htmlfile?c=cb"),
    ("GET", "/000/abc/jsonp?c=cb"),
    ("POST", "/000/abc/jsonp_send"),
]


async def echo(session: Session) -> None:
    """Say what was said."""
    async for message in session:
        await session.send(message)


@pytest.fixture
async def place(serve: Callable[..., Awaitable[str]]) -> AsyncIterator[tuple[Server, str, ClientSession]]:
    """Serve an echo with everything that is on offer, and a client for it."""
    app = web.Application()
    server = mount(app, "/echo", echo, legacy=True, origins=["https://good.example"])
    address = await serve(app)
    async with ClientSession() as client:
        yield server, f"{address}/echo", client


@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_a_foreign_page_is_shut_out_at_every_door(
    place: tuple[Server, str, ClientSession], method: str, path: str
) -> None:
    """Every transport, every method: 403, no session, no leave for the page to read the answer."""
    server, address, client = place
    for origin in ("https://good.example.evil.com", "null", address.removesuffix("/echo") + "0"):
        async with client.request(method, address + path, headers={"Origin": origin}, data=b"") as answer:
            text = await answer.text()
            assert answer.status == 403, text
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Set-Cookie" not in answer.headers
            assert method == "HEAD" or origin in text
    assert len(server.sessions) == 0
    assert server.find("abc") is None


@pytest.mark.parametrize("path", ["/websocket", "/000/abc/websocket"])
async def test_a_foreign_page_cannot_upgrade(place: tuple[Server, str, ClientSession], path: str) -> None:
    """Cross-site WebSocket hijacking: refused at the handshake, with and without the victim's cookie."""
    server, address, client = place
    for headers in (EVIL, {**EVIL, "Cookie": "sid=1"}, {"Cookie": "sid=1"}, {"Origin": "null"}):
        with pytest.raises(WSServerHandshakeError) as error:
            await client.ws_connect(address + path, headers=headers)
        assert error.value.status == 403
    assert len(server.sessions) == 0


@pytest.mark.parametrize("path", ["/000/abc/xhr", "/000/abc/xhr_streaming", "/000/abc/xhr_send", "/000/abc/jsonp_send"])
async def test_a_post_with_a_cookie_needs_an_origin(place: tuple[Server, str, ClientSession], path: str) -> None:
    """A form of another page could send it without a preflight."""
    server, address, client = place
    async with client.post(address + path, headers={"Cookie": "sid=1", "Content-Type": "text/plain"}) as answer:
        assert answer.status == 403
        assert "Origin" in await answer.text()
    assert len(server.sessions) == 0


@pytest.mark.parametrize("path", ["/000/abc/jsonp?c=cb", "/000/abc/htmlfile?c=cb"])
async def test_a_script_tag_of_another_page_gets_nothing(place: tuple[Server, str, ClientSession], path: str) -> None:
    """Without Origin it takes a Referer that is known, or the browser's word."""
    server, address, client = place
    for headers in ({}, {"Referer": "https://evil.com/"}, {"Sec-Fetch-Site": "cross-site"}):
        async with client.get(address + path, headers=headers) as answer:
            assert answer.status == 403
    assert len(server.sessions) == 0
    async with client.get(address + path, headers={"Referer": "https://good.example/page"}) as answer:
        assert answer.status == 200
    assert len(server.sessions) == 1
    for session in list(server.sessions):
        await session.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 200),
        ("GET", "/info", 200),
        ("OPTIONS", "/info", 204),
        ("GET", "/iframe.html", 200),
        ("GET", "/sockjs.min.js", 200),
        ("POST", "/000/abc/xhr", 200),
        ("OPTIONS", "/000/abc/xhr", 204),
        ("POST", "/000/abc/xhr_send", 404),
        ("GET", "/000/abc/jsonp?c=cb", 200),
        ("GET", "/000/abc/jsonp", 500),
        ("GET", "/nothing/here", 404),
        ("PUT", "/info", 405),
        ("GET", "/websocket", 400),
    ],
)
async def test_vary_is_on_every_answer(
    place: tuple[Server, str, ClientSession], method: str, path: str, status: int
) -> None:
    """An answer depends on the Origin that asked, so no cache may give it to another."""
    server, address, client = place
    async with client.request(method, address + path, headers={"Origin": "https://good.example"}) as answer:
        assert answer.status == status, await answer.text()
        assert answer.headers.get("Vary") == "Origin"
    for session in list(server.sessions):
        await session.close()


async def test_vary_is_on_a_refusal_too(place: tuple[Server, str, ClientSession]) -> None:
    """What was refused to one page must not be kept for another."""
    _, address, client = place
    for method, path in (("GET", "/info"), ("GET", "/iframe.html"), ("POST", "/000/abc/xhr")):
        async with client.request(method, address + path, headers=EVIL) as answer:
            assert answer.status == 403
            assert answer.headers.get("Vary") == "Origin"


async def test_vary_is_on_what_was_cached_too(place: tuple[Server, str, ClientSession]) -> None:
    """A 304 renews what the cache holds, with its headers."""
    _, address, client = place
    for path in ("/iframe.html", "/sockjs.min.js"):
        async with client.get(address + path) as answer:
            etag = answer.headers["ETag"]
        async with client.get(address + path, headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
            assert answer.headers.get("Vary") == "Origin"


async def test_a_session_belongs_to_the_origin_that_opened_it(serve: Callable[..., Awaitable[str]]) -> None:
    """A page that is allowed itself, but has only read or guessed a session's name, may not speak in it."""
    app = web.Application()
    server = mount(app, "/echo", echo, origins=["https://one.example", "https://two.example"])
    address = f"{await serve(app)}/echo/000/abc"
    one, two = {"Origin": "https://one.example"}, {"Origin": "https://two.example"}
    async with ClientSession() as client:
        async with client.post(f"{address}/xhr", headers=one) as answer:
            assert await answer.read() == b"o\n"
        for path in ("/xhr", "/xhr_streaming", "/xhr_send"):
            async with client.post(address + path, headers=two, data=b'["x"]') as answer:
                assert answer.status == 403
                assert "https://one.example" in await answer.text()
        async with client.post(f"{address}/xhr_send", headers=one, data=b'["mine"]') as answer:
            assert answer.status == 204
        async with client.post(f"{address}/xhr", headers=one) as answer:
            assert await answer.read() == b'a["mine"]\n'
    for session in list(server.sessions):
        await session.close()


async def test_a_page_of_the_same_origin_needs_no_option(serve: Callable[..., Awaitable[str]]) -> None:
    """The default lets a server's own pages in, with their cookies, over a WebSocket and over POST."""
    app = web.Application()
    mount(app, "/echo", echo)
    address = await serve(app)
    own = {"Origin": address, "Cookie": "sid=1"}
    async with ClientSession() as client:
        async with client.ws_connect(f"{address}/echo/websocket", headers=own) as socket:
            await socket.send_str("hi")
            assert await socket.receive_str() == "hi"
        async with client.post(f"{address}/echo/000/abc/xhr", headers=own) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == address
