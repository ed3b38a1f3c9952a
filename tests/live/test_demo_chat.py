"""The demo's chat in Chromium and Firefox: people in two tabs meet over each transport, and nothing is lost between."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.live.demo import here, joined, running, said

if TYPE_CHECKING:
    from tests.live.demo import Serve
    from tests.live.drivers import Browser, Tab

pytestmark = pytest.mark.live

TRANSPORTS: Final = ("websocket", "stream", "poll")

MAX_PICTURE: Final = 180_000

PASTE: Final = """
(async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [400, 300];
    const picture = new ImageData(400, 300);
    for (let start = 0; start < picture.data.length; start += 60000)  // noise does not compress: too much for a message
        crypto.getRandomValues(picture.data.subarray(start, start + 60000));
    for (let alpha = 3; alpha < picture.data.length; alpha += 4) picture.data[alpha] = 255;
    canvas.getContext("2d").putImageData(picture, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    const data = new DataTransfer();
    data.items.add(new File([blob], "noise.png", { type: "image/png" }));
    const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
    if (paste.clipboardData.files.length) document.getElementById("text").dispatchEvent(paste);
    else {  // Firefox lets no script make a paste that holds files: there it is chosen
        document.getElementById("file").files = data.files;
        document.getElementById("file").dispatchEvent(new Event("change"));
    }
    return blob.size;
})()
"""
WATCH: Final = """
(() => {
    window.ticks = [];  // what each tick said before it changed
    const note = (changes) => ticks.push(...changes.map(({ oldValue }) => oldValue));
    new MutationObserver(note).observe(document.getElementById("log"), {
        attributeFilter: ["data-tick"],
        attributeOldValue: true,
        subtree: true,
    });
})()
"""
LOADED: Final = "[...document.querySelectorAll('#log img')].some((image) => image.complete && image.naturalWidth > 100)"


async def name(tab: Tab, called: str) -> None:
    """Give the tab's visitor a name."""
    await tab.fill("#name", called)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_tabs(serve: Serve, browser: Browser, transport: str) -> None:
    """Two tabs see each other and what they say and show; a third finds all of it; who leaves is seen to have left.

    The picture that is pasted is larger than a message may be.
    """
    async with AsyncExitStack() as stack:
        url = f"{(await stack.enter_async_context(running(serve))).url}/?transport={transport}#garden"
        anna = await stack.enter_async_context(browser.window("anna", url))
        ben = await stack.enter_async_context(browser.window("ben", url))
        await joined(anna, transport)
        await joined(ben, transport)
        await name(anna, "Anna")
        await name(ben, "Ben")
        await here(anna, "Anna", "Ben")
        await here(ben, "Anna", "Ben")
        await anna.fill("#text", "Hello Ben <b>")
        await said(ben, "Hello Ben <b>")
        await ben.fill("#text", "Hällo Anna 😀")
        await said(anna, "Hello Ben <b>", "Hällo Anna 😀")
        assert await anna.call("eval", PASTE) > MAX_PICTURE
        await said(anna, "Hello Ben <b>", "Hällo Anna 😀", "noise.png")
        await ben.until(LOADED)
        async with browser.window("carla", url) as carla:
            await joined(carla, transport)
            await said(carla, "Hello Ben <b>", "Hällo Anna 😀", "noise.png")
            await carla.until(LOADED)
            await ben.fill("#room-name", "workshop")  # a goodbye from a tab that closes is not certain to arrive
            await name(carla, "Carla")
            await here(carla, "Anna", "Carla")
            await here(anna, "Anna", "Carla")


async def test_what_is_said_offline_waits(serve: Serve, browser: Browser) -> None:
    """What is said while nothing passes is queued, and is said once when the network is back; typing is seen."""
    async with AsyncExitStack() as stack:
        url = f"{(await stack.enter_async_context(running(serve))).url}/#garden"
        anna = await stack.enter_async_context(browser.window("anna", url))
        ben = await stack.enter_async_context(browser.window("ben", url))
        await joined(anna, "websocket")
        await joined(ben, "websocket")
        await anna.call("eval", "document.querySelector('#text').value = 'x'; 0")
        await anna.call("eval", "document.querySelector('#text').dispatchEvent(new Event('input')); 0")
        await ben.until("document.getElementById('typing').textContent.includes('is typing')")
        await anna.click("#offline")
        await anna.until("document.documentElement.dataset.state === 'interrupted'")
        await anna.fill("#text", "one")
        await anna.fill("#text", "two")
        await anna.until("document.querySelectorAll('#log [data-tick=queued]').length === 2")
        await anna.click("#offline")
        await said(anna, "one", "two")
        await said(ben, "one", "two")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_ticks(serve: Serve, browser: Browser, transport: str) -> None:
    """What is said is shown as queued, as sent once it is on the wire, and as acknowledged, in this order."""
    async with running(serve) as demo, browser.window("anna", f"{demo.url}/?transport={transport}#garden") as anna:
        await joined(anna, transport)
        await anna.call("eval", WATCH)
        await anna.fill("#text", "one")
        await said(anna, "one")
        assert await anna.call("eval", "ticks") == ["queued", "sent"]


async def test_the_switch_is_told(serve: Serve, browser: Browser) -> None:
    """Each choice of a transport adds a line that tells how long it took and that nothing was lost or came twice."""
    async with running(serve) as demo, browser.window("anna", f"{demo.url}/?rate=100") as anna:
        await joined(anna, "websocket")
        before = "websocket"
        for transport in ("poll", "stream", "websocket"):
            await anna.click(f'#transports [value="{transport}"]')
            await joined(anna, transport)
            line = f"{before} → {transport} in \\\\d+ m?s · 0 lost · 0 twice · message [\\\\d,]+"
            await anna.until(f"RegExp('^{line}$').test(document.querySelector('#log .turn:last-child').textContent)")
            before = transport
