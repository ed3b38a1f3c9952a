"""hybridws, run by its own runner on uvloop, with a plain function as handler: its shortest way."""

from __future__ import annotations

from benchmarks.peers.ours_run import serve

if __name__ == "__main__":
    serve("uvloop", plain=True)
