"""What live tests say, and the handlers that they talk to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hybridws import Session

BYE: Final = "please close"
"""The message upon which `echo` closes with FAREWELL."""

FAREWELL: Final = (3456, "Auf Wiedersehen, grüß dich, さようなら")

EVERY_CHARACTER: Final[str] = json.loads(json.dumps("".join(map(chr, range(0x10000)))))
"""All 65,536 of the basic plane, lone surrogates included (two that meet make a pair): 192 KiB of UTF-8."""

SPEECHES: Final = {
    "text": ["hello"],
    "unicode": [
        "grüß dich 😀",
        "</script><b>%20\r\n\x00",
        "\u2028\u2029\ufeff",
        "\ud800",
        "\udfff\ud800",
        EVERY_CHARACTER,
    ],
    "order": [str(number) for number in range(100)],
    "64 KiB": ["0123456789abcdef" * 4096],
}
"""Messages that must come back as they went, by what they show."""

ALL: Final = [message for speech in SPEECHES.values() for message in speech]


async def echo(session: Session) -> None:
    """Send every message back; close when asked to."""
    async for message in session:
        if message == BYE:
            await session.close(*FAREWELL)
        else:
            await session.send(message)
