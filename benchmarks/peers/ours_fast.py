"""hybridws, run by its own runner on uvloop, as `hybridws serve` does where `hybridws[fast]` is installed."""

from __future__ import annotations

from benchmarks.peers.ours_run import serve

if __name__ == "__main__":
    serve("uvloop")
