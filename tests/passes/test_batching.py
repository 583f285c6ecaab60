"""Every op for many elements at once against a Python loop over the elements.

The cases are those of the type inference, so an op that is declared is tried; one without a rule
must say so.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from jitgraph.errors import BatchingError, DTypeError
from jitgraph.ir import interpreter
from jitgraph.ir.elementwise import Elementwise, resolve
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OpDef, Routine, emit
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.indexing import ADD_SLICE, SET_SLICE, SLICE
from jitgraph.ir.ops.movement import iota
from jitgraph.ir.types import DTYPES, I64, Bundle, Type, kind_of, type_of
from jitgraph.ir.values import Value
from jitgraph.passes.batching import batched
from tests.ir.test_ops_infer import GRAPH_OPS, cases

#: How many elements.
COUNT = 3
#: Ops of masks: how many operands come before the mask, which must be the same for all elements.
MASKED = {"positions": 0, "compress": 1, "expand": 1}
#: The dtypes tried where an op takes them: the rules do not look at them.
TRIED = "?bdql"


def is_slow(definition: OpDef) -> bool:
    """Samplers, whose meaning in NumPy is a long program."""
    return definition.name.startswith("sample_")


def chosen(definition: OpDef) -> list[tuple[list[np.ndarray], dict[str, Any]]]:
    """A case of each kind, with operands that the op takes as they are."""
    found = []
    for arrays, attrs in cases(definition):
        try:
            definition.infer([type_of(a) for a in arrays], attrs)
            if isinstance(definition, Elementwise):
                resolve(definition, tuple(a.dtype for a in arrays))
        except DTypeError:
            continue
        found.append((arrays, attrs))
    usual = [case for case in found if all(a.dtype.char in TRIED for a in case[0])] or found
    if is_slow(definition):
        return usual[1:2]
    most = 24 >> len(usual[0][0]) if isinstance(definition, Elementwise) else 12
    step = max(1, len(usual) // max(most, 1))
    return usual[:: step + (step % 3 == 0)]  # cases come by threes: one of each shape


def sizes_of(definition: OpDef, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> int:
    """How many operands at the end are sizes, which all elements must share."""
    if definition.name in ("iota", "broadcast_to", "sum_to", "reshape"):
        return attrs["shape"].count(None)
    return attrs["sizes"].count(None) if "sizes" in attrs else 0


def varied(definition: OpDef, array: np.ndarray) -> np.ndarray:
    """Elements that differ but stay in the domain and inside the bounds of the first."""
    if isinstance(definition.lower, Routine) and kind_of(array.dtype) in "fc":
        return np.stack([array * (k + 1) for k in range(COUNT)])  # still positive definite
    return np.stack([np.roll(array, k) for k in range(COUNT)])


def parameters(definition: OpDef, arrays: Sequence[np.ndarray]) -> int:
    """How many operands at the end are scalars that tell a routine what to do."""
    if not isinstance(definition.lower, Routine):
        return 0
    return sum(a.ndim == 0 for a in arrays)


def many(
    definition: OpDef,
    arrays: Sequence[np.ndarray],
    attrs: dict[str, Any],
    flags: Sequence[bool],
    known: bool,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The results of the op for all elements by its rule, and by a loop."""
    ones = [Value(type_of(a) if known else Type(a.dtype, (None,) * a.ndim)) for a in arrays]
    alls = [Value(Type(v.dtype, (COUNT if known else None, *v.type.shape))) if flag else v
            for v, flag in zip(ones, flags, strict=True)]  # fmt: skip
    y = emit(definition, ones, **attrs)
    ys = items(y) if isinstance(y.type, Bundle) else (y,)
    inputs = {one: both for one, both, flag in zip(ones, alls, flags, strict=True) if flag}
    made = batched(list(ys), inputs, COUNT)
    differs = made[0][1]
    given = [varied(definition, a) if flag else a for a, flag in zip(arrays, flags, strict=True)]
    found = interpreter.run(Function(alls, [got for got, _ in made]), given)
    turns = []
    for k in range(COUNT if differs else 1):
        own = [a[k] if flag else a for a, flag in zip(given, flags, strict=True)]
        turn = definition.evaluate(*own, **attrs)
        turns.append(turn if isinstance(y.type, Bundle) else (turn,))
    return found, [np.stack(parts) if differs else np.asarray(parts[0])
                   for parts in zip(*turns, strict=True)]  # fmt: skip


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("definition", GRAPH_OPS, ids=[d.name for d in GRAPH_OPS])
def test_every_op_against_a_loop(definition: OpDef) -> None:
    tried = 0
    for arrays, attrs in chosen(definition):
        shared = sizes_of(definition, arrays, attrs) or parameters(definition, arrays)
        if (first := MASKED.get(definition.name)) is not None:
            shared = len(arrays) - first
            with pytest.raises(BatchingError, match="cannot be stacked"):
                many(definition, arrays, attrs, [k >= first for k in range(len(arrays))], True)
        for flags in itertools.product((False, True), repeat=len(arrays) - shared):
            if not any(flags) or (is_slow(definition) and not all(flags)):
                continue
            for known in (True, False)[is_slow(definition) :]:
                found, loop = many(definition, arrays, attrs, [*flags, *[False] * shared], known)
                told = f"{definition.name} {[a.shape for a in arrays]} {flags} {attrs}"
                for got, want in zip(found, loop, strict=True):
                    check = np.testing.assert_array_equal
                    if isinstance(definition.lower, Routine) and kind_of(want.dtype) in "fc":
                        check = functools.partial(np.testing.assert_allclose, atol=1e-9)
                    check(got, want, err_msg=told)
                tried += 1
    assert tried or definition.name in ("constant", "iota", "positions"), definition.name


