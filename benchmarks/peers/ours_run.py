"""hybridws, run by its own runner on asyncio's loop."""

from __future__ import annotations

import importlib
import sys
from typing import Literal

from benchmarks.peers.ours import application


def serve(loop: Literal["asyncio", "uvloop"], *, plain: bool = False) -> None:
    """Serve on the port that was named until the process is ended."""
    # By name, since an older version that is measured has none, and is then left out.
    run = importlib.import_module("hybridws").run
    run(application(plain=plain), host="127.0.0.1", port=int(sys.argv[1]), loop=loop)


if __name__ == "__main__":
    serve("asyncio")
