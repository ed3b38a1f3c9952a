"""The lines that tools/guards and tools/mutants change are still there: those run for minutes, this always."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
PATCHES: Final = sorted([*HERE.glob("guards/*.patch"), *HERE.glob("mutants/*.patch")])


@pytest.mark.parametrize("patch", [pytest.param(patch, id=f"{patch.parent.name}-{patch.stem}") for patch in PATCHES])
def test_patch_applies(patch: Path) -> None:
    """Each hunk finds its lines, once, in the file that it names."""
    text, hunks = "", 0
    for part in patch.read_text().split("\n@@ "):
        head, _, body = part.partition("\n")
        if "--- a/" in part:
            text = (ROOT / part.split("--- a/", 1)[1].split("\n", 1)[0].split("\t", 1)[0]).read_text()
            continue
        old = [line[1:] for line in body.split("\n") if line[:1] in {" ", "-"} and not line.startswith("--- ")]
        hunks += 1
        assert text.count("\n".join(old)) == 1, f"{patch.name}: {head}"
    assert hunks
