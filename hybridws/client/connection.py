"""What a Python client holds in its hands: the session's message API, whatever happens to sessions and transports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from random import random
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import aiohttp

from hybridws.client.courier import Courier, Turned, address_of
from hybridws.client.news import Event, Info
from hybridws.client.opening import CODECS, Bid, NothingShared
from hybridws.client.pilot import Lost, Pilot
from hybridws.core import codes
from hybridws.errors import HybridError, SessionClosed
from hybridws.session import Closed

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from hybridws.dock import Stay
    from hybridws.session import Session

log = logging.getLogger("hybridws")

ORDER: Final = ("websocket", "stream", "poll")
MANY_RESETS: Final = 3
"""Sessions lost within ..."""
RESETS_SPAN: Final = 60.0
"""... so many seconds mean that something is wrong on the server's side (several processes without stickiness) ..."""
RESETS_PAUSE: Final = 20.0
"""... so the client waits about this long before it opens another, and says so."""


class CannotConnect(HybridError):
    """No session could be opened: the server refused, or nobody answered in time."""

    def __init__(self, text: str, code: int | None = None) -> None:
        """Say why; `code` is that of the server's refusal, None where no server has answered."""
        super().__init__(text)
        self.code = code


def connect(  # noqa: PLR0913 - each is a thing that a user may have to set
    url: str,
    *,
    transports: Iterable[str] = ORDER,
    codec: Literal["json", "msgpack"] = "json",
    auth: object = None,
    first: Iterable[object] = (),
    onlost: Literal["close", "reopen"] = "close",
    on_event: Callable[[Event], None] | None = None,
    open_timeout: float = 20.0,
    close_timeout: float = 5.0,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | None = None,
    proxy: str | None = None,
    trust_env: bool = False,
    ssl: tls.SSLContext | bool = True,
) -> Connection:
    """Make a connection to a mount of hybridws; `async with` opens it and gives what one sends and receives by.

    `transports`: those that may be used, the best first (`websocket`, `stream`, `poll`). `codec`: `json`, or `msgpack`
    for much binary data. `auth`: what `authenticate` on the server is given; a function, plain or async, is asked anew
    whenever it is needed. `first`: messages to send with the opening itself. `onlost`: whether a session that was
    lost (4404, 1006), or ended by a server that restarts (1012), closes the connection or is replaced by a new one;
    what the old one has not delivered is told by the event `reset`, and `send` and `request` wait for the new one.
    `on_event` hears of every turn (`Event`).
    Headers, cookies, TLS (`ssl`) and proxies (`proxy="http://user:password@host:port"`, or with `trust_env` those of
    the environment) are aiohttp's. Times are in seconds. Raises ValueError for what cannot work.
    """
    address_of(url)
    _check_arguments({"open_timeout": open_timeout, "close_timeout": close_timeout}, first, on_event)
    if isinstance(transports, str):
        raise ValueError(f"transports must be a list, not the text {transports!r}")  # noqa: TRY004 - as for all
    order = tuple(transports)
    if not order or set(order) - set(ORDER) or len(set(order)) != len(order):
        raise ValueError(f"transports must be some of {', '.join(ORDER)}, not {order!r}")
    if codec not in CODECS:
        raise ValueError(f"the codec is one of {', '.join(CODECS)}, not {codec!r}")
    if onlost not in ("close", "reopen"):
        raise ValueError(f'onlost is "close" or "reopen", not {onlost!r}')
    settings = Settings(
        url=url,
        bid=Bid(order, codec, auth),
        first=list(first),
        reopen=onlost == "reopen",
        on_event=on_event,
        open_timeout=open_timeout,
        close_timeout=close_timeout,
        http={"headers": headers, "cookies": cookies, "trust_env": trust_env},
        request={"proxy": proxy, "ssl": ssl},
    )
    return Connection(settings)


