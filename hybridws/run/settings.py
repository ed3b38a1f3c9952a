"""What a runner may be told: where it listens, and every number with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal

from hybridws.errors import HybridError

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

MAX_PORT: Final = 65535
LOOPS: Final = ("auto", "asyncio", "uvloop")
LOG_LEVELS: Final = ("critical", "error", "warning", "info", "debug")


class CannotServe(HybridError):
    """The application cannot be served; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `run` and `serve` may be told. Times are in seconds."""

    # Where
    host: str = "127.0.0.1"
    """The address to listen on; this machine alone unless told otherwise. Empty: all addresses."""
    port: int = 8080
    """0 is any free one."""
    path: str | Path | None = None
    """A unix socket to listen on instead of host and port, for a proxy on the same machine."""
    reuse_port: bool = False
    """Let several processes listen on one port (SO_REUSEPORT), so that a new one can start before the old one stops."""
    backlog: int = 1024
    """Connections that may wait to be accepted: after a cut, all clients of a process come back at once."""

    # TLS
    ssl_context: ssl.SSLContext | None = None
    """Speak TLS in this way; or name the files:"""
    certfile: str | Path | None = None
    """The certificate and those that it hangs on, in PEM."""
    keyfile: str | Path | None = None
    """Its private key, in PEM; None if it stands in `certfile`."""

    # How long
    keepalive_timeout: float = 75.0
    """An idle connection is kept so long, and a request's head may take so long: longer than most proxies keep theirs,
    so that it is they who hang up."""
    shutdown_timeout: float = 9.0
    """From the signal to the end: those who send it (Docker, a service manager) kill after 10 s or more."""

    # The process (for `run` alone)
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    """`auto` is uvloop where it is installed (`pip install 'hybridws[fast]'`)."""
    log_level: Literal["critical", "error", "warning", "info", "debug"] = "info"
    """What is shown on stderr where the program has not set up logging itself."""
    access_log: bool = False
    """Log each request (`aiohttp.access`): the addresses of polls say little, and there are many."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, with the name and value of what is wrong (ValueError)."""
        if not _whole(self.port) or not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"port must be a whole number from 0 to {MAX_PORT}, not {self.port!r}")
        if not _whole(self.backlog) or self.backlog < 1:
            raise ValueError(f"backlog must be a whole number above 0, not {self.backlog!r}")
        for name in ("keepalive_timeout", "shutdown_timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{name} must be a number above 0, not {value!r}")
        for name, words in (("loop", LOOPS), ("log_level", LOG_LEVELS)):
            if getattr(self, name) not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}")
        if self.keyfile and not self.certfile:
            raise ValueError("keyfile needs a certfile beside it")
        if self.ssl_context and self.certfile:
            raise ValueError("give ssl_context or certfile, not both")

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken."""
        return bool(self.ssl_context or self.certfile)

    @property
    def local(self) -> bool:
        """Whether only programs of this machine reach it, and without a proxy."""
        if self.path is not None:
            return False  # a unix socket is for a proxy
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def _whole(value: Any) -> bool:  # noqa: ANN401 - whatever was given
    return isinstance(value, int) and not isinstance(value, bool)
