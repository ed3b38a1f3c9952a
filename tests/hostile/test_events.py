"""Event streams: whatever a frame holds is data of one event, and begins no field of its own (CVE-2026-22735)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from hybridws.transports.downlinks import DOWNLINKS

EVIL = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"\n\n",
    b"\r\rdata: x",
    b"\nid: 1",
    b"\nevent: close\n",
    b"\nretry: 1",
    b"%",
    b"%0A",
    b":",
]


@given(st.lists(st.sampled_from(EVIL) | st.binary(max_size=8), max_size=8).map(b"".join))
def test_a_frame_is_one_event(payload: bytes) -> None:
    """A reader of the HTML standard (§9.2.6) finds one event with one line of data, which holds all that was said."""
    written = DOWNLINKS["eventsource"].wrap(payload, "")
    lines = re.split(rb"\r\n|\r|\n", written)
    assert lines[1:] == [b"", b""]
    assert b"\0" not in written
    assert lines[0].startswith(b"data: ")
    assert unquote_to_bytes(lines[0].removeprefix(b"data: ")) == payload
