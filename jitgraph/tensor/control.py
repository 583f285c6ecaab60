"""Control flow over trees of arrays: loops and branches, in native code, differentiable.

    while_loop(lambda x: x * x > 2, newton_step, x0)
    fori_loop(0, n, lambda i, x: x + a[i], 0.0)
    carry, rows = loop_rows(step, h0, xs)
    cond(x.sum() > 0, lambda x: x, lambda x: -x, x)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgraph import trees
from jitgraph.errors import DTypeError, InputError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import Size
from jitgraph.ir.ops.arithmetic import maximum
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.control import branch, loop
from jitgraph.ir.ops.indexing import slice_axis
from jitgraph.ir.ops.movement import dim
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import BOOL, I64, Type, can_cast, kind_of, result_type
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import WEAK, as_size, as_tensor, refuse
from jitgraph.tensor.regions import parameter, shared_captures, traced
from jitgraph.tensor.shared import latest, made_since

#: A loop that only its condition ends.
UNBOUNDED = int(np.iinfo(np.int64).max)


# --- what is carried ---------------------------------------------------------------------------
def _leaves(tree: Any) -> tuple[list[Value], list[bool], trees.Structure]:
    """The leaves as variables, whether each was a Python number, and the tree's structure."""
    leaves, structure = trees.flatten(tree)
    weak = [type(leaf) in WEAK for leaf in leaves]
    return [as_tensor(leaf) for leaf in leaves], weak, structure


def _settled(
    given: Sequence[Value], weak: Sequence[bool], step: Callable[[list[Value]], list[Value]]
) -> tuple[list[Value], list[Value], list[Value]]:
    """Initial values, parameters and next values of what is carried, of equal dtypes: an initial
    value is converted where that is safe or where it was a Python number.

    Raises DTypeError or ShapeError where a step gives what the next one cannot take.
    """
    initial = list(given)
    for _ in range(len(initial) + 2):  # a dtype may wander from one carried value to the next
        params: list[Value] = [parameter(v.type, v.name or f"carried{k}")
                               for k, v in enumerate(initial)]  # fmt: skip
        following = step(params)
        changed = False
        for k, (old, new) in enumerate(zip(initial, following, strict=False)):
            if old.dtype == new.dtype:
                continue
            if can_cast(old.dtype, new.dtype, "safe" if not weak[k] else "same_kind") or (
                weak[k] and kind_of(new.dtype) in "fc"
            ):
                initial[k], changed = cast(old, new.dtype), True
        if not changed:
            break
    for k, (old, new) in enumerate(zip(params, following, strict=True)):
        following[k] = _next_fits(initial[k], old.type, new)
        initial[k] = cast(initial[k], old.dtype)
    return initial, params, following


def _next_fits(initial: Value, old: Type, new: Value) -> Value:
    what = f"{initial.describe()} is carried as {old}, and a step gives {new.type}"
    if old.rank != new.ndim or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(old.shape, new.type.shape, strict=True)
    ):
        refuse(ShapeError(what, hint="start with an array of the shape the steps give"), new)
    if old.dtype != new.dtype:
        if not can_cast(new.dtype, old.dtype, "safe"):
            refuse(DTypeError(what, hint=f"start with dtype {new.dtype}, or cast the step's "
                                         "result"), new)  # fmt: skip
        new = cast(new, old.dtype)
    return new


def _leaves_like(
    expected: trees.Structure, tree: Any, what: str, model: str = "it takes"
) -> list[Value]:
    """The leaves of a tree that must have a structure."""
    leaves = trees.leaves_like(expected, tree)
    if leaves is None:
        refuse(InputError(f"{what} must give what {model}: {_shown(expected)}, not "
                          f"{_shown(trees.flatten(tree)[1])}"))  # fmt: skip
    return [as_tensor(leaf) for leaf in leaves]


def _shown(structure: trees.Structure) -> str:
    """A structure as its tree is written, with `*` for leaves."""
    leaves = [trees.LEAF] * trees.count(structure)
    return repr(trees.unflatten(structure, leaves)).replace(repr(trees.LEAF), trees.LEAF)


