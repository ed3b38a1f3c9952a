"""The page for operators: its program runs, its table is what the metrics are, and its questions ask for them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from hybridws.observe.metrics import Metrics
from hybridws.observe.words import CODES, ENDS, LEAVINGS
from hybridws.options import Options
from hybridws.server import Server
from tests.client.ground import echo

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TABLE = re.findall(r"^\| `(hybridws_\w+)` \| (\w+)", PAGE, re.MULTILINE)
PARTS = ("_bucket", "_count", "_sum", "_total")


def offered() -> dict[str, str]:
    """Return the metrics that there are, by name as Prometheus knows it, and their types."""
    metrics, registry = Metrics(), CollectorRegistry()
    metrics.servers = [Server(echo, Options(), "/s")]
    registry.register(metrics)
    ending = {"counter": "_total"}
    return {family.name + ending.get(family.type, ""): family.type for family in registry.collect()}


def test_the_table_is_what_there_is() -> None:
    """Each metric has a row with its type, and each row a metric (two appear with the first session)."""
    there = offered() | {"hybridws_sessions": "gauge", "hybridws_attaches_total": "counter"}
    assert dict(TABLE) == there


def test_the_questions_ask_for_what_there_is() -> None:
    """Each name in a question is a metric of the table, and each label one of its labels."""
    questions = PAGE.partition("### The questions")[2].partition("## Logs")[0]
    known = {name for name, _ in TABLE}
    asked = set(re.findall(r"hybridws_\w+", questions))
    assert len(asked) > 15
    for name in asked:
        assert name in known or any(name.endswith(part) and name.removesuffix(part) in known for part in PARTS), name


def test_every_word_of_a_reason_is_explained() -> None:
    """No label has a value that the page does not name."""
    for word in sorted({word for _, word in LEAVINGS + ENDS} | set(CODES.values())):
        assert f"`{word}`" in PAGE, word


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_is_python(program: str) -> None:
    """Nothing is left to the imagination."""
    ast.parse(program)


def test_the_first_program_runs() -> None:
    """It mounts all there is."""
    namespace: dict[str, object] = {}
    exec(PROGRAMS[0], namespace)  # noqa: S102 - it is our own
    assert {"app", "admin"} <= set(namespace)
