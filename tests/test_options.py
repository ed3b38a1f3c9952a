"""Options: every number has a default that works, and what cannot work is refused by name."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from hybridws import ANY_ORIGIN, ANY_ORIGIN_WITH_CREDENTIALS, Options
from hybridws.options import TRANSPORTS

NUMBERS = [field.name for field in fields(Options) if field.type in ("int", "float")]


def test_the_defaults_are_those_of_the_documents() -> None:
    """Nothing but the handler must be given, and SockJS's own names have SockJS's own defaults."""
    options = Options()
    assert options.origins is None
    assert (options.heartbeat_delay, options.disconnect_delay, options.response_limit) == (25, 5, 128 * 1024)
    assert (options.max_message, options.buffer, options.max_batch) == (256 * 1024, 2**20, 2**20 + 4096)
    assert (options.handler_grace, options.body_grace, options.body_rate) == (10, 10, 1024)
    assert (options.max_depth, options.max_elements, options.max_packets) == (32, 10_000, 10_000)
    assert (options.send_timeout, options.slow_grace, options.pong_timeout) == (120, 5, 10)
    assert (options.legacy, options.compress, options.jsessionid, options.payload) == (False, False, False, "text")


def test_options_do_not_change() -> None:
    """Sessions share them, and encoded bytes are shared by them."""
    options = Options()
    with pytest.raises(FrozenInstanceError):
        options.buffer = 1  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError, match="positional"):
        Options("*")  # type: ignore[call-arg]  # that too


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_must_be_above_zero(name: str) -> None:
    """Zero, a negative, a text, a bool or NaN is refused with the option's name and the value."""
    wrong: list[Any] = [0, -1, "5", None, True, float("nan"), [1]]
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{name} must be a number above 0, not ") as error:
            Options(**{name: value})
        assert repr(value) in str(error.value)


@pytest.mark.parametrize("name", [field.name for field in fields(Options) if field.type == "bool"])
def test_a_switch_is_on_or_off(name: str) -> None:
    """A text that says no would else be taken for yes."""
    wrong: list[Any] = ["no", "yes", 1, 0, None]
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{name} must be True or False, not {value!r}$"):
            Options(**{name: value})


def test_a_count_must_be_whole() -> None:
    """Half a byte, or infinitely many, is no limit."""
    wrong: list[Any] = [1.5, float("inf")]
    accepted: list[str] = []
    for name in [field.name for field in fields(Options) if field.type == "int"]:
        for value in wrong:
            try:
                Options(**{name: value})
            except ValueError as error:
                assert name in str(error)  # noqa: PT017 - all that were accepted are to be seen at once
            else:
                accepted.append(f"{name}={value}")
    assert accepted == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_message": 2**21},
        {"max_batch": 1_000},
        {"buffer": 1_000},
        {"max_batch": 2**22},
    ],
    ids=repr,
)
def test_message_batch_and_buffer_must_fit_each_other(wrong: dict[str, int]) -> None:
    """A batch holds a message, two buffers hold a batch; the error names all three, and what to raise."""
    with pytest.raises(ValueError, match=r"max_message <= max_batch <= 2 \* buffer"):
        Options(**wrong)  # type: ignore[arg-type]  # all of them are int


def test_larger_messages_by_option() -> None:
    """1 MiB and more is a matter of raising the three together."""
    assert Options(max_message=2**20).max_message == 2**20
    assert Options(max_message=8 * 2**20, max_batch=9 * 2**20, buffer=16 * 2**20).max_batch == 9 * 2**20


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"transports": ["websocket", "carrier-pigeon"]}, "carrier-pigeon"),
        ({"transports": "websocket"}, "transports"),
        ({"transports": []}, "name one at least"),
        ({"authenticate": "ada"}, "authenticate must be a function of a request and of what the client says"),
        ({"authenticate": len}, "authenticate must be a function"),
        ({"transports": ["jsonp-polling"]}, "legacy=True"),
        ({"transports": ["htmlfile", "websocket"]}, "legacy=True"),
        ({"max_packets": 3}, "max_packets must be 4 at least, not 3"),
        ({"payload": "xml"}, "payload"),
        ({"origins": "https://example.org"}, "origins must be a list"),
        ({"origins": "null"}, "origins must be a list"),
        ({"subprotocols": "chat"}, "subprotocols"),
        ({"trusted_proxies": "10.0.0.0/8"}, "trusted_proxies"),
    ],
    ids=repr,
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], why: str) -> None:
    """Unknown names, and a text where a list is meant, are errors at start, not silence in production."""
    with pytest.raises(ValueError, match=why):
        Options(**wrong)


def test_an_unknown_transport_is_answered_with_the_known_ones() -> None:
    """So that nobody has to look them up."""
    with pytest.raises(ValueError, match="websocket, xhr-streaming, eventsource, xhr-polling, htmlfile"):
        Options(transports=["ws"])


def test_a_name_that_is_no_option_is_a_type_error_that_names_it() -> None:
    """A slip of the pen does not pass for a default."""
    with pytest.raises(TypeError, match="hartbeat"):
        Options(hartbeat=1)  # type: ignore[call-arg]  # that is the point


def test_the_words_for_origins() -> None:
    """A list of any kind, None, or one of two words of which one is loud."""
    listed = ["https://example.org"]
    for origins in (None, (), listed, frozenset(listed), ANY_ORIGIN, ANY_ORIGIN_WITH_CREDENTIALS):
        assert Options(origins=origins).origins == origins
    assert ANY_ORIGIN == "*"
    assert "credentials" in ANY_ORIGIN_WITH_CREDENTIALS


def test_legacy_transports_are_offered_only_with_legacy() -> None:
    """None means all, but those for browsers of before 2012; a list means just what it says."""
    legacy = {"htmlfile", "jsonp-polling"}
    assert {name for name in TRANSPORTS if Options().offers(name)} == set(TRANSPORTS) - legacy
    assert {name for name in TRANSPORTS if Options(legacy=True).offers(name)} == set(TRANSPORTS)
    chosen = Options(transports=["websocket", "htmlfile"], legacy=True)
    assert {name for name in TRANSPORTS if chosen.offers(name)} == {"websocket", "htmlfile"}


def test_an_option_that_there_is_not_is_named_with_the_nearest() -> None:
    """A slip of the pen is told at start."""
    assert Options.read({"resume": 3.0}).resume == 3
    with pytest.raises(ValueError, match=r"there is no option 'resumee'; did you mean 'resume'\?"):
        Options.read({"resumee": 3})
    with pytest.raises(ValueError, match=r"there is no option 'colour'$"):
        Options.read({"colour": "green"})
