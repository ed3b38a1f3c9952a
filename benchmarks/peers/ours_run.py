"""hybridws, run by its own runner."""

from __future__ import annotations

import sys

import hybridws
from benchmarks.peers.ours import application

if __name__ == "__main__":
    hybridws.run(application(), host="127.0.0.1", port=int(sys.argv[1]))
