"""The page of ops says what the declarations say."""

from __future__ import annotations

from pathlib import Path

from jitgraph.ir.opdef import OPS
from jitgraph.reference import reference

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ops.md"


def facts(page: str) -> list[list[str]]:
    """Op, kind, dtypes, gradient: not the meaning, which may be the words of another NumPy."""
    return [line.split(" | ")[:4] for line in page.splitlines() if line.startswith("| `")]


def test_the_page_is_up_to_date() -> None:
    told = "run: python -m jitgraph.reference > docs/ops.md"
    assert facts(PAGE.read_text()) == facts(reference()), told


def test_every_op_says_what_it_means() -> None:
    assert [name for name, definition in OPS.items() if not definition.doc] == []
