"""The lossy wire: it does to two links what it is told, and what it is told to do is what networks do."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridws.core.codec import JSON, MSGPACK, Codec
from hybridws.core.link import State
from hybridws.core.packets import Close, Heartbeat
from hybridws.options import Options
from hybridws.testing import Wire
from hybridws.testing.peers import Kind, whole_packets
from hybridws.testing.wire import SIDES

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = get_args(Kind)
CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
EACH_NEXT = pytest.mark.parametrize("then", KINDS)


def talk(wire: Wire, count: int = 5) -> None:
    """Let both sides say a few more messages."""
    for _ in range(count):
        wire.client.send(f"up {len(wire.client.said)}")
        wire.server.send(f"down {len(wire.server.said)}")


def all_arrived(wire: Wire) -> bool:
    """Tell whether each application has got all that the other said."""
    return wire.server.got == wire.client.said and wire.client.got == wire.server.said


@CODECS
@EACH_KIND
def test_an_honest_wire_carries_all(codec: Codec, kind: Kind) -> None:
    """What both sides say arrives over each transport, before the attach and after it."""
    wire = Wire(codec)
    talk(wire)
    wire.attach(kind)
    wire.run()
    talk(wire)
    wire.settle(kind)
    wire.check()
    assert all_arrived(wire)


def test_nothing_moves_by_itself() -> None:
    """An attach is on its way until it is delivered, and so is each frame."""
    wire = Wire()
    wire.server.send("down")
    socket = wire.attach("websocket")
    assert (len(socket.up), socket.at_server, wire.host.seat) == (1, False, None)
    wire.deliver(socket, "server")
    assert wire.host.seat is socket
    assert not socket.down
    assert wire.write(socket, "server") == 1
    assert not wire.client.inbox
    wire.deliver(socket, "client")
    assert wire.client.take()
    assert wire.client.got == ["down"]
    with pytest.raises(IndexError):
        wire.deliver(socket, "client")


@CODECS
@EACH_KIND
@EACH_NEXT
@pytest.mark.parametrize("noticed", [(), ("client",), ("server",), ("client", "server")])
def test_a_cut_at_any_byte_loses_nothing(codec: Codec, kind: Kind, then: Kind, noticed: tuple[str, ...]) -> None:
    """Wherever a transport breaks, whoever notices, the next one of any kind makes it good."""
    for at in range(0, 240, 9):
        wire = Wire(codec)
        transport = wire.attach(kind)
        wire.run()
        talk(wire)
        wire.write(transport, "client")
        wire.write(transport, "server")
        wire.cut(transport, to_client=at, to_server=at, noticed=noticed)  # type: ignore[arg-type]
        wire.check()
        talk(wire)
        wire.write(transport, "server")
        wire.settle(then)
        assert all_arrived(wire)
        wire.check()


def test_a_cut_frame_does_not_arrive_and_a_cut_stream_does_in_part() -> None:
    """A WebSocket's frame arrives whole or not at all; of a stream the whole packets within the cut arrive."""
    for kind, at, count in (("websocket", 1, 0), ("websocket", 0, 3), ("stream", 5, 2), ("stream", 0, 3)):
        wire = Wire()
        transport = wire.attach(kind)  # type: ignore[arg-type]
        wire.run()
        for word in "abc":
            wire.server.send(word)
        wire.write(transport, "server")
        size = len(transport.down[0] or b"")
        wire.cut(transport, to_client=size - at)
        assert len(wire.client.inbox) == count, (kind, at)


@CODECS
def test_whole_packets_are_told_from_torn_ones(codec: Codec) -> None:
    """Of any part of a batch, those packets are taken that are in it whole."""
    options = Options()
    words = [codec.dumps(Close(1000, "bye"), options), codec.dumps(Heartbeat(), options)] * 2
    batch = codec.frames(words)[0].payload
    for at in range(len(batch)):
        whole = codec.loads(whole_packets(codec, batch[:at]), options)
        assert whole == codec.loads(batch, options)[: len(whole)]
    assert len(codec.loads(whole_packets(codec, batch[:-1]), options)) == 3


@EACH_KIND
def test_a_websocket_is_on_trial_while_another_transport_is_alive(kind: Kind) -> None:
    """Until the client has answered on it, the older transport goes on; then the older one ends."""
    wire = Wire()
    old = wire.attach(kind)
    wire.run()
    new = wire.attach("websocket")
    wire.deliver(new, "server")
    assert (wire.host.seat, wire.host.trial) == (old, new)
    wire.server.send("over the old one")
    assert wire.write(new, "server") == 1  # an ack, and nothing else
    wire.deliver(new, "client")
    assert not wire.client.inbox
    assert wire.write(old, "server") == 1
    wire.deliver(old, "client")
    assert len(wire.client.inbox) == 1
    wire.write(new, "client")
    wire.deliver(new, "server")
    assert (wire.host.seat, wire.host.trial) == (new, None)
    wire.run()
    assert not old.at_client


def test_late_bytes_of_an_old_transport_do_no_harm() -> None:
    """What an old stream still brings after a takeover is known already, or new, or ends that stream alone."""
    wire = Wire()
    old = wire.attach("stream")
    wire.run()
    wire.server.send("first")
    wire.write(old, "server")
    new = wire.attach("poll")
    wire.deliver(new, "server")
    wire.write(new, "server")
    wire.server.send("second")
    wire.deliver(new, "client")
    wire.deliver(old, "client")
    wire.check()
    wire.settle()
    assert all_arrived(wire)


