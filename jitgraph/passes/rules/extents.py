"""Comparisons that are decided by what sizes are: never negative, never above their minimum.

Bounds of slices and indices are i64 arithmetic over extents. Most of it is decided here when the
program is compiled. Sums and products of extents are taken not to overflow.
"""

from __future__ import annotations

from jitgraph.ir.builder import Builder
from jitgraph.ir.opdef import Attrs, OpDef, constant, emit, split_sizes
from jitgraph.ir.ops.arithmetic import less, less_equal, maximum
from jitgraph.ir.ops.indexing import slice_bounds
from jitgraph.ir.ops.movement import is_count, product
from jitgraph.ir.types import I64, Bundle, Type
from jitgraph.ir.values import Op, Value
from jitgraph.passes.rules.rule import Rule, fitted, number_of, recipe

Args = tuple[Value, ...]
#: How deep a proof may look.
_DEPTH = 6
#: Anything that counts elements is far below this.
_LARGE = 1 << 40


def _number(value: Value) -> int | None:
    number = number_of(value)
    return None if number is None else int(number)


#: Ops that give positions, below an extent of their operand.
_POSITIONS = frozenset({
    "iota", "reduce_argmax", "reduce_argmin", "positions", "argsort", "argsort_stable",
})
#: Ops that only arrange the elements they are given.
_ARRANGED = frozenset({
    "expand_dims", "squeeze", "transpose", "broadcast_to", "reshape", "compress", "gather", "slice",
})


def _is_size(value: Value, depth: int = _DEPTH) -> bool:
    """Whether the value counts elements: not negative, and no sum of a few of them overflows."""
    number = _number(value)
    if number is not None:
        return 0 <= number < _LARGE
    op = value.op
    if op is None or depth == 0:
        return False
    if op.name in ("dim", *_POSITIONS) or (value.is_op("reduce_sum") and is_count(value, 1)):
        return True
    if op.name == "item":  # how many steps a loop has done
        loop = op.args[0]
        assert isinstance(loop.type, Bundle)
        return loop.is_op("loop") and op.attrs["index"] == len(loop.type.items) - 1
    if op.name in _ARRANGED:
        return _is_size(op.args[0], depth - 1)
    if op.name in ("add", "multiply", "maximum", "floor_divide"):
        return all(_is_size(a, depth - 1) for a in op.args)
    if op.name == "minimum":
        return _is_size(op.args[0], depth - 1) and _is_size(op.args[1], depth - 1)
    if op.name == "where":
        return all(_is_size(a, depth - 1) for a in op.args[1:])
    if op.name == "subtract":
        whole, part = op.args
        return _is_size(whole, depth - 1) and at_most(part, whole, depth - 1)
    return False


def _not_negative(value: Value, depth: int) -> bool:
    number = _number(value)
    if number is not None:
        return number >= 0
    op = value.op
    if op is not None and depth and op.name in ("maximum", "minimum"):
        enough = any if op.name == "maximum" else all
        return enough(_not_negative(a, depth - 1) for a in op.args)
    return _is_size(value, depth)


def at_most(a: Value, b: Value, depth: int = _DEPTH) -> bool:
    """Whether a <= b is provable, for integers."""
    if a is b:
        return True
    low, high = _number(a), _number(b)
    if low is not None and high is not None:
        return low <= high
    if depth == 0:
        return False
    if low is not None and low <= 0 and _not_negative(b, depth - 1):
        return True
    return (
        _below(a.op, b, depth - 1) or _above(b.op, a, depth - 1) or _inside(a, b, depth - 1)
    )


def _below(op: Op | None, b: Value, depth: int) -> bool:
    """Whether the op's result is at most b because an argument is."""
    if op is None:
        return False
    if op.name == "minimum":
        return any(at_most(x, b, depth) for x in op.args)
    if op.name == "maximum":
        return all(at_most(x, b, depth) for x in op.args)
    if op.name == "where":
        return all(at_most(x, b, depth) for x in op.args[1:])
    if op.name in ("subtract", "floor_divide"):  # x - y and x // (y > 0) are at most x
        x, y = op.args
        positive = op.name == "subtract" or (_number(y) or 0) > 0
        sizes = _is_size(x, depth) and _is_size(y, depth)
        return positive and sizes and at_most(x, b, depth)
    return False


def _above(op: Op | None, a: Value, depth: int) -> bool:
    """Whether the op's result is at least a because an argument is."""
    if op is None:
        return False
    if op.name == "maximum":
        return any(at_most(a, x, depth) for x in op.args)
    if op.name == "minimum":
        return all(at_most(a, x, depth) for x in op.args)
    if op.name == "where":
        return all(at_most(a, x, depth) for x in op.args[1:])
    if op.name == "add":
        x, y = op.args
        return _is_size(x, depth) and _is_size(y, depth) and (
            at_most(a, x, depth) or at_most(a, y, depth)
        )
    return False


