"""Compares what no test noticed with the page that says why: tools/survivors.py FOLDER, after mutmut ran there.

A change is known by its function and its lines, written as `ast.unparse` writes them; so the page outlives what moves
or is laid out anew, and a change to such a line asks for a new look.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import Counter
from difflib import unified_diff
from pathlib import Path
from typing import Final, NamedTuple, cast

PAGE: Final = Path(__file__).resolve().parent.parent / "tests" / "mutants" / "SURVIVORS.md"
NOTICED: Final = frozenset((1, 3, 24, -24, 36, 152, 255))
"""Exit codes of mutmut: a test failed, pytest failed, or time was up, since the change goes round in circles."""

_SENTENCE: Final = re.compile(r"\w \w")
_FENCE: Final = re.compile(r"^```diff\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Change(NamedTuple):
    """One change that mutmut made."""

    where: str
    """File and function: `link.Link.confirm`."""
    lines: tuple[str, ...]
    """What was taken out, each line after a `-`, and what came instead, each after a `+`."""

    def __str__(self) -> str:
        """Write it as the page does."""
        return "\n".join((f"@@ {self.where}", *self.lines))


class _Wordless(ast.NodeTransformer):
    """Takes out of a function what it does nothing with: sentences, and what it says to the type checker."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        """Replace a text of several words."""
        return ast.Constant("…") if isinstance(node.value, str) and _SENTENCE.search(node.value) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace `cast(type, value)` by the value."""
        match node:
            case ast.Call(func=ast.Name("cast"), args=[_, value]):
                return cast("ast.AST", self.visit(value))
            case _:
                return self.generic_visit(node)


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """Return all functions and methods by name; those that mutmut writes have names of their own."""
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def compare(where: str, before: ast.FunctionDef, after: ast.FunctionDef) -> Change | None:
    """Tell what was changed in a function; None if it is only wording (`_Wordless`)."""
    for one in (before, after):
        one.name, one.decorator_list = where.rpartition(".")[2], []
    lines = list(unified_diff(ast.unparse(before).splitlines(), ast.unparse(after).splitlines(), n=0, lineterm=""))[2:]
    change = Change(where, tuple(line[0] + line[1:].strip() for line in lines if line[0] in "+-"))
    same = ast.unparse(_Wordless().visit(before)) == ast.unparse(_Wordless().visit(after))
    return None if same else change


def unnoticed(path: Path, codes: dict[str, int | None]) -> list[Change | None]:
    """Return what no test noticed in one file; None for each change of wording."""
    source = path.read_text("utf-8")
    found: list[Change | None] = []
    for name, code in codes.items():
        if code in NOTICED:
            continue
        made = functions(ast.parse(source))  # anew, since comparing takes words out
        own = name.rpartition(".")[2]
        original = own.partition("__mutmut_")[0]
        where = f"{path.stem}.{'.'.join(original.split('ǁ')[1:]) or original.removeprefix('x_')}"
        if code != 0:
            print(f"{where}: mutmut says {code} of {name}, which is neither noticed nor not")
        found.append(compare(where, made[f"{original}__mutmut_orig"], made[own]))
    return found


def listed(page: str) -> set[Change]:
    """Read the changes of a page: in its fences of diffs, each under a line `@@ file.function`."""
    found: set[Change] = set()
    for fence in _FENCE.findall(page):
        for entry in fence.split("@@ ")[1:]:
            where, *lines = entry.strip().splitlines()
            found.add(Change(where, tuple(lines)))
    return found


def main(place: str) -> int:
    """Say for each file what was noticed, and print what is missing in the page; 1 if anything is."""
    known = listed(PAGE.read_text("utf-8"))
    missing: list[Change] = []
    stale: list[Change] = []
    total: Counter[str] = Counter()
    for meta in sorted(Path(place, "mutants").rglob("*.py.meta")):
        path = meta.with_suffix("")
        codes: dict[str, int | None] = json.loads(meta.read_text("utf-8"))["exit_code_by_key"]
        found = unnoticed(path, codes)
        changes = [change for change in found if change is not None]
        new = [change for change in changes if change not in known]
        counts = {
            "changes": len(codes),
            "noticed": len(codes) - len(found),
            "of wording": len(found) - len(changes),
            "listed": len(changes) - len(new),
            "missing": len(new),
        }
        total.update(counts)
        missing += new
        stale += [change for change in known if change.where.startswith(f"{path.stem}.") and change not in changes]
        print(f"{path.stem}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
    print(f"In all: {', '.join(f'{count} {what}' for what, count in total.items())}")
    if stale:
        print(f"\nListed in {PAGE.name}, and noticed now or not tried:", *sorted(stale), sep="\n")
    if missing:
        print(f"\nNeeds a test, or a reason in {PAGE.name}:", *missing, sep="\n")
    return 1 if missing or not total["changes"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
