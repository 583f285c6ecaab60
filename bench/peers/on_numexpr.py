"""numexpr: expressions as text, compiled once and called without the cache look-up of
`evaluate`."""

from __future__ import annotations

from typing import Any

import numexpr
import numpy as np
from numexpr.necompiler import getType

from bench.case import Case, results
from bench.peers.base import NotHere, Peer, Prepared, call

EXPRESSIONS = {
    "arithmetic": "a * b + c",
    "fused": "a * exp(-b * b) + sin(c) * tanh(a - b)",
    "mask": "a > 0",
    "masked sum": "sum(where(a > 0, a, 0))",
    "given mask sum": "sum(where(b, a, 0))",
    "call 1": "a * a",
    "call 2": "a + b",
    "call 8": "a + b + c + d + e + f + g + h",
    "layout contiguous": "a * b + a",
    "layout row broadcast": "a * b + b",
    "layout column broadcast": "a * b + b",
    "layout row and column": "a * b + b",
    "layout input": "a * b + b",
    "polynomial": "((((((((2.48015873e-05*a + 1.98412698e-04)*a + 1.38888889e-03)*a"
                  " + 8.33333333e-03)*a + 4.16666667e-02)*a + 1.66666667e-01)*a + 0.5)*a"
                  " + 1.0)*a + 1.0)",
    "function power": "a ** b",
    "function sigmoid": "1 / (1 + exp(-a))",
    **{f"function {f}": f"{f}(a)"
       for f in ("exp", "log", "sin", "cos", "tanh", "log1p", "expm1", "sqrt")},
}  # fmt: skip
#: Views that are made before the expression is evaluated.
VIEWS: dict[str, tuple[str, Any]] = {
    "layout every second column": ("a * b + 1", lambda a, b: (a[:, ::2], b[:, ::2])),
    "layout transposed operand": ("a * b + a", lambda a, b: (a, b.T)),
}
REDUCTIONS = {"reduce sum": "sum", "reduce max": "max"}


class Adapter(Peer):
    """Elementwise expressions, and the reductions numexpr has."""

    def version(self) -> str:
        numexpr.set_num_threads(self.threads)
        return str(numexpr.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.family in VIEWS:
            text, view = VIEWS[case.family]
            arrays = list(view(*arrays))
        elif case.family in EXPRESSIONS:
            text = EXPRESSIONS[case.family]
        elif case.family in REDUCTIONS:
            text = f"{REDUCTIONS[case.family]}(a, axis={case.options['axis']})"
        else:
            raise NotHere("–")
        signature = [(n, getType(np.asarray(a))) for n, a in zip("abcdefgh", arrays, strict=False)]
        function = numexpr.NumExpr(text, signature, truediv=True)
        statement, names = call(function, arrays)
        return Prepared(statement, names, lambda: results(np.asarray(function(*arrays))))
