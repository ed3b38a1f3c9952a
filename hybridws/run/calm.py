"""What aiohttp's server logs: a request that is no HTTP is its client's fault, and worth a line, not a traceback."""

from __future__ import annotations

import logging
import time
from typing import Final

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from hybridws.refusals import MAX_LOGGED, MINUTE, Quota, one_line

NAME: Final = "aiohttp.server.hybridws"
"""A child of the logger that aiohttp takes by itself, so that its level and handlers hold."""


def calm_logger() -> logging.Logger:
    """Return the logger to give to aiohttp's server."""
    logger = logging.getLogger(NAME)
    if not any(isinstance(one, Calm) for one in logger.filters):
        logger.addFilter(Calm())
    return logger


class Calm(logging.Filter):
    """Turns the record of a broken request into one quiet line, and lets so many of them through."""

    def __init__(self) -> None:
        """Start with none."""
        super().__init__()
        self._quota = Quota()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass, changed if it tells of what a client did wrong."""
        fault = record.exc_info[1] if record.exc_info else None
        if not isinstance(fault, HttpProcessingError | ClientError | web.RequestPayloadError):
            return True
        passes, kept = self._quota.ask(time.monotonic())
        if not passes:
            return False
        more = f" ({kept} more in the last {MINUTE:.0f} s, without a line each)" if kept else ""
        address = record.args[0] if isinstance(record.args, tuple) and record.args else "?"
        words = " ".join(str(fault).split())
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "refused (bad_http): from %s: %s%s", (address, one_line(words)[:MAX_LOGGED], more)
        record.exc_info = record.exc_text = None
        return True
