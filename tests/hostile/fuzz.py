"""Fuzzes one decoder with atheris, guided by coverage: python -m tests.hostile.fuzz TARGET [libFuzzer's arguments].

`make fuzz` runs all of them, each for a while. What is found lies beside the corpus as crash-*; a test for it belongs
into hybridws/testing/hostile.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import atheris
except ImportError as error:
    sys.exit(f"atheris cannot be had here ({error}): pip install atheris; it has wheels for Linux and macOS")

with atheris.instrument_imports(include=["hybridws", "tests.hostile.targets"]):  # pyright: ignore[reportAttributeAccessIssue]
    from tests.hostile.targets import TARGETS

from tests.hostile.test_decoders import SEEDS


def main() -> None:
    """Fuzz until libFuzzer's arguments say that it is enough, or something is found."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"which target? One of {', '.join(TARGETS)}")
    name = sys.argv.pop(1)
    corpus = Path(".fuzz") / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup([*sys.argv, f"-artifact_prefix={corpus}/", str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
