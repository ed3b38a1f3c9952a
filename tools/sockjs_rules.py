"""Lists the rules of docs/sockjs.md that no test carries, and the tests that carry a rule that is not there."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "sockjs.md"
TESTS: Final = ROOT / "tests" / "conformance"

_RULE: Final = re.compile(r"^- \*\*(S\d+\.\d+)\*\*", re.MULTILINE)


def carried(path: Path) -> Iterator[tuple[str, int]]:
    """Find the rules that a file's tests carry, `pytest.mark.rule("S1.1")`, each with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="mark"), attr="rule"), args=names):
                for name in names:
                    yield (str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name)), name.lineno
            case _:
                pass


def main() -> int:
    """Compare page and tests, and say what is missing; 1 if anything is."""
    listed = _RULE.findall(PAGE.read_text("utf-8"))
    faults = [
        f"{PAGE.name}: {name} is there twice" for name in sorted({name for name in listed if listed.count(name) > 1})
    ]
    tested: set[str] = set()
    for path in sorted(TESTS.glob("test_sockjs_*.py")):
        for name, line in carried(path):
            tested.add(name)
            if name not in listed:
                faults.append(f"{path.relative_to(ROOT)}:{line}: there is no rule {name}")
    faults += [f"{PAGE.name}: no test carries {name}" for name in listed if name not in tested]
    print("\n".join(faults) or f"All {len(listed)} rules of {PAGE.name} have a test.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
