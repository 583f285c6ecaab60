"""The order of the passes on functions: one tuple, a reason a line."""

from __future__ import annotations

import os
import time
from typing import Final

from jitgraph.ir.function import Function
from jitgraph.ir.verifier import verify
from jitgraph.passes.base import Options, Pass, Trace
from jitgraph.passes.decompose import decompose
from jitgraph.passes.simplify import simplify

PIPELINE: Final[tuple[Pass, ...]] = (
    Pass("simplify", "first, while log(softmax(x)) can still be seen", simplify),
    Pass("decompose", "softmax and friends become loops that fuse; late rules apply", decompose),
)

#: Checks every pass's result; the tests set it.
VERIFY: Final = "JITGRAPH_VERIFY"


def optimise(fn: Function, options: Options, trace: Trace | None = None) -> Function:
    """`fn` after every pass of the pipeline; `trace` receives each stage and its seconds."""
    checked = bool(os.environ.get(VERIFY))
    for step in PIPELINE:
        start = time.perf_counter()
        fn = step.run(fn, options)
        if trace is not None:
            trace.stages.append((step, fn, time.perf_counter() - start))
        if checked:
            verify(fn)
    return fn
