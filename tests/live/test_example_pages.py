"""The pages of the examples, in both browsers: they log in, upload and are told, as their heads say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest

from tests.examples.test_examples import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.drivers import Browser

pytestmark = pytest.mark.live

PIECES: Final = 3
"""Of 128 KiB, in which the page sends a file."""

CHOOSE: Final = f"""
(() => {{
    const bytes = new Uint8Array({PIECES} * 128 * 1024 - 1).map((_, index) => index % 251);
    const data = new DataTransfer();
    data.items.add(new File([bytes], "a file.bin"));
    document.getElementById("file").files = data.files;
    document.getElementById("file").dispatchEvent(new Event("change"));
    return 0;
}})()
"""


async def test_auth(tmp_path: Path, browser: Browser) -> None:
    """Who has not logged in is told so; after the form the page has its cookie, and the session knows its user."""
    async with running("auth.py", tmp_path) as url, browser.tab("one", url) as tab:
        await tab.until("document.getElementById('says').textContent.startsWith('4401 ')")
        await tab.follow("button")
        await tab.until("document.getElementById('says').textContent === 'you are ada'")


async def test_upload(tmp_path: Path, browser: Browser) -> None:
    """A file that is chosen arrives as it is; the page shows how far it is, and what the server has of it."""
    folder = tmp_path / "files"
    folder.mkdir()
    data = bytes(index % 251 for index in range(PIECES * 128 * 1024 - 1))
    async with running("upload.py", tmp_path, str(folder)) as url, browser.tab("one", url) as tab:
        await tab.call("eval", CHOOSE)
        there = f"a file.bin is there: {hashlib.sha256(data).hexdigest()}"
        await tab.until(f"document.getElementById('says').textContent === '{there}'")
        assert await tab.call("eval", "document.getElementById('progress').value") == 1
    assert (folder / "a_file.bin").read_bytes() == data


async def test_notifications(tmp_path: Path, browser: Browser) -> None:
    """What is POSTed for a user, or for everybody, stands on the user's page, in order."""
    async with running("notifications.py", tmp_path) as url, browser.tab("one", f"{url}/?user=ada") as tab:
        async with aiohttp.ClientSession() as http:
            reached = "0\n"
            while reached == "0\n":  # until the page is connected
                async with http.post(f"{url}/notify", data={"user": "ada", "text": "one"}) as answer:
                    reached = await answer.text()
            assert reached == "1\n"
            async with http.post(f"{url}/notify", data={"text": "two <b>"}) as answer:
                assert await answer.text() == "1\n"
        await tab.until("document.querySelectorAll('#list li').length === 2")
        texts = "[...document.querySelectorAll('#list li')].map((row) => row.textContent)"
        assert await tab.call("eval", texts) == ["one", "two <b>"]
