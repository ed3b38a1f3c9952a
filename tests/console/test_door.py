"""Who may see the console: whom `authenticate` knows, or this machine alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import encode_basic_auth, web

import hybridws
from hybridws import CannotServe, assets
from hybridws.aiohttp import mount
from hybridws.console import basic_auth, mount_console
from hybridws.console.door import only_this_machine
from hybridws.errors import Forbidden
from hybridws.run import serve
from tests.client.ground import echo
from tests.memory import asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.console.conftest import Stage

    Staging = Callable[..., Awaitable[Stage]]

FILES = ("", "console.js", "charts.js", "console.css", "icon.svg")
LOCAL = {"Host": "localhost:8080"}


async def test_off_unless_mounted(serve: Callable[..., Awaitable[str]]) -> None:
    """An application without `mount_console` has no console."""
    app = web.Application()
    mount(app, "/s", echo)
    async with aiohttp.ClientSession() as http, http.get(f"{await serve(app)}/console/") as answer:
        assert answer.status == 404


async def test_the_page_and_its_headers(stage: Staging) -> None:
    """All files are from here under a policy that allows nothing inline, no frame and no foreign address."""
    here = await stage()
    async with aiohttp.ClientSession() as http:
        for file in FILES:
            async with http.get(f"{here.url}/console/{file}") as answer:
                assert answer.status == 200
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "https://" not in await answer.text()
        async with http.get(f"{here.url}/console", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "console/")
        async with http.get(f"{here.url}/console/live/hybridws.mjs") as answer:
            assert answer.status == 200


async def test_a_password(stage: Staging) -> None:
    """The page, its files and its session ask for it; who has it is in."""
    here = await stage(authenticate=basic_auth("ops", "s3cret"))
    right, wrong = encode_basic_auth("ops", "s3cret"), encode_basic_auth("ops", "s3cre")
    async with aiohttp.ClientSession() as http:
        for shown in ({}, {"Authorization": wrong}, {"Authorization": "Basic ?"}, {"Authorization": "Bearer s3cret"}):
            for file in FILES:
                async with http.get(f"{here.url}/console/{file}", headers=shown) as answer:
                    assert answer.status == 401
                    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            async with http.post(f"{here.url}/console/live/v1/open", headers=shown, data=b'["i",{"v":1}]') as answer:
                assert answer.status == 401
        async with http.get(f"{here.url}/console/", headers={"Authorization": right}) as answer:
            assert answer.status == 200
    async with hybridws.connect(f"{here.url}/console/live", headers={"Authorization": right}) as operator:
        hello = await anext(aiter(operator))
        assert isinstance(hello, dict)
        (session,) = here.console.sessions
        assert session.user == "ops"


def test_an_empty_password_is_none() -> None:
    """It would let everybody in who finds the page."""
    with pytest.raises(ValueError, match="not empty"):
        basic_auth("ops", "")


@pytest.mark.parametrize(
    ("remote", "headers", "lets_in"),
    [
        ("127.0.0.1", LOCAL, True),
        ("127.8.9.1", {"Host": "127.0.0.1:1"}, True),
        ("::1", {"Host": "[::1]:8080"}, True),
        ("::ffff:127.0.0.1", {"Host": "app.localhost"}, True),
        ("192.0.2.7", LOCAL, False),
        ("2001:db8::7", LOCAL, False),
        ("", LOCAL, False),
        ("127.0.0.1", {"Host": "rebound.example"}, False),
        ("127.0.0.1", {"Host": "127.0.0.1.example"}, False),
        ("127.0.0.1", {"Host": "[broken"}, False),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {**LOCAL, "X-Forwarded-For": "192.0.2.7"}, False),
        ("127.0.0.1", {**LOCAL, "Forwarded": "for=192.0.2.7"}, False),
        ("127.0.0.1", {**LOCAL, "Via": "1.1 proxy"}, False),
    ],
)
@pytest.mark.logs_errors
def test_without_authentication_only_this_machine(remote: str, headers: dict[str, str], *, lets_in: bool) -> None:
    """Neither another machine, nor one through a proxy here, nor a page whose name was made to point here."""
    request = asked(headers=headers, remote=remote)
    if lets_in:
        only_this_machine(request)
    else:
        with pytest.raises(Forbidden, match="basic_auth"):
            only_this_machine(request)


@pytest.mark.logs_errors
async def test_through_a_proxy_it_is_refused(stage: Staging) -> None:
    """On a real socket: 403 with what to do, for the page and its session."""
    here = await stage()
    behind = {"X-Forwarded-For": "192.0.2.7"}
    async with aiohttp.ClientSession(headers=behind) as http:
        async with http.get(f"{here.url}/console/") as answer:
            assert answer.status == 403
            assert "authenticate=basic_auth" in await answer.text()
        async with http.post(f"{here.url}/console/live/v1/open", data=b'["i",{"v":1}]') as answer:
            assert answer.status == 403


@pytest.mark.parametrize(
    "where", [{"host": "0.0.0.0"}, {"host": ""}, {"host": "::"}, {"host": "192.0.2.7"}, {"path": "x.sock"}]
)
async def test_our_runner_refuses_to_start(where: dict[str, Any]) -> None:
    """Beyond this machine, without `authenticate`, also where it is mounted on an application below."""
    app, below = web.Application(), web.Application()
    mount_console(below)
    app.add_subapp("/admin", below)
    with pytest.raises(CannotServe, match="the console has no authenticate"):
        await serve(app, port=0, **where)


async def test_a_page_of_another_site_gets_nothing(stage: Staging) -> None:
    """The console's session is of its own origin, like any other."""
    here = await stage()
    foreign = {"Origin": "https://evil.example"}
    async with aiohttp.ClientSession(headers=foreign) as http:
        async with http.post(f"{here.url}/console/live/v1/open", data=b'["i",{"v":1}]') as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(f"{here.url}/console/live/v1/websocket")


def test_the_page_travels_with_the_package() -> None:
    """Its files lie in the package itself."""
    for file in ("index.html", *FILES[1:]):
        assert (assets.PACKAGE / "console" / "page" / file).is_file()
