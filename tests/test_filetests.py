"""Golden files: a function, and what a pass makes of it, in one `.jg` file.

    // pass: simplify algebra=real
    func @f(...) ...
    // => after rewrites: sub-zero, exp-log
    // func @f(...) ...

Below the arrow stands what the pass gives, as comments. `pytest --bless` writes it anew: look at
the diff. A file may hold several functions, each with its arrow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jitgraph.ir.function import Function
from jitgraph.ir.parser import parse
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options
from jitgraph.passes.decompose import decompose
from jitgraph.passes.pipeline import optimise
from jitgraph.passes.simplify import simplify

FILES = sorted((Path(__file__).parent / "filetests").glob("*.jg"))
PASSES: dict[str, Callable[[Function, Options], Function]] = {
    "simplify": simplify, "decompose": decompose, "optimise": optimise,
}  # fmt: skip
_DIRECTIVE = re.compile(r"// pass: (\w+)(?: algebra=(\w+))?")
_ARROW = "// =>"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_filetest(file: Path, bless: bool) -> None:
    text = file.read_text()
    got = expected(text)
    if bless:
        file.write_text(got)
    assert text == got or bless, f"{file.name} differs; if it should, run pytest --bless\n{got}"


def expected(text: str) -> str:
    """The text of a file test with every arrow as the pass gives it today."""
    first = text.splitlines()[0]
    directive = _DIRECTIVE.fullmatch(first)
    assert directive is not None, f"the first line must be '// pass: NAME', not {first!r}"
    run, algebra = PASSES[directive[1]], directive[2] or "real"
    parts = [first]
    for case in re.split(r"\n(?=\n)", text[len(first) :].strip("\n")):
        source = [line for line in case.split("\n") if not _is_output(line)]
        parts.append("\n".join(["", *[s for s in source if s], *outcome(source, run, algebra)]))
    return "\n".join(parts) + "\n"


def _is_output(line: str) -> bool:
    return line.startswith((_ARROW, "//   "))


def outcome(
    source: list[str], run: Callable[[Function, Options], Function], algebra: str
) -> list[str]:
    rules: list[str] = []
    fn = parse("\n".join(line for line in source if not line.startswith("//")))
    after = run(fn, Options(algebra, lambda r: rules.append(r.rule)))
    verify(after)
    assert parse(str(after)) == after
    used = ", ".join(dict.fromkeys(rules)) or "nothing"
    return [f"{_ARROW} by {used}", *(f"//   {line}" for line in str(after).splitlines())]
