"""Which values get memory of their own; all others are computed where they are used.

    e = exp(x); s = sum(e, 1); y = e / s    =>    e and s are stored, the division is fused

A value is stored when somebody needs it as an array (results, matrix products, gather sources), or
when computing it again at every use would cost more than reading it back.
"""

from __future__ import annotations

from collections import Counter

from jitgraph.ir.builder import Builder
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import Expand, Rejection, Routine, same_size
from jitgraph.ir.ops.control import Control
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.values import Value

VIEWS = frozenset({"transpose", "expand_dims", "squeeze", "slice", "broadcast_to"})
#: Ops computed inside the loop nest of whoever uses them.
INLINE = VIEWS | {"cast", "iota", "gather"}
#: Approximate cost of an op in additions. Recomputing is worth it up to RECOMPUTE of them.
EXPENSIVE = 12
#: The same of all rounds of an op that draws by rejection.
REJECTION = 200
COSTS = {"divide": 5, "sqrt": 5, "gather": 4}
CHEAP_EXPANSIONS = frozenset({
    "absolute", "positive", "square", "maximum", "minimum", "fmax", "fmin", "floor", "ceil",
    "trunc", "sign", "isnan", "isinf", "isfinite", "signbit", "logical_and", "logical_or",
    "logical_xor", "logical_not", "invert", "left_shift", "right_shift", "deg2rad", "rad2deg",
    "conjugate", "real", "imag", "complex", "barrier",
})  # fmt: skip
RECOMPUTE = 8
#: Reductions of up to so many elements are computed element by element.
LONGEST_CHAIN = 4
#: A body that weighs more than this compiles slowly and spills; cut it.
LARGEST_BODY = 800


def is_inline(value: Value) -> bool:
    """Whether the value can be computed point by point inside another kernel."""
    op = value.op
    if op is None:
        return False
    if op.name == "constant":
        literal = value.literal
        return literal is not None and (value.ndim == 0 or literal.splat is not None)
    return op.name in INLINE or isinstance(op.definition, Elementwise)


def is_scalar_code(value: Value) -> bool:
    """Whether the value lives in a register of the program: rank-0 arithmetic on such values."""
    op = value.op
    if value.ndim or op is None:
        return False
    if op.name in ("constant", "dim", "stride"):
        return True
    arithmetic = isinstance(op.definition, Elementwise) or op.name == "cast"
    return arithmetic and all(a.ndim == 0 for a in op.args)


def is_pointwise(value: Value, builder: Builder) -> bool:
    """Whether one element of the value can be computed by itself, from a few elements of others."""
    return is_inline(value) or is_short_sum(value, builder) or is_one_hot(value, builder)


def is_short_sum(value: Value, builder: Builder) -> bool:
    """Whether the value is a reduction of so few elements that it is a chain of ops."""
    op = value.op
    if op is None or not isinstance(op.definition, Reduction) or op.definition.positional:
        return False
    extents = builder.shape(op.args[0])
    points = 1
    for axis in op.attrs["axes"]:
        extent = extents[axis]
        points *= extent if isinstance(extent, int) else 0
    return 1 <= points <= LONGEST_CHAIN


def is_one_hot(value: Value, builder: Builder) -> bool:
    """Whether the value is a `scatter_add` that adds one number at most to each element: one of
    the indices counts along an axis of the result."""
    if not value.is_op("scatter_add") or value.dtype.kind == "b":
        return False
    assert value.op is not None
    base, _, *indices = value.op.args
    return all(i.ndim <= 1 for i in indices) and any(
        i.is_op("iota") and same_size(builder.shape(i)[0], extent)
        for i, extent in zip(indices, builder.shape(base), strict=False)
    )


def op_cost(value: Value) -> int:
    """The cost of one element of an op, its arguments given."""
    op = value.op
    if op is None or op.name in VIEWS or op.name == "constant":
        return 0
    if op.name in COSTS:
        return COSTS[op.name]
    if isinstance(op.definition.lower, Rejection):
        return REJECTION
    expands = isinstance(op.definition.lower, Expand) and op.name not in CHEAP_EXPANSIONS
    return EXPENSIVE if expands else 1