def _strictly_less(builder: Builder, a: Value, b: Value) -> bool:
    """Whether a < b is provable: positions are below the extent they are in."""
    low, high = _number(a), _number(b)
    if low is not None and high is not None:
        return low < high
    if low is not None:
        return low < 0 and _not_negative(b, _DEPTH)
    op = a.op
    if op is not None and op.name in _ARRANGED:
        return _strictly_less(builder, op.args[0], b)
    if op is None or op.name not in _POSITIONS:
        return False
    if op.name == "iota":
        size = builder.shape(a)[0]
    elif op.name == "positions":
        size = product(builder.shape(op.args[0]))
    elif op.name in ("argsort", "argsort_stable"):
        size = builder.shape(a)[-1]
    elif len(op.attrs["axes"]) == 1:
        size = builder.shape(op.args[0])[op.attrs["axes"][0]]
    else:
        return False
    extent = size if isinstance(size, Value) else constant(size, I64)
    return at_most(extent, b)


@recipe("decided-comparison", "less", "less_equal", "equal", "not_equal", dtypes="i")
def decided_comparison(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """dim(x) < 0 => false;  min(n, k) <= k => true"""
    a, b = _leader(builder, args[0]), _leader(builder, args[1])
    decided: bool | None = None
    if definition.name == "less":
        decided = True if _strictly_less(builder, a, b) else False if at_most(b, a) else None
    elif definition.name == "less_equal":
        decided = True if at_most(a, b) else False if _strictly_less(builder, b, a) else None
    else:
        equal = definition.name == "equal"
        if a is b:
            decided = equal
        elif _differ(builder, a, b):
            decided = not equal
    return None if decided is None else fitted(builder, constant(decided), definition, args, attrs)


def _leader(builder: Builder, value: Value) -> Value:
    """The value that stands for an extent and all that equal it."""
    found = builder.find(value) if not value.type.shape else value
    return value if isinstance(found, int) else found


def _differ(builder: Builder, a: Value, b: Value) -> bool:
    if _strictly_less(builder, a, b) or _strictly_less(builder, b, a):
        return True
    one, other = (a, b) if _number(a) == 1 else (b, a)
    return _number(one) == 1 and not other.type.shape and builder.not_one(other)


@recipe("decided-extremum", "maximum", "minimum", dtypes="i")
def decided_extremum(
    builder: Builder, definition: OpDef, args: Args, attrs: Attrs
) -> Value | None:
    """max(n, 0) => n;  min(n, n + k) => n"""
    a, b = args
    if at_most(a, b):
        low, high = a, b
    elif at_most(b, a):
        low, high = b, a
    else:
        return None
    return fitted(builder, low if definition.name == "minimum" else high, definition, args, attrs)


# --- what a slice leaves of an extent ----------------------------------------------------------
def _less(value: Value) -> tuple[Value, int]:
    """n and k for a value made as n - k (a number k), or the value and 0."""
    op = value.op
    if op is not None and op.name in ("add", "subtract"):
        for x, y in (op.args, op.args[::-1]) if op.name == "add" else (op.args,):
            number = _number(y)
            if number is not None:
                return x, -number if op.name == "add" else number
    return value, 0


def _shortened(value: Value) -> tuple[Value, int]:
    """n and k for a value made as max(n - k, 0), or the value and 0."""
    op = value.op
    if op is not None and op.name == "maximum":
        for x, y in (op.args, op.args[::-1]):
            if _number(y) == 0:
                n, k = _less(x)
                return (n, k) if k > 0 else (value, 0)
    return value, 0


def _start(value: Value) -> tuple[int, Value] | None:
    """k and n for a value made as min(k, n)."""
    op = value.op
    if op is not None and op.name == "minimum":
        for x, y in (op.args, op.args[::-1]):
            k = _number(x)
            if k is not None and k >= 0:
                return k, y
    return None


def _after_start(whole: Value, start: Value) -> tuple[Value, int, bool] | None:
    """n and j + k for max(n - j, 0) - min(k, max(n - i, 0)), where j >= i, and whether that is
    never negative."""
    found = _start(start)
    if found is None:
        return None
    (n, j), (m, i) = _shortened(whole), _shortened(found[1])
    return (n, j + found[0], j == i) if n is m and j >= i else None


def _inside(value: Value, extent: Value, depth: int) -> bool:
    """Whether max(n - j, 0), or min(k, m) + max(n - j, 0), is at most m = max(n - i, 0)."""
    n, i = _shortened(extent)
    if not _is_size(n, depth):
        return False
    starts = [(0, value)]
    op = value.op
    if op is not None and op.name == "add":
        for x, y in (op.args, op.args[::-1]):
            found = _start(x)
            if found is not None and found[1] is extent:
                starts.append((found[0], y))
    return any(
        m is n and j >= i + k for k, rest in starts for m, j in (_shortened(rest),)
    )


@recipe("shortened-extent", "subtract", "maximum", dtypes="i")
def shortened_extent(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """n - min(k, n) => max(n - k, 0);  max(max(n - j, 0) - min(k, n), 0) => max(n - (j + k), 0)

    So x[1:], x[:-1] and, two at a time, x[1:-1] are known to be as long as each other.
    """
    if args[0].ndim or args[1].ndim:
        return None
    found: tuple[Value, int] | None = None
    if definition.name == "subtract":
        after = _after_start(*args)
        found = after[:2] if after is not None and after[2] else None
    else:
        for x, zero in (args, args[::-1]):
            if _number(zero) == 0:
                found = _between(x)
                break
    if found is None or not _is_size(found[0]) or found[1] >= _LARGE:
        return None
    return maximum(found[0] + -found[1], 0)  # type: ignore[no-any-return]


def _between(length: Value) -> tuple[Value, int] | None:
    """n and k for which max(length, 0) is max(n - k, 0), if that is simpler."""
    if length.op is not None and length.op.name == "subtract":
        after = _after_start(*length.op.args)
        if after is not None:
            return after[:2]
    inner, k = _less(length)
    n, j = _shortened(inner)
    return (n, j + k) if j and k > 0 else None


def _is_past(start: Value, size: Value) -> int | None:
    """k, for a start min(k, m) where the size is 0 if m < k: the slice may as well start at k."""
    found = _start(start)
    if found is None:
        return None
    k, extent = found
    (n, j), (m, i) = _shortened(size), _shortened(extent)
    return k if n is m and j >= i + k and _is_size(n) else None


@recipe("constant-start", "slice", "set_slice", "add_slice")
def constant_start(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """x[min(k, n):] => x[k:], with n - k elements or none"""
    lead = 1 if definition.name == "slice" else 2
    starts, sizes = slice_bounds(attrs, args[lead:])
    known = [_is_past(a, b) if isinstance(a, Value) and isinstance(b, Value) else None
             for a, b in zip(starts, sizes, strict=True)]  # fmt: skip
    if not any(k is not None for k in known):
        return None
    new = [a if k is None else k for a, k in zip(starts, known, strict=True)]
    static, dynamic = split_sizes(new)
    lengths = [s for s in sizes if isinstance(s, Value)]
    return emit(definition, (*args[:lead], *dynamic, *lengths), **{**attrs, "starts": static})


@recipe("inside-if-any", "bitwise_or", dtypes="b", over=("equal",))
def inside_if_any(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """s == 0 | k + s <= n => true, for s = max(n - k, 0)"""
    for empty, inside in (args, args[::-1]):
        if not (empty.is_op("equal") and inside.is_op("less_equal")):
            continue
        assert empty.op is not None
        assert inside.op is not None
        end, extent = inside.op.args
        size = next((a for a in empty.op.args if _number(a) != 0), end)
        if end.op is None or end.op.name != "add" or size not in end.op.args:
            continue
        k = next((_number(a) for a in end.op.args if a is not size), None)
        (n, j), (m, i) = _shortened(size), _shortened(extent)
        if k is not None and n is m and j >= i + k and _is_size(n):
            return fitted(builder, constant(True), definition, args, attrs)
    return None


@recipe("all-in-bounds", "reduce_all", over=("less",))
def all_in_bounds(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """all(iota(n) < m) => n <= m;  all([c, d, ...] < m) => max(c, d, ...) < m"""
    op = args[0].op
    if op is None or op.name != "less" or op.args[1].type.shape:
        return None
    if len(attrs["axes"]) != args[0].ndim:
        return None
    index, bound = op.args
    if index.is_op("iota") and args[0].ndim == 1 and _not_negative(bound, _DEPTH):
        return less_equal(builder.shape(index)[0], bound)  # type: ignore[no-any-return]
    literal = index.literal
    if literal is None or not literal.array.size or index.type.dtype.kind != "i":
        return None
    return less(constant(literal.array.max()), bound)  # type: ignore[no-any-return]


@recipe("known-broadcast", "bitwise_or", dtypes="b", over=("equal",))
def known_broadcast(builder: Builder, definition: OpDef, args: Args, attrs: Attrs) -> Value | None:
    """n == m | n == 1 => true, where m is the broadcast of n with something"""
    for fits, one in (args, args[::-1]):
        if not (fits.is_op("equal") and one.is_op("equal")):
            return None
        assert fits.op is not None
        assert one.op is not None
        for size, whole in (fits.op.args, fits.op.args[::-1]):
            if any(size is a for a in one.op.args) and any(_number(a) == 1 for a in one.op.args):
                is_size = size.type == whole.type == Type(I64)
                if is_size and builder.broadcasts(size, whole):
                    return fitted(builder, constant(True), definition, args, attrs)
    return None


RULES: tuple[Rule, ...] = (
    known_broadcast, decided_comparison, decided_extremum, shortened_extent, constant_start,
    inside_if_any, all_in_bounds,
)  # fmt: skip
