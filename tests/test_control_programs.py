"""Random programs with loops and branches: every meaning of them is the same."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from jitgraph.ir import interpreter
from jitgraph.ir.parser import parse
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options
from jitgraph.passes.pipeline import optimise
from tests.native import assert_close, coarsest, compiled
from tests.strategies import EVERY_DTYPE, Program, functions
from tests.test_programs import SETTINGS, laid_out

#: Each compiles loops: fewer than elsewhere.
EXAMPLES = 12 * (10 if os.environ.get("JITGRAPH_LONG") else 1)


@settings(SETTINGS, max_examples=EXAMPLES)
@given(functions(benign=True, dtypes=EVERY_DTYPE, control=True, max_steps=6), st.data())
def test_every_meaning_of_a_program_with_regions(program: Program, data: st.DataObject) -> None:
    fn, algebra = program.function, data.draw(st.sampled_from(["ieee", "real"]))
    want = interpreter.run(fn, program.inputs())
    again = parse(str(fn))
    assert str(again) == str(fn)
    best = optimise(again, Options(algebra))
    verify(best)
    inputs = [laid_out(a, data.draw(st.integers(0, 3))) for a in program.inputs()]
    native = compiled(fn, algebra, arrays=inputs)
    for found in (interpreter.run(best, program.inputs()), native(*inputs) or []):
        for g, w in zip(found, want, strict=True):
            assert_close(g, w, program, 10 * coarsest(fn))
