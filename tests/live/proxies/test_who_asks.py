"""What the application learns of its clients through real proxies: their address, and where they believe to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import ClientSession, TCPConnector

import hybridws
from tests.live.proxies.proxies import CASES, Case
from tests.live.words import echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.live.proxies.conftest import Site

    StandBehind = Callable[..., Awaitable[Site]]

pytestmark = pytest.mark.live

ADVISED: Final = [name for name, case in CASES.items() if name.endswith("advised") and not case.forward]
REWRITING: Final = ["nginx, default", "squid, default"]
COOKIES: Final = {"who": "me"}

each_advised = pytest.mark.parametrize("case", [pytest.param(CASES[name], id=name) for name in ADVISED])
each_rewriting = pytest.mark.parametrize("case", [pytest.param(CASES[name], id=name) for name in REWRITING])

ELSEWHERE: Final = "http://elsewhere.example"
LIES: Final = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Host": "elsewhere.example",
    "X-Forwarded-Proto": "http",
    "Forwarded": "for=192.0.2.1;host=elsewhere.example;proto=http",
}
"""What a client says to be taken for another, from a page that is another's."""


@each_rewriting
async def test_rewritten_host(stand_behind: StandBehind, caplog: pytest.LogCaptureFixture, case: Case) -> None:
    """Where Host is rewritten, a client with a cookie is refused in words, and the log says what to do."""
    site = await stand_behind(case, echo)
    with pytest.raises(hybridws.CannotConnect, match="Origin"):
        async with hybridws.connect(site.url, cookies=COOKIES):
            pass
    assert "behind a proxy that rewrites Host, set public_url or trusted_proxies" in caplog.text


@each_advised
async def test_who_asks(stand_behind: StandBehind, case: Case) -> None:
    """As docs/proxies.md advises, Host passes, the address is the one that the proxy saw, and no lie opens the gate."""
    site = await stand_behind(case, echo, trusted_proxies=["127.0.0.1"])
    async with hybridws.connect(site.url, cookies=COOKIES, first=["in"]) as connection:
        assert await anext(aiter(connection)) == "in"
    connector = TCPConnector(local_addr=("127.0.0.2", 0))
    async with ClientSession(connector=connector, headers=LIES, cookies=COOKIES) as http:
        async with http.post(f"{site.url}/000/liar/xhr", headers={"Origin": site.origin}) as answer:
            assert await answer.text() == "o\n"
        (session,) = [session for session in site.server.sessions if "liar" in session.http_request.path]
        assert site.server.gate.address(session.http_request) == "127.0.0.2"
        async with http.post(f"{site.url}/000/page/xhr", headers={"Origin": ELSEWHERE}) as answer:
            assert answer.status == 403
