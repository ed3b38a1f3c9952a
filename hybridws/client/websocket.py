"""How a WebSocket carries a client's session, beside what carries it until then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from hybridws.client.courier import NetworkFault, believe
from hybridws.client.watch import SILENCE
from hybridws.core import codes
from hybridws.core.codec import JSON
from hybridws.core.packets import Attach
from hybridws.errors import Malformed, TooLarge
from hybridws.transports.websocket import KINDS, Carrier

if TYPE_CHECKING:
    from hybridws.client.pilot import Pilot
    from hybridws.sockets import WebSocket


async def websocket(pilot: Pilot, proof: float) -> tuple[int, str]:
    """Carry over a WebSocket; return the code and reason with which it ended. Raises NetworkFault, Turned.

    What has carried the session until now goes on until the server has answered our attach, within `proof` seconds.
    """
    link = pilot.session.link
    kind = KINDS[link.codec.name]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(proof):
            socket = await pilot.courier.websocket(link.options.max_batch)
            try:
                attach = Attach(pilot.sid, pilot.key, pilot.next_n(), link.ackable, pilot.wishes())
                begun = loop.time()
                socket.send(kind.opcode, link.codec.dumps(attach, link.options))
                first = socket.listener = First(socket)
                socket.resume()
                data = await first.answer
                codec, answer = (JSON, data.encode()) if isinstance(data, str) else (link.codec, data)
                batch = believe(200, answer, codec, link.options)
                pilot.watch.measured(loop.time() - begun)
            except BaseException:
                socket.abort()
                raise
    except TimeoutError:
        raise NetworkFault(f"not answered within {proof:g} s") from None
    except (Malformed, TooLarge) as error:
        raise NetworkFault(f"closed before it was answered: {error}") from None
    carrier = Carrier(socket, pilot.session, kind, trial=False)
    seat, wake = carrier.seat, carrier.seat.wake

    def say() -> None:
        pilot.said()
        wake()

    seat.wake = say
    pilot.carried("websocket")
    over = asyncio.Event()
    carrier.at_end = lambda _carrier: over.set()
    carrier.begin(batch)
    try:
        await over.wait()
    finally:
        carrier.seat.cut("the client was closed")  # changes nothing where the seat is over
    code, reason = carrier.ended
    if code == codes.ABNORMAL and not reason:
        reason = seat.verdict[1]
        if not (reason.startswith(SILENCE) or seat.heard):
            pilot.watch.broke(loop.time())
    return code, reason


class First:
    """Waits for the first frame that a WebSocket brings; what comes after it waits until a carrier listens."""

    def __init__(self, socket: WebSocket) -> None:
        """Listen to it."""
        self._socket = socket
        self.answer: Final[asyncio.Future[str | bytes]] = asyncio.get_running_loop().create_future()

    def hear(self, data: str | bytes | None) -> None:
        """Take the first frame."""
        if data is not None and not self.answer.done():
            self._socket.pause()
            self.answer.set_result(data)

    def left(self, code: int, reason: str) -> None:
        """Fail: nothing will come."""
        if not self.answer.done():
            self.answer.set_exception(NetworkFault(f"closed before it was answered, with {code} {reason}".rstrip()))

    def room(self) -> None:
        """Do nothing: little is said here."""