@pytest.mark.parametrize("definition", [SLICE, SET_SLICE, ADD_SLICE], ids=lambda d: d.name)
@pytest.mark.parametrize("dtype", ["f64", "bool"])
def test_slices_that_start_elsewhere_for_each_element(definition: OpDef, dtype: str) -> None:
    if dtype == "bool" and definition is ADD_SLICE:
        return
    rng = np.random.default_rng(0)
    attrs = {"axes": (2, 0), "starts": (None, None), "sizes": (2, 3), "steps": (2, -1)}
    starts = np.array([[0, 1, 2], [4, 2, 3]])
    x = rng.integers(0, 9, (5, 2, 6)).astype(DTYPES[dtype])
    values = [] if definition is SLICE else [rng.integers(0, 2, (3, 2, 2)).astype(x.dtype)]
    for spread in itertools.product((False, True), repeat=1 + len(values)):
        arrays = [np.stack([a, ~a if dtype == "bool" else a + 1, a]) if flag else a
                  for a, flag in zip([x, *values], spread, strict=True)]  # fmt: skip
        ones = [Value(type_of(a[0] if flag else a)) for a, flag in zip(arrays, spread, strict=True)]
        alls = [Value(type_of(a)) for a in arrays]
        inputs = {one: both for one, both, flag in zip(ones, alls, spread, strict=True) if flag}
        at, ats = [Value(Type(I64)) for _ in starts], [Value(Type(I64, (3,))) for _ in starts]
        operands = [o if f else a for o, a, f in zip(ones, alls, spread, strict=True)]
        y = emit(definition, [*operands, *at], **attrs)
        ((got, _),) = batched([y], inputs | dict(zip(at, ats, strict=True)), 3)
        (found,) = interpreter.run(Function([*alls, *ats], [got]), [*arrays, *starts])
        own = [[a[k] if f else a for a, f in zip(arrays, spread, strict=True)] for k in range(3)]
        loop = [definition.evaluate(*own[k], *starts[:, k], **attrs) for k in range(3)]
        np.testing.assert_array_equal(found, np.stack(loop))


def test_sizes_that_differ_are_refused() -> None:
    n, ns = Value(Type(I64)), Value(Type(I64, (3,)))
    with pytest.raises(BatchingError, match="differ from element to element"):
        batched([iota(n)], {n: ns}, 3)


def test_what_depends_on_no_element_stays_itself() -> None:
    x, xs, y = (Value(Type(DTYPES["f64"], shape)) for shape in ((), (3,), (4,)))
    same = y * 2.0
    (kept, differs), (many, varies) = batched([same, same * x], {x: xs}, 3)
    assert kept is same
    assert (differs, varies) == (False, True)
    assert many.ndim == 2
