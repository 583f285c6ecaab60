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
from jitgraph.ir.schedule_text import print_program
from jitgraph.ir.verifier import verify
from jitgraph.passes.autodiff import gradients
from jitgraph.passes.base import Options
from jitgraph.passes.decompose import decompose
from jitgraph.passes.pipeline import optimise
from jitgraph.passes.schedule import schedule
from jitgraph.passes.simplify import simplify
from jitgraph.passes.specialise import specialise

FILES = sorted((Path(__file__).parent / "filetests").glob("*.jg"))


def specialised(fn: Function, options: Options) -> Function:
    """The variant for inputs whose unknown extents are not 1."""
    return specialise(fn, tuple((False,) * p.ndim for p in fn.params))


def differentiated(fn: Function, options: Options) -> Function:
    """The gradient of the first result by every parameter, simplified."""
    found = gradients(fn.results[0], [p for p in fn.params if p.type.is_continuous])
    return simplify(Function(fn.params, [g for g in found if g is not None], name=fn.name), options)


def scheduled(fn: Function, options: Options) -> str:
    """The program: kernels, products, buffers."""
    optimised = optimise(specialised(fn, options), options)
    return print_program(schedule(optimised, ["C"] * len(fn.params)))


PASSES: dict[str, Callable[[Function, Options], Function | str]] = {
    "specialise": specialised,
    "simplify": simplify,
    "autodiff": differentiated,
    "decompose": decompose,
    "optimise": optimise,
    "schedule": scheduled,
}
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
    source: list[str], run: Callable[[Function, Options], Function | str], algebra: str
) -> list[str]:
    rules: list[str] = []
    fn = parse("\n".join(line for line in source if not line.startswith("//")))
    after = run(fn, Options(algebra, lambda r: rules.append(r.rule)))
    if isinstance(after, Function):
        verify(after)
        assert parse(str(after)) == after
    used = ", ".join(dict.fromkeys(rules)) or "nothing"
    return [f"{_ARROW} by {used}", *(f"//   {line}" for line in str(after).splitlines())]