def _check_arguments(times: Mapping[str, object], first: object, on_event: object) -> None:
    """Raise ValueError for what would fail later, far from its cause."""
    for name, seconds in times.items():
        if isinstance(seconds, bool) or not (isinstance(seconds, int | float) and seconds > 0):
            raise ValueError(f"{name} must be a number of seconds above 0, not {seconds!r}")
    if isinstance(first, str | bytes):
        raise ValueError(f"first must be a list of messages, not the one message {first!r}")  # noqa: TRY004 - as the others
    if on_event is not None and not callable(on_event):
        raise ValueError(f"on_event must be a function of an event, not {on_event!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `connect` was told."""

    url: str
    bid: Bid
    first: list[object]
    reopen: bool
    on_event: Callable[[Event], None] | None
    open_timeout: float
    close_timeout: float
    http: dict[str, Any]
    request: dict[str, Any]


class Connection:
    """A session with a server, as its client sees it. Use it with `async with`.

    The message API is that of `hybridws.Session` on the server: `async for`, `send`, `send_nowait`, `request`,
    `on_request`, `close`, `closed`, `transport`, `unacked` ...
    """

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is connected before `async with`."""
        self.info: Final = Info()
        """What was tried, and what was learned."""
        self._closed: Closed | None = None
        self._settings: Final = settings
        self._http: aiohttp.ClientSession | None = None
        self._courier: Courier | None = None
        self._pilot: Pilot | None = None
        self._mover: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._answerer: Callable[[Any], Awaitable[object]] | None = None
        self._lost_at: Final[deque[float]] = deque(maxlen=MANY_RESETS)
        self._parting: Closed | None = None
        """How the application has closed it; between two sessions there is nobody to tell."""
        self._left: Final = asyncio.Event()

    def __repr__(self) -> str:
        """Tell how it stands."""
        return f"<Connection to {self._settings.url}: {self._pilot.session if self._pilot else 'not open'}>"

    async def __aenter__(self) -> Self:
        """Open a session. Raises CannotConnect."""
        if self._http:
            raise RuntimeError("this connection was opened before: call `connect` for another")
        settings = self._settings
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), **settings.http)
        try:
            self._courier = Courier(self._http, settings.url, settings.request)
            await self._open(settings.first)
        except BaseException:
            await self._http.close()
            raise
        self._mover = asyncio.get_running_loop().create_task(self._move())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the session, wait for the server to know it, at most `close_timeout`, and give everything back."""
        await self.close()
        if self._mover:
            await asyncio.wait([self._mover], timeout=self._settings.close_timeout)
            self._mover.cancel()
            await asyncio.gather(self._mover, return_exceptions=True)
            self._end(self._parting or Closed(codes.ABNORMAL, "", "network"))  # if it was cancelled: somebody may wait
        if self._courier:
            await self._courier.close()
        if self._http:
            await self._http.close()

    # ── the session's life ────────────────────────────────────────────────────────────────────────────────────────

    async def _open(self, first: list[object]) -> None:
        settings = self._settings
        self._tell(Event("connecting", None, settings.url))
        if self._courier is None:
            raise RuntimeError("use the connection with `async with`")
        pilot = Pilot(self._courier, settings.bid, self.info, self._tell)
        try:
            session = await pilot.open(first, settings.open_timeout)
        except TimeoutError:
            why = next((attempt.failure for attempt in reversed(self.info.attempts) if attempt.failure), "no answer")
            raise CannotConnect(
                f"no session at {settings.url} within {settings.open_timeout:g} s (open_timeout): {why}"
            ) from None
        except Turned as turned:
            raise CannotConnect(f"{settings.url} refused with {turned.code}: {turned.reason}", turned.code) from None
        except NothingShared as error:
            raise CannotConnect(f"no session at {settings.url}: {error}") from None
        if self._answerer:
            session.on_request(self._answerer)
        self._pilot = pilot
        self._tell(Event("open", None, "the server has made a session"))
        self._wake()

    async def _move(self) -> None:
        """Carry session after session, until one ends in order, or is lost and shall not be replaced."""
        while True:
            pilot = self._here()
            try:
                await pilot.move()
            except Lost as lost:
                if not await self._replace(pilot, lost):
                    return
            except Exception as error:
                log.exception("the client of %s failed", self._settings.url)
                pilot.session.lose(codes.ABNORMAL, f"the client failed: {error}")
                self._end(pilot.session.closed or Closed(codes.ABNORMAL, "", "network"))
                return
            else:
                closed = pilot.session.closed or Closed(codes.ABNORMAL, "", "network")
                if not (self._restarts(closed) and await self._replace(pilot, Lost(closed.reason, closed.code))):
                    self._end(closed)
                    return

    def _restarts(self, closed: Closed) -> bool:
        """Tell whether the server has said that another takes its place, and we are to go on there."""
        return self._settings.reopen and closed.code == codes.RESTARTING and closed.by != "local"

    async def _replace(self, pilot: Pilot, lost: Lost) -> bool:
        """Deal with a lost session; tell whether there is a new one."""
        session, reason = pilot.session, str(lost)
        unacked = tuple(session.unacked)
        self.info.resets += 1
        session.lose(lost.code, reason)
        pause = self._pause() if self._settings.reopen else 0.0
        if pause:
            reason += f"; this was lost session {MANY_RESETS} within a minute, so the next is opened in {pause:.0f} s"
            log.warning("%s: %s", self._settings.url, reason)
        self._tell(Event("reset", session.transport, reason, unacked))
        if not self._settings.reopen:
            self._end(Closed(lost.code, reason, "network"))
            return False
        if pause:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._left.wait()
        try:
            if self._parting is None:
                await self._open([])
        except CannotConnect as error:
            self._end(Closed(codes.NO_SESSION, str(error), "network"))
            return False
        if self._parting is None:
            return True
        if self.session is session:
            self._end(self._parting)
            return False
        await self.session.close(*self._parting[:2])  # it was opened while the application left
        return True

    def _pause(self) -> float:
        """Note that a session was lost; return the seconds to wait before the next, if these are too many."""
        now = time.monotonic()
        self._lost_at.append(now)
        if len(self._lost_at) < MANY_RESETS or now - self._lost_at[0] >= RESETS_SPAN:
            return 0.0
        return RESETS_PAUSE * (0.75 + random() / 2)  # noqa: S311 - jitter: others were lost with us

    def _end(self, closed: Closed) -> None:
        if self._closed:
            return
        self._closed = closed
        self._tell(Event("closed", self.transport, closed.reason or f"closed with {closed.code}"))
        self._wake()

    def _wake(self) -> None:
        """Let everybody look who waits for a new session, or for the end."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _tell(self, event: Event) -> None:
        if not self._settings.on_event:
            return
        try:
            self._settings.on_event(event)
        except Exception:
            log.exception("on_event failed at %r", event)

    def _here(self) -> Pilot:
        if self._pilot is None:
            raise RuntimeError("use the connection with `async with`")
        return self._pilot

    @property
    def session(self) -> Session:
        """The session that is open now."""
        return self._here().session

    # ── the message API ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def id(self) -> str:
        """The session's id, as the server logs it."""
        return self.session.id

    @property
    def closed(self) -> Closed | None:
        """How the connection ended; None while it goes on."""
        if self._closed or self._pilot is None:
            return self._closed
        closed = self._pilot.session.closed  # which tells as soon as iteration ends; our own word follows
        follows = closed and self._settings.reopen and (closed.by == "network" or self._restarts(closed))
        return None if follows else closed

    @property
    def transport(self) -> str | None:
        """The transport in use, or the last one: `websocket`, `stream` or `poll`; None until one has shown itself."""
        return self._pilot.session.transport if self._pilot else None

    @property
    def transports(self) -> list[Stay]:
        """The transports so far, with times and why each ended."""
        return self.session.transports

    @property
    def state(self) -> dict[Any, Any]:
        """The application's own."""
        return self.session.state

    @property
    def opened_at(self) -> float:
        """When the session was opened, in seconds since the epoch."""
        return self.session.opened_at

    @property
    def online(self) -> bool:
        """Whether a transport carries the session at this moment."""
        return self._pilot is not None and self.closed is None and self.session.seat is not None

    @property
    def unacked(self) -> list[object]:
        """The messages that the server has not confirmed, oldest first."""
        return self.session.unacked

    @property
    def skipped(self) -> int:
        """Messages that a slow-consumer policy of the server's dropped."""
        return self.session.skipped

    def __aiter__(self) -> Self:
        """Receive messages until the connection ends; with `onlost="reopen"` across sessions."""
        aiter(self.session)  # which refuses a second reader
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a message is str, bytes or any JSON value
        """Wait for the next message. Cancelling is safe: nothing is lost."""
        while True:
            session = self.session
            with suppress(StopAsyncIteration):
                return await anext(session)
            while self.closed is None and self.session is session:
                await self._news.wait()
            if self.session is session:
                raise StopAsyncIteration

    async def send(self, message: object) -> None:
        """Send text, bytes or a JSON value; see `Session.send`. Between two sessions it waits for the next."""
        while True:
            session = await self._next_session()
            try:
                await session.send(message)
            except SessionClosed:  # then nothing was sent
                if self.closed or self._parting:
                    raise
            else:
                return

    def send_nowait(self, message: object) -> None:
        """Send without waiting; see `Session.send_nowait`."""
        self.session.send_nowait(message)

    async def request(self, value: object, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - a value; the API
        """Send a request and wait for its answer; see `Session.request`. Between two sessions it waits for the next.

        One whose session is lost before the answer has come fails with SessionClosed: it may have been dealt with.
        """
        async with asyncio.timeout(timeout):
            session = await self._next_session()
            return await session.request(value)

    async def _next_session(self) -> Session:
        """Return the session that is open; one that has ended, if no other follows."""
        while self.session.closed and not (self.closed or self._parting):
            await self._news.wait()
        return self.session

    def on_request(self, answerer: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
        """Let `answerer(value)` answer the server's requests; see `Session.on_request`."""
        self._answerer = answerer
        if self._pilot:
            self.session.on_request(answerer)
        return answerer

    def network_changed(self) -> None:
        """Forget what was learned of the network, and try the best transport at once: for whoever hears of a change."""
        self._here().network_changed()

    @property
    def resumed(self) -> Awaitable[None]:
        """Await it to wait until a transport carries the session (at once, if one does). Raises SessionClosed."""
        return self.session.resumed

    async def close(self, code: int = codes.NORMAL, reason: str = "") -> None:
        """End the session after all that was sent so far; see `Session.close`."""
        if self._pilot:
            await self.session.close(code, reason)
            self._parting = self._parting or Closed(code, reason, "local")
            self._left.set()
            self._wake()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended and the server was told, or cannot be told."""
        if self._mover:
            await asyncio.wait([self._mover])
