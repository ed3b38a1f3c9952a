"""The browser's scripts that belong to this server: `PREFIX/hybridws.js` and its kin (docs/protocol.md §3)."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from hybridws import assets
from hybridws.endpoints.faults import Missing
from hybridws.endpoints.routes import Route, Visit, at
from hybridws.gate import Risk

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = "static/dist"
SCRIPT: Final = {"Content-Type": "text/javascript; charset=utf-8"}
MAP: Final = {"Content-Type": "application/json"}
ASK: Final = {"Cache-Control": "public, no-cache"}
"""Under its plain name a script may be kept, but the server is asked each time whether it is still the newest."""
KEEP: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Under a name with its hash it never changes: a year (RFC 8246)."""
VARYING: Final = {"Vary": "Origin, Accept-Encoding"}
MARK: Final = 12
"""Characters of the hash in a name: enough to tell the versions of one file apart."""


CODINGS: Final = {"br": ".br", "gzip": ".gz"}
"""Content codings, the smallest first, and how the files end that the wheel holds packed already."""


class Copy(NamedTuple):
    """One file as it travels: plain, and in each coding that there is."""

    plain: bytes
    packed: dict[str, bytes]
    digest: str


@lru_cache(maxsize=32)
def _copy(path: Path, _changed: int) -> Copy:
    plain = path.read_bytes()
    beside = {coding: path.with_name(path.name + ending) for coding, ending in CODINGS.items()}
    packed = {coding: file.read_bytes() for coding, file in beside.items() if file.is_file()}
    packed.setdefault(
        "gzip", gzip.compress(plain, mtime=0)
    )  # in a checkout nothing is packed, and brotli is no part of Python
    return Copy(plain, packed, hashlib.sha256(plain).hexdigest())


def _coding(copy: Copy, accepted: str) -> str:
    """Choose a coding by Accept-Encoding (RFC 9110 §12.5.3): the smallest that is named, and not with a weight of 0."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        weights[name] = weight.strip("0.") != "" if weight else True
    return next((coding for coding in CODINGS if coding in copy.packed and weights.get(coding)), "")


def read(name: str) -> Copy:
    """Read a file of static/dist, compress it once, and keep it until it changes. Raises FileNotFoundError."""
    path = assets.find(f"{FOLDER}/{name}")
    return _copy(path, path.stat().st_mtime_ns)


def versioned(name: str) -> str:
    """Return the name under which a script may be cached for ever: `hybridws.js` becomes `hybridws-0123456789ab.js`."""
    stem, _, ending = name.partition(".")
    return f"{stem}-{read(name).digest[:MARK]}.{ending}"


async def _serve(visit: Visit) -> None:
    stem, mark, ending = visit.names["stem"], visit.names["mark"], visit.names["ending"]
    try:
        copy = read(f"{stem}.{ending}")
    except FileNotFoundError as missing:
        raise Missing(str(missing)) from None
    if mark and not copy.digest.startswith(mark):
        raise Missing("this version of the script is not the one that belongs to this server")
    coding = _coding(copy, visit.request.headers.get("Accept-Encoding", ""))
    etag = f'"{copy.digest[:32]}{coding and "-"}{coding}"'  # RFC 9110 §8.8.3.3: one for each coding
    headers = {**(KEEP if mark else ASK), **VARYING, "ETag": etag}
    if etag in visit.request.headers.get("If-None-Match", ""):
        visit.answer(304, b"", headers)
        return
    encoded = {"Content-Encoding": coding} if coding else {}
    content_type = MAP if ending.endswith("map") else SCRIPT
    visit.answer(200, copy.packed[coding] if coding else copy.plain, headers, encoded, content_type)


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        at(r"/(?P<stem>hybridws|sockjs|msgpack)(?:-(?P<mark>[0-9a-f]{12}))?\.(?P<ending>m?js(?:\.map)?)"),
        {"GET": _serve},
        Risk.READS,
    ),
)
