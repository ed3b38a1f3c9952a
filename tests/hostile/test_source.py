"""What the source must not hold: ways by which data becomes code."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

import hybridws

ROOT: Final = Path(hybridws.__file__).parent
BANNED_MODULES: Final = frozenset(("pickle", "marshal", "shelve", "dill", "yaml", "jsonpickle"))
BANNED_CALLS: Final = frozenset(("eval", "exec", "compile", "__import__"))


def banned(tree: ast.AST) -> list[str]:
    """Find imports and calls that turn data into code."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in BANNED_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in BANNED_MODULES:
            found.append(node.module or "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
            found.append(node.func.id)
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_data_never_becomes_code(path: Path) -> None:
    """No pickle, no eval, no YAML (CVE-2025-61765): what comes over a wire is JSON or msgpack and stays data."""
    assert banned(ast.parse(path.read_text())) == []


def test_the_search_finds_something() -> None:
    """It is not blind."""
    assert banned(ast.parse("import pickle\nfrom yaml import load\neval('1')")) == ["pickle", "yaml", "eval"]
