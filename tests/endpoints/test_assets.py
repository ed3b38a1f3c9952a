"""A mount serves the scripts of the JavaScript client that belongs to it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from hybridws import assets
from hybridws.aiohttp import mount
from hybridws.endpoints.assets import versioned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hybridws import Session

    Serve = Callable[..., Awaitable[str]]

SCRIPTS = ("hybridws.js", "hybridws.mjs", "sockjs.js", "sockjs.mjs", "msgpack.mjs")


async def silent(session: Session) -> None:
    """Take everything and say nothing."""
    async for _ in session:
        pass


@pytest.fixture
async def prefix(serve: Serve) -> str:
    """Mount a server and return the address of its mount."""
    app = web.Application()
    mount(app, "/deep/chat", silent)
    return f"{await serve(app)}/deep/chat"


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_is_served_whole(prefix: str, name: str) -> None:
    """With the type that browsers demand of a module, and revalidated, since the name stays when the script changes."""
    async with aiohttp.ClientSession() as http, http.get(f"{prefix}/{name}") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/javascript"
        assert await answer.read() == assets.find(f"static/dist/{name}").read_bytes()
        etag = answer.headers["ETag"]
        assert "no-cache" in answer.headers["Cache-Control"]
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{prefix}/{name}", headers={"If-None-Match": etag}) as answer,
    ):
        assert answer.status == 304
        assert await answer.read() == b""


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_versioned_name_is_kept_for_ever(prefix: str, name: str) -> None:
    """The name that holds the script's own digest never means anything else."""
    async with aiohttp.ClientSession() as http, http.get(f"{prefix}/{versioned(name)}") as answer:
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]


async def test_a_script_is_sent_compressed(prefix: str) -> None:
    """To whoever can read gzip, and to nobody else."""
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        async with http.get(f"{prefix}/hybridws.js", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            whole = gzip.decompress(await answer.read())
        async with http.get(f"{prefix}/hybridws.js", headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert await answer.read() == whole


async def test_a_script_packed_with_the_wheel(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies packed beside a script is sent as it is: Brotli where it is accepted, else gzip, each with an ETag."""
    for ending in ("", ".br", ".gz"):
        (tmp_path / f"hybridws.js{ending}").write_bytes(f"script{ending}".encode())
    monkeypatch.setattr(assets, "find", lambda name: tmp_path / name.rpartition("/")[2])
    app = web.Application()
    mount(app, "/chat", silent)
    url = f"{await serve(app)}/chat/hybridws.js"
    tags = set()
    for accepted, body, coding in (
        ("gzip, deflate, br", b"script.br", "br"),
        ("gzip;q=1.0, br;q=0", b"script.gz", "gzip"),
        ("x-gzip", b"script", None),
        ("br;q=0.5,gzip;q=0", b"script.br", "br"),
    ):
        async with (
            aiohttp.ClientSession(auto_decompress=False) as http,
            http.get(url, headers={"Accept-Encoding": accepted}) as answer,
        ):
            assert await answer.read() == body
            assert answer.headers.get("Content-Encoding") == coding
            assert "Accept-Encoding" in answer.headers["Vary"]
            tags.add(answer.headers["ETag"])
    assert len(tags) == 3


@pytest.mark.parametrize("name", ["hybridws.css", "hybridws-000000000000.js", "../options.py", "hybridws.js/x"])
async def test_nothing_else_is_served(prefix: str, name: str) -> None:
    """Another version's name, other files and what is beside the folder are not there."""
    async with aiohttp.ClientSession() as http, http.get(f"{prefix}/{name}") as answer:
        assert answer.status == 404
