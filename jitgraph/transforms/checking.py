"""Gradients checked against differences of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import GradientError
from jitgraph.ir.types import kind_of
from jitgraph.jit import jit
from jitgraph.transforms.derivatives import jvp, vjp
from jitgraph.transforms.functions import Function, checked
from jitgraph.trees import flatten, unflatten

#: By precision of the arguments: the step, and the error allowed relative to the slopes.
_STEPS = {2: (2e-2, 5e-2), 4: (2e-3, 5e-3), 8: (1e-6, 1e-5)}


def verify_grad(
    fun: Function,
    pt: Sequence[Any],
    n_tests: int = 2,
    rng: Any = None,
    eps: float | None = None,
    abs_tol: float | None = None,
    rel_tol: float | None = None,
) -> None:
    """Compare the derivatives of a function at a point (a list of arguments) with differences of
    its values; raises GradientError where they disagree.

    Each of n_tests takes a random direction of the arguments and one of the results: forward mode
    must agree with central differences along the first, and reverse mode with forward mode.
    fun: a function of arrays, giving an array or a tree of them. rng: a NumPy generator, or a seed.
    eps: the step of the differences; abs_tol, rel_tol: the errors allowed. By default all three
    follow from the arguments' precision.
    """
    random = rng if hasattr(rng, "standard_normal") else np.random.default_rng(rng)
    point, structure = flatten(tuple(pt))
    arrays = [np.asarray(leaf) for leaf in point]
    floating = [a for a in arrays if kind_of(a.dtype) == "f"]
    if len(floating) != len(arrays) or not arrays:
        raise GradientError(
            "gradients are verified at floating arrays only", hint="pass 2.0, not 2"
        )
    step, tolerance = _STEPS[min(a.dtype.itemsize for a in floating)]
    step = step if eps is None else eps
    rel_tol = tolerance if rel_tol is None else rel_tol
    abs_tol = tolerance if abs_tol is None else abs_tol
    compiled = jit(checked(fun, "verify_grad"))

    def at(shift: float) -> list[Any]:
        moved = [np.asarray(a + shift * v, a.dtype) for a, v in zip(arrays, along, strict=True)]
        out, _ = flatten(compiled(*unflatten(structure, moved)))
        return [np.asarray(o, np.float64) for o in out]

    for _ in range(n_tests):
        along = [np.asarray(random.standard_normal(a.shape), a.dtype) for a in arrays]
        slopes = [(up - down) / (2 * step) for up, down in zip(at(step), at(-step), strict=True)]
        primals, tangents = (unflatten(structure, leaves) for leaves in (arrays, along))
        _, changes = jvp(fun, primals, tangents)
        found, out_structure = flatten(changes)
        for k, (slope, change) in enumerate(zip(slopes, found, strict=True)):
            _compare(f"forward mode, result {k}", change, slope, abs_tol, rel_tol)
        weights = [np.asarray(random.standard_normal(c.shape), c.dtype) for c in found]
        adjoints, _ = flatten(vjp(fun, *primals)[1](unflatten(out_structure, weights)))
        back = sum(float(np.vdot(a, v)) for a, v in zip(adjoints, along, strict=True))
        ahead = sum(float(np.vdot(w, c)) for w, c in zip(weights, found, strict=True))
        _compare("reverse mode", np.asarray(back), np.asarray(ahead), abs_tol, rel_tol)


def _compare(what: str, found: Any, wanted: Any, abs_tol: float, rel_tol: float) -> None:
    off = np.abs(np.asarray(found, np.float64) - wanted)
    scale = float(np.max(np.abs(wanted), initial=0.0))
    worst = float(np.max(off, initial=0.0))
    if not worst <= abs_tol + rel_tol * scale:
        raise GradientError(
            f"{what}: the derivative is off by {worst:.3g}, where {abs_tol + rel_tol * scale:.3g} "
            f"is allowed (the largest slope is {scale:.3g})",
            hint="a kink near the point, or a gradient that is wrong",
        )