# --- loops -------------------------------------------------------------------------------------
def while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], initial: Any) -> Any:
    """`x = initial; while condition(x): x = body(x)`, for a tree of arrays x.

    The condition gives a bool scalar, the body a tree of the same structure, dtypes and shapes.
    Differentiable in reverse mode: what the way back needs is then kept of every step, in memory
    that grows with them.
    """
    begun = latest()
    leaves, weak, structure = _leaves(initial)

    def step(params: list[Value]) -> list[Value]:
        made = body(trees.unflatten(structure, params))
        return _leaves_like(structure, made, "the body of while_loop")

    initial_leaves, params, following = _settled(leaves, weak, step)
    holds = _truth(condition(trees.unflatten(structure, params)), "the condition of while_loop")
    found = _loop(initial_leaves, params, following, UNBOUNDED, holds=holds, name="while",
                  begun=begun)  # fmt: skip
    return trees.unflatten(structure, found[: len(leaves)])


def fori_loop(lower: Any, upper: Any, body: Callable[[Any, Any], Any], initial: Any) -> Any:
    """`x = initial; for i in range(lower, upper): x = body(i, x)`, for a tree of arrays x."""
    begun = latest()
    leaves, weak, structure = _leaves(initial)
    first, last = as_size(lower, "lower"), as_size(upper, "upper")
    count = parameter(Type(I64), "i")
    number = count if first == 0 and isinstance(first, int) else count + first

    def step(params: list[Value]) -> list[Value]:
        made = body(number, trees.unflatten(structure, params))
        return _leaves_like(structure, made, "the body of fori_loop")

    initial_leaves, params, following = _settled(leaves, weak, step)
    between = last - first
    steps: Size = max(between, 0) if isinstance(between, int) else maximum(between, 0)
    found = _loop(initial_leaves, params, following, steps, count=count, name="fori",
                  begun=begun)  # fmt: skip
    return trees.unflatten(structure, found[: len(leaves)])