def test_an_old_attach_is_refused() -> None:
    """A request that a proxy held back, or sends once more, cannot steal the session from a newer one."""
    wire = Wire()
    held = wire.attach("poll")
    seat = wire.attach("stream")
    wire.deliver(seat, "server")
    wire.deliver(held, "server")
    assert wire.host.seat is seat
    assert wire.server.faults == ["a newer transport has taken over"]
    again = wire.repeat(seat)
    wire.deliver(again, "server")
    assert wire.host.seat is again
    wire.settle()


def test_posts_overtake_are_lost_and_come_twice() -> None:
    """Whatever becomes of POSTs and their answers, each message arrives once and in order."""
    wire = Wire()
    wire.attach("stream")
    wire.run()
    for word in ("one", "two", "three"):
        wire.client.send(word)
        wire.post()
    wire.deliver_post(2)
    assert not wire.server.inbox
    wire.deliver_post(1, again=True)
    wire.deliver_post(0)
    assert [value for value, _ in wire.server.inbox] == ["one", "two", "three"]
    wire.answers.clear()
    wire.deliver_post(0)
    wire.check()
    wire.client.send("four")
    wire.post()
    wire.posts.clear()
    wire.post(afresh=True)
    wire.run()
    wire.settle("stream")
    assert all_arrived(wire)


@CODECS
@EACH_KIND
def test_a_close_comes_after_all_that_was_said(codec: Codec, kind: Kind) -> None:
    """The close is the last packet, and both links know of the end."""
    wire = Wire(codec)
    wire.attach(kind)
    wire.run()
    wire.client.send("last words")
    wire.client.close(3001, "bye")
    wire.settle(kind)
    assert wire.server.got == ["last words"]
    assert wire.server.others == [Close(3001, "bye")]
    assert (wire.client.link.state, wire.server.link.state) == (State.CLOSED, State.CLOSED)


def test_a_slow_application_slows_the_far_sender() -> None:
    """What an application does not take is not acked, and all arrives when it does."""
    wire = Wire(options=Options(buffer=4096, max_message=2048, max_batch=8192))
    wire.attach("websocket")
    wire.run()
    for number in range(100):
        wire.client.send(f"{number} " + "x" * 100)
        wire.run()
    assert wire.server.link.inbox_size <= 6144
    assert wire.client.link.full
    wire.settle()
    assert all_arrived(wire)


def break_order(wire: Wire) -> None:
    """Let two messages change places."""
    wire.server.inbox.rotate()


def break_once(wire: Wire) -> None:
    """Let a message come twice."""
    wire.server.inbox.append(wire.server.inbox[-1])


def break_gap(wire: Wire) -> None:
    """Lose a message in the middle."""
    del wire.server.inbox[1]


@pytest.mark.parametrize("harm", [break_order, break_once, break_gap])
def test_check_finds_what_is_wrong(harm: Callable[[Wire], None]) -> None:
    """A message that is lost, repeated or out of order is named."""
    wire = Wire()
    wire.attach("websocket")
    talk(wire, 3)
    wire.run()
    wire.check()
    harm(wire)
    with pytest.raises(AssertionError, match=r"message \d at the server is 'up \d'"):
        wire.check()


def test_links_that_never_settle_are_found() -> None:
    """A link that acks what never came makes `settle` fail with the state of both."""
    wire = Wire()
    wire.server.link.received = wire.server.link.ackable = 5
    wire.client.send("lost")
    with pytest.raises(AssertionError, match="does not arrive: <Wire <Link OPEN json, 1 unconfirmed of 1"):
        wire.settle()


def step(wire: Wire, data: st.DataObject) -> None:
    """Do one thing to one transport."""
    transport = data.draw(st.sampled_from(wire.transports))
    side = data.draw(st.sampled_from(SIDES))
    match data.draw(st.sampled_from(("write", "deliver", "deliver", "cut", "repeat"))):
        case "write":
            wire.write(transport, side, data.draw(st.integers(1, 500)))
        case "cut":
            room = st.integers(0, 200)
            noticed = data.draw(st.sets(st.sampled_from(SIDES)))
            wire.cut(transport, to_client=data.draw(room), to_server=data.draw(room), noticed=noticed)
        case "repeat":
            wire.repeat(transport)
        case _ if transport.up if side == "server" else transport.down:
            wire.deliver(transport, side)
        case _:
            pass


@settings(max_examples=150)
@given(data=st.data())
def test_the_promise_holds_whatever_the_wire_does(data: st.DataObject) -> None:
    """Any order of sends, attaches, losses, repeats and cuts, late bytes and unnoticed ends: once, and in order."""
    wire = Wire(data.draw(st.sampled_from((JSON, MSGPACK))), Options(buffer=2048, max_message=1024, max_batch=4096))
    for _ in range(data.draw(st.integers(0, 40))):
        match data.draw(
            st.sampled_from(("send", "attach", "attach", "post", "posted", "take", "step", "step", "step"))
        ):
            case "send":
                talk(wire, data.draw(st.integers(1, 3)))
            case "attach":
                wire.attach(data.draw(st.sampled_from(KINDS)))
            case "post":
                wire.post(afresh=data.draw(st.booleans()))
            case "posted" if wire.posts:
                wire.deliver_post(data.draw(st.integers(0, len(wire.posts) - 1)), again=data.draw(st.booleans()))
            case "take":
                wire.client.take()
                wire.server.take()
            case "step" if wire.transports:
                step(wire, data)
            case _:
                pass
        wire.check()
    wire.settle(data.draw(st.sampled_from(KINDS)))
    wire.check()
    assert all_arrived(wire)