def op_weight(value: Value) -> int:
    """How much code an op is: a transcendental function is worth a dozen additions."""
    return max(op_cost(value), 1)


def view_base(value: Value) -> Value:
    """What a chain of views looks at."""
    while value.op is not None and value.op.name in VIEWS:
        value = value.op.args[0]
    return value


def stored_values(fn: Function, builder: Builder) -> set[Value]:
    """The values of `fn` that get a buffer (parameters have theirs already)."""
    stored: set[Value] = set(fn.results)
    uses: Counter[Value] = Counter(fn.results)
    cost: dict[Value, int] = {}
    weight: dict[Value, int] = {}
    for value in fn.ops:
        op = value.op
        assert op is not None
        uses.update(set(op.args))
        stored |= _needed_as_arrays(value, builder)
        # Scalars that are not scalar code (an element of an array) are fetched from memory.
        if not is_scalar_code(value) and (value.ndim == 0 or not is_pointwise(value, builder)):
            stored.add(value)
    for value in fn.ops:
        op = value.op
        assert op is not None
        for arg in op.args:
            if arg.ndim and _repeats(builder, value, arg) and cost.get(arg, 0) >= RECOMPUTE:
                _store(view_base(arg), stored, cost, weight)
        times = LONGEST_CHAIN if isinstance(op.definition, Reduction) else 1
        cost[value] = times * (op_cost(value) + sum(cost.get(a, 0) for a in set(op.args)))
        weight[value] = times * (op_weight(value) + sum(weight.get(a, 0) for a in set(op.args)))
        if value in stored or is_scalar_code(value):
            cost[value] = weight[value] = 0
        elif op.name not in VIEWS and (
            (uses[value] > 1 and cost[value] >= RECOMPUTE) or weight[value] > LARGEST_BODY
        ):
            _store(value, stored, cost, weight)
    return stored


def _store(
    value: Value, stored: set[Value], cost: dict[Value, int], weight: dict[Value, int]
) -> None:
    if value.op is not None and value.ndim and value.literal is None:
        stored.add(value)
        cost[value] = weight[value] = 0


def _needed_as_arrays(value: Value, builder: Builder) -> set[Value]:
    """Arguments that must be in memory, whole, for this op."""
    op = value.op
    assert op is not None
    if op.name == "matmul":
        needed = {_array_under(a) for a in op.args}
    elif op.name == "gather":
        needed = set() if _is_smaller(value, op.args[0], builder) else {_array_under(op.args[0])}
    elif op.name == "reshape":
        needed = {op.args[0]}
    elif isinstance(op.definition.lower, Routine):
        routine = op.definition.lower
        passed = list(zip(op.args, routine.operands, strict=False))[routine.in_place :]
        needed = {_array_under(a) for a, core in passed if core is not None and a.ndim}
    elif isinstance(op.definition, Control):
        needed = {a for a in op.args if a.ndim}
    else:
        return set()
    return {v for v in needed if v.op is not None}


def _is_smaller(value: Value, source: Value, builder: Builder) -> bool:
    """Whether the value surely has no more elements than what it is taken from."""
    rest = list(builder.shape(source))
    for extent in builder.shape(value):
        if extent not in rest:
            return False
        rest.remove(extent)
    return True


def _array_under(value: Value) -> Value:
    """The array a chain of views looks at, or the value itself where that is only a scalar."""
    base = view_base(value)
    return base if base.ndim else value


def _repeats(builder: Builder, value: Value, arg: Value) -> bool:
    """Whether using `arg` in `value` would compute its elements more than once: it is broadcast,
    or read through a reduction's operand that is not alone in needing it."""
    op = value.op
    assert op is not None
    if op.name == "broadcast_to" or isinstance(op.definition, Elementwise):
        have, want = builder.shape(arg), builder.shape(value)
        lead = len(want) - len(have)
        return lead > 0 or not all(map(same_size, have, want[lead:]))
    return False
