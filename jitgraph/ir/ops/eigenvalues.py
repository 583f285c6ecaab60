"""Eigenvalues of any square matrices, always complex.

Adjoints: C. Boeddeker et al., "On the computation of complex-valued gradients with application to
statistically optimum beamforming", 2017. They need a matrix with as many eigenvectors as rows, and
those of vectors distinct eigenvalues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Attrs, ShapeSource, constant, emit
from jitgraph.ir.ops.arithmetic import (
    absolute,
    complex_,
    conjugate,
    divide,
    equal,
    imag,
    isfinite,
    real,
    subtract,
    where,
)
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.indexing import zeros_like
from jitgraph.ir.ops.linalg import C128, adjoint, as_column, as_row, declare, places, solve
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.movement import dims, iota
from jitgraph.ir.ops.reduction import all_, argmax, argmin, sum_
from jitgraph.ir.values import Value


def _finite(source: ShapeSource, args: Sequence[Value], attrs: Attrs) -> list[Value]:
    return [all_(isfinite(args[0]))]


def _zero() -> Value:
    return constant(np.zeros((), C128))


def _from_vectors(inner: Value, v: Value, a: Value) -> list[Value | None]:
    """v⁻ᴴ @ inner @ vᴴ; of real matrices the real part."""
    turned = adjoint(v)
    found = solve(turned, matmul(inner, turned))
    return [found if a.dtype == C128 else real(found)]


def _eigvals_gradient(g: Value, y: Value, a: Value) -> list[Value | None]:
    """The eigenvalues that come with vectors may be in another order: each adjoint goes to the
    nearest."""
    w, v = items(emit(EIG, (a,)))
    nearest = argmin(absolute(subtract(as_column(y), as_row(w))), (y.ndim,))
    chosen = equal(as_column(nearest), iota(dims(w)[-1], type(w)))
    of_w = sum_(where(chosen, as_column(g), _zero()), (y.ndim - 1,))
    i, j = places(v)
    return _from_vectors(where(equal(i, j), as_row(of_w), _zero()), v, a)


def _with_phase(g: Value, v: Value) -> Value:
    """The adjoint of vectors before they were turned such that their largest element is real."""
    sizes = absolute(v)
    largest = equal(as_row(argmax(sizes, (v.ndim - 2,))), places(v)[0])
    pivot = sum_(where(largest, real(v), 0.0), (v.ndim - 2,))
    turning = divide(imag(sum_(conjugate(g) * v, (v.ndim - 2,))), pivot)
    return g + where(largest, as_row(complex_(turning * 0.0, turning)), _zero())  # type: ignore[no-any-return]


def _eig_gradient(g: Any, y: Value, a: Value) -> list[Value | None]:
    of_w, of_v = g
    w, v = items(y)
    if of_w is None and of_v is None:
        return [zeros_like(a)]
    i, j = places(v)
    same = equal(i, j)
    inner = where(same, as_row(zeros_like(w) if of_w is None else of_w), _zero())
    if of_v is not None:
        turned = matmul(adjoint(v), _with_phase(of_v, v))
        along = sum_(where(same, real(turned), 0.0), (v.ndim - 2,))  # the length stays 1
        across = turned - matmul(adjoint(v), v * cast(as_row(along), C128))
        apart = conjugate(subtract(as_row(w), as_column(w)))
        one = constant(np.ones((), C128))
        inner = inner + where(same, _zero(), across / where(same, one, apart))
    return _from_vectors(inner, v, a)


EIGVALS = declare(
    "eigvals", ("mm",), [("m", "c")], lambda a: np.linalg.eigvals(a).astype(C128),
    requires=_finite, gradient=_eigvals_gradient,
    doc="The eigenvalues of square matrices, always complex.",
)  # fmt: skip
EIG = declare(
    "eig", ("mm",), [("m", "c"), ("mm", "c")],
    lambda a: tuple(part.astype(C128) for part in np.linalg.eig(a)), requires=_finite,
    gradient=_eig_gradient,
    doc="Eigenvalues and eigenvectors (columns) of square matrices, always complex.",
)  # fmt: skip