def loop_rows(
    step: Callable[[Any, Any], tuple[Any, Any]],
    initial: Any,
    sequences: Any = None,
    length: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`carry, rows = initial, []; for x in sequences: carry, y = step(carry, x)`, with the y joined
    along a new leading axis: JAX's `lax.scan`.

    sequences: a tree of arrays walked along their leading axes, which are equally long, or None
    with a length; with both, so many of the first rows are walked. reverse:
    from the last row to the first; rows of the outputs stay at their places.
    """
    begun = latest()
    leaves, weak, structure = _leaves(initial)
    walked, _, walked_structure = _leaves(sequences)
    if any(not s.ndim for s in walked):
        refuse(ShapeError("a scalar has no rows to walk along"), *walked)
    rows: list[Value] = [parameter(s.type.with_shape(s.type.shape[1:]), f"row{k}")
                         for k, s in enumerate(walked)]  # fmt: skip
    outputs: list[Value] = []
    kept: list[trees.Structure] = []

    def one(params: list[Value]) -> list[Value]:
        made = step(trees.unflatten(structure, params), trees.unflatten(walked_structure, rows))
        if not isinstance(made, tuple) or len(made) != 2:
            refuse(InputError("a step must give a pair: what is carried on, and a row of outputs"))
        following = _leaves_like(structure, made[0], "a step")
        outputs[:], _, own = _leaves(made[1])
        kept[:] = [own]
        return following

    initial_leaves, params, following = _settled(leaves, weak, one)
    steps = _length(walked, length)
    if length is not None:
        walked = [slice_axis(s, 0, 0, steps) for s in walked]
    found = _loop(
        initial_leaves, params, following, steps, sequences=walked, rows=rows,
        outputs=outputs, reverse=reverse, name="scan", begun=begun,
    )  # fmt: skip
    split = len(leaves)
    return (
        trees.unflatten(structure, found[:split]),
        trees.unflatten(kept[0], found[split:-1]),
    )


def _length(sequences: Sequence[Value], length: Any) -> Size:
    if length is not None:
        return as_size(length, "the length")
    if not sequences:
        refuse(InputError("a loop over no sequences needs a length", hint="length=10"))
    known = {s.type.shape[0] for s in sequences if isinstance(s.type.shape[0], int)}
    if len(known) > 1:
        refuse(ShapeError("sequences that are walked together must be equally long"), *sequences)
    return dim(sequences[0], 0)


def _truth(value: Any, what: str) -> Value:
    made = as_tensor(value)
    if made.ndim:
        refuse(ShapeError(f"{what} must be a scalar, not {made.type}", hint="all() or any() of it"),
               made)  # fmt: skip
    return made if made.dtype == BOOL else cast(made, BOOL)


def _loop(
    initial: Sequence[Value],
    params: Sequence[Value],
    following: Sequence[Value],
    steps: Size,
    *,
    name: str,
    begun: int,
    count: Value | None = None,
    holds: Value | None = None,
    sequences: Sequence[Value] = (),
    rows: Sequence[Value] = (),
    outputs: Sequence[Value] = (),
    reverse: bool = False,
) -> list[Value]:
    """All results of a loop: what was carried, the outputs, the number of steps. States of random
    streams that were made by the step (since `begun`) are carried as well."""
    number = parameter(Type(I64), "i") if count is None else count
    draws = [s for s in made_since(begun, [*following, *outputs]) if s.default_update is not None]
    held: dict[Value, Value] = {s: parameter(s.type, "state") for s in draws}
    given = len(params)
    drawn = [s.default_update for s in draws if s.default_update is not None]
    inner = substituted([*following, *drawn, *outputs], held)
    initial, params = [*initial, *draws], [*params, *held.values()]
    parts = [traced(inner, [number, *params, *rows])]
    if holds is not None:
        parts.append(traced([holds], [number, *params]))
    captured, joined = shared_captures(*parts)
    body = joined[0].function([number, *params, *rows], f"{name}_step")
    condition = None
    if holds is not None:
        condition = joined[1].function([number, *params], f"{name}_condition")
    made = list(items(
        loop(body, initial, sequences, captured, steps, condition=condition, reverse=reverse)
    ))  # fmt: skip
    for k, state in enumerate(draws, given):
        state.default_update = made[k]
    return [*made[:given], *made[given + len(draws) :]]


# --- branches ----------------------------------------------------------------------------------
def cond(
    condition: Any, then: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any
) -> Any:
    """`then(*operands) if condition else otherwise(*operands)`: only the one that is chosen runs.

    Both give trees of one structure, with leaves of one dtype (else they are promoted) and rank.
    """
    chosen = _truth(condition, "the condition of cond")
    left, _, structure = _leaves(then(*operands))
    right = _leaves_like(structure, otherwise(*operands), "the other branch", "the first one gives")
    return trees.unflatten(structure, _branched(chosen, left, right))


def ifelse(condition: Any, then: Any, otherwise: Any, name: str | None = None) -> Any:
    """The expression `then` where the condition holds, else `otherwise`; lists of them for lists.
    What only one of the two needs is computed only if that one is chosen."""
    chosen = _truth(condition, "the condition of ifelse")
    several = isinstance(then, list | tuple)
    left, right = ([as_tensor(x) for x in (side if isinstance(side, list | tuple) else [side])]
                   for side in (then, otherwise))  # fmt: skip
    if len(left) != len(right):
        refuse(InputError(f"{len(left)} expressions on one side, {len(right)} on the other"))
    found = _branched(chosen, left, right)
    for value in found:
        value.name = name
    return type(then)(found) if several else found[0]


def _branched(
    chosen: Value, left: Sequence[Value], right: Sequence[Value]
) -> list[Value]:
    pairs = [_alike(a, b) for a, b in zip(left, right, strict=True)]
    parts = [traced([pair[side] for pair in pairs], [], lazily=True) for side in (0, 1)]
    captured, joined = shared_captures(*parts)
    then, otherwise = (part.function([], name)
                       for part, name in zip(joined, ("then", "otherwise"), strict=True))
    return list(items(branch(chosen, captured, then, otherwise)))


def _alike(a: Value, b: Value) -> tuple[Value, Value]:
    """Both sides in one dtype; raises ShapeError for different ranks."""
    if a.ndim != b.ndim:
        refuse(ShapeError(f"one branch gives {a.type}, the other {b.type}: the ranks differ"), a, b)
    dtype = result_type((a.dtype, b.dtype))
    return cast(a, dtype), cast(b, dtype)

