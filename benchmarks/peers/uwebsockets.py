"""uWebSockets, through socketify."""

# The peer has an environment of its own.
# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from typing import Any

from socketify import App, CompressOptions


def join(ws: Any) -> None:  # noqa: ANN401 - the peer has no types
    """Let a WebSocket hear what is published."""
    ws.subscribe("all")


def talk(ws: Any, message: Any, opcode: Any) -> None:  # noqa: ANN401 - as above
    """Answer one message."""
    if message[0] == "B":
        app.publish("all", message, opcode)
    else:
        ws.send(message, opcode)


app = App()
app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 1024 * 1024,
        "idle_timeout": 120,
        "open": join,
        "message": talk,
    },
)
app.listen(int(sys.argv[1]), lambda _config: None)
app.run()
