"""The ways in which the tests' servers can be run, chosen for a whole run by the environment (tools/test-ways)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOP: Final = os.environ.get("HYBRIDWS_LOOP") or "asyncio"
"""HYBRIDWS_LOOP=uvloop runs every async test on uvloop instead of asyncio's own loop."""

DIRECT: Final = os.environ.get("HYBRIDWS_DIRECT") != "0"
"""HYBRIDWS_DIRECT=0 leaves every connection to aiohttp: the fallback for when it changes under us."""

FRONT: Final = os.environ.get("HYBRIDWS_FRONT") == "1"
"""HYBRIDWS_FRONT=1 serves applications by our own runner, and so its front, where a test asks for no other."""


def mounting(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a mount in a run of this way."""
    return {**options} if DIRECT else {"direct": False, **options}
