"""hybridws, run by its own runner."""

from __future__ import annotations

import importlib
import sys

from benchmarks.peers.ours import application

if __name__ == "__main__":
    # By name, since an older version that is measured has none, and is then left out.
    importlib.import_module("hybridws").run(application(), host="127.0.0.1", port=int(sys.argv[1]))
