"""Every op of the tables, compiled in a whole program, against its NumPy meaning.

The cases follow from the declarations, so a new op is tested by existing. Many ops share one
compiled function, since compiling costs far more than calling.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from jitgraph.errors import DTypeError, JitgraphError
from jitgraph.ir.elementwise import Elementwise, cast, resolve
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OPS, OpDef, emit
from jitgraph.ir.ops.bundles import items
from jitgraph.ir.ops.control import Control
from jitgraph.ir.ops.indexing import ADD_SLICE, GATHER, SCATTER_ADD, SET_SLICE, SLICE
from jitgraph.ir.ops.linear import MATMUL
from jitgraph.ir.ops.normalisation import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.ops.special import FORMULAS
from jitgraph.ir.types import (
    BOOL,
    DTYPES,
    F64,
    I64,
    Bundle,
    Dim,
    Extent,
    Type,
    finfo,
    is_bfloat16,
    kind_of,
    type_of,
)
from jitgraph.ir.values import Value
from tests.arrays import comparable, example_array
from tests.codegen.scalar_kernels import random_values, special_values
from tests.ir.test_ops_infer import cases as small_cases
from tests.native import assert_close, compiled

#: Special functions are tested one by one in tests/codegen/test_special_functions.py; a light and a
#: heavy one, and one with a loop, stand for all of them in whole programs.
SAMPLED = {"gammaln", "gammainc", "xlogy"}
ELEMENTWISE = [op for op in OPS.values() if isinstance(op, Elementwise)
               and (op.name not in FORMULAS or op.name in SAMPLED)]  # fmt: skip
#: Kernels alone use stride and element; constants have no operands to try. Ops with regions have
#: tests of their own.
STRUCTURAL = [op for op in OPS.values() if not isinstance(op, Elementwise | Control)
              and op.name not in ("stride", "element", "constant", "item",
                          "custom_gradient")]  # fmt: skip
#: Elementwise ops that may differ from NumPy's in the last places (its own err by up to 4).
APPROXIMATE = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "logaddexp2", "sigmoid",
    "softplus", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh",
    "tanh", "arcsinh", "arccosh", "arctanh", "erf", "erfc", "power", "cbrt", "hypot", "fma",
    "bits_to_normal",
}  # fmt: skip
ULPS = 5
#: Special functions, which may raise rounded numbers to powers: times the logarithm of results.
#: How exact they are, docs/mathlib.md says.
SPECIAL_ULPS = 16
#: Ops that add or multiply many elements, in an order of their own.
ROUNDING = {"reduce_sum", "reduce_prod", "sum_to", "matmul", "softmax", "log_softmax",
            "logsumexp", "scatter_add", "prefix_sum", "prefix_prod", "scatter", "fft", "ifft",
            "rfft", "irfft", "conv", "conv_by_input", "conv_by_filters", "pool_sum", "unpool",
            "unpool_max", "pool_at_max", "solve_lower", "solve_upper", "solve_unit_lower",
            "solve_unit_upper"}  # fmt: skip


# --- elementwise: operands and results -----------------------------------------------------------
def accepts(op: Elementwise, dtypes: Sequence[Any]) -> bool:
    try:
        resolve(op, tuple(dtypes))
    except DTypeError:
        return False
    return True


@dataclass
class Operands:
    """What the operands of any op are taken from, as arrays or as parameters."""

    a: Any
    b: Any
    c: Any
    #: Like b, but never negative where integers are signed: an exponent.
    natural: Any
    truth: Any

    def all(self) -> list[Any]:
        return [self.a, self.b, self.c, self.natural, self.truth]

    def of(self, op: Elementwise) -> list[Any]:
        if op.name == "where":
            return [self.truth, self.a, self.b]
        if op.name == "power":
            return [self.a, self.natural]
        return [self.a, self.b, self.c][: op.arity]

    @classmethod
    def arrays(cls, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Operands:
        natural = b & np.iinfo(b.dtype).max if b.dtype.kind == "i" else b
        return cls(a, b, c, natural, np.asarray(b.real > 0))

    @classmethod
    def parameters(cls, dtype: Any, *ranks: int) -> Operands:
        a, b, c = (Value(Type(dtype, (None,) * rank), name=name)
                   for rank, name in zip(ranks, "abc", strict=True))  # fmt: skip
        return cls(a, b, c, Value(b.type, name="natural"),
                   Value(Type(DTYPES["bool"], b.type.shape), name="truth"))  # fmt: skip


def taking(dtype: Any) -> list[Elementwise]:
    """The ops that take operands of this dtype, perhaps after a cast."""
    every = Operands(dtype, dtype, dtype, dtype, DTYPES["bool"])
    return [op for op in ELEMENTWISE if accepts(op, every.of(op))]


def expected(op: Elementwise, operands: Sequence[np.ndarray]) -> np.ndarray:
    loop = resolve(op, tuple(x.dtype for x in operands))
    with np.errstate(all="ignore"):
        return op.evaluate(*[x.astype(d) for x, d in zip(operands, loop, strict=False)])


def assert_agrees(
    op: Elementwise, got: np.ndarray, want: np.ndarray, operands: Sequence[np.ndarray]
) -> None:
    """The same to the bit (NaNs are alike); ops of the math library to a few ulps."""
    told = f"{op.name}({', '.join(str(type_of(x)) for x in operands)})"
    assert got.dtype == want.dtype, told
    assert got.shape == want.shape, told
    good = got == want
    if kind_of(want.dtype) in "fc":
        good = close_parts(op.name, got, want, operands)
    good = good | ~settled(op.name, want, operands)
    if not good.all():
        wrong = np.flatnonzero(~good)[:4]
        shown = [(*(np.broadcast_to(x, want.shape).flat[i] for x in operands), got.flat[i],
                  want.flat[i]) for i in wrong]  # fmt: skip
        pytest.fail(f"{told}: {(~good).sum()} differ (operands, ours, NumPy's): {shown}")


def close_parts(
    name: str, got: np.ndarray, want: np.ndarray, operands: Sequence[np.ndarray]
) -> np.ndarray:
    good = np.ones(want.shape, bool)
    parts = [(got, want)] if kind_of(want.dtype) == "f" else [(got.real, want.real),
                                                          (got.imag, want.imag)]  # fmt: skip
    with np.errstate(all="ignore"):
        for a, b in parts:
            fine = ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))
            if name in APPROXIMATE or operands[-1].dtype.kind == "c":
                scale = np.abs(want)
                if name.startswith("logaddexp"):  # cancels where the result is near zero
                    scale = np.maximum(scale, np.abs(operands[0]).astype(b.dtype))
                fine |= np.abs(a - b) <= ULPS * np.spacing(scale.astype(b.dtype))
            if name in FORMULAS:
                scale = np.maximum(np.abs(want), 1).astype(b.dtype)
                bound = SPECIAL_ULPS * (1 + np.log(np.minimum(scale, finfo(b.dtype).max)))
                fine |= np.abs(a - b) <= bound * np.spacing(scale)
            good &= fine
    return good


def settled(name: str, want: np.ndarray, operands: Sequence[np.ndarray]) -> np.ndarray:
    """Where NumPy itself has one answer: not for the sign of max(0, -0), nor for complex products
    and quotients of infinities."""
    kind = kind_of(operands[-1].dtype)
    if name == "sign" and is_bfloat16(want.dtype):  # ml_dtypes gives the sign of -0
        return want != 0
    if name in ("maximum", "minimum", "fmax", "fmin") and kind == "f":
        return np.broadcast_to((operands[0] != 0) | (operands[1] != 0), want.shape)
    if kind == "c" and name in ("multiply", "square", "divide", "reciprocal"):
        finite = [np.isfinite(x) for x in operands]
        return np.broadcast_to(np.logical_and.reduce(np.broadcast_arrays(*finite)), want.shape)
    return np.ones(want.shape, bool)


class ElementwiseProgram:
    """One compiled function with a result for every op."""

    def __init__(self, ops: Sequence[Elementwise], params: Operands, like: Operands) -> None:
        self.ops = ops
        fn = Function(params.all(), [op(*params.of(op)) for op in ops])
        self.call = compiled(fn, "ieee", arrays=like.all())

    def check(
        self, operands: Operands, laid_out: Callable[[np.ndarray], np.ndarray] = lambda a: a
    ) -> None:
        got = self.call(*map(laid_out, operands.all()))
        assert len(got) == len(self.ops)
        for op, result in zip(self.ops, got, strict=True):
            own = operands.of(op)
            assert_agrees(op, result, expected(op, own), own)


def mixed(dtype: Any, *shapes: tuple[int, ...], seed: int = 5) -> Operands:
    """Arrays of usual and of extreme numbers."""
    rng = np.random.default_rng(seed)
    return Operands.arrays(*(example_array(rng, dtype, s, benign=False) for s in shapes))


# --- elementwise: every op and dtype -------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_special_values(dtype: Any) -> None:
    """All pairs of special values, and numbers of many magnitudes."""
    rng, special = np.random.default_rng(2), special_values(dtype)
    a, b = (part.ravel() for part in np.meshgrid(special, special))
    c = rng.choice(special, a.size)
    operands = Operands.arrays(*(np.concatenate([x, random_values(dtype, 400, rng)])
                                 for x in (a, b, c)))  # fmt: skip
    every = Operands(dtype, dtype, dtype, dtype, DTYPES["bool"])
    own = [op for op in taking(dtype) if resolve(op, tuple(every.of(op)))[0] in every.of(op)]
    converting = [op for op in taking(dtype) if op not in own]
    # All ops are tried on converted operands of two dtypes, some on those of every dtype.
    ops = own + converting[:: 1 if dtype.name in ("int32", "uint8") else 8]
    ElementwiseProgram(ops, Operands.parameters(dtype, 1, 1, 1), operands).check(operands)


def unaligned(array: np.ndarray) -> np.ndarray:
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    raw[...] = array
    return raw


def spread(array: np.ndarray) -> np.ndarray:
    """Every third element of a wider array."""
    if not array.ndim:
        return array
    wide = np.ones((*array.shape[:-1], 3 * array.shape[-1]), array.dtype)
    wide[..., 1::3] = array
    return wide[..., 1::3]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fortran": np.asfortranarray,
    "reversed": lambda a: np.flip(np.ascontiguousarray(np.flip(a))),
    "spread": spread,
    "read only": lambda a: np.broadcast_to(a, a.shape),
    "unaligned": unaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
}


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_sizes_and_layouts(dtype: Any) -> None:
    """Extents around the widths of vectors, no elements at all, and every order in memory."""
    every = taking(dtype)
    # All ops meet loops and strides in one dtype; a few of each kind do in the others.
    ops = every if dtype == F64 else every[::12]
    first = mixed(dtype, *[(3, 7)] * 3)
    program = ElementwiseProgram(ops, Operands.parameters(dtype, 2, 2, 2), first)
    for columns in (0, 7, 8, 9, 63, 64, 65):
        program.check(mixed(dtype, *[(2, columns)] * 3, seed=columns))
    program.check(mixed(dtype, *[(0, 5)] * 3))
    for layout in LAYOUTS.values():
        program.check(first, layout)


def test_scalars() -> None:
    """0-d operands give 0-d arrays, for Python numbers too."""
    ops = taking(DTYPES["f64"])
    operands = mixed(DTYPES["f64"], (), (), ())
    program = ElementwiseProgram(ops, Operands.parameters(DTYPES["f64"], 0, 0, 0), operands)
    program.check(operands)
    for result in program.call(1.5, 2.0, 0.25, 2, True):
        assert isinstance(result, np.ndarray)
        assert result.shape == ()


BROADCASTS = [
    ((3, 4), (4,), (3, 4)), ((3, 1), (4,), (1, 4)), ((1, 4), (1,), (3, 1)), ((1, 1), (1,), (3, 1)),
    ((0, 4), (4,), (0, 4)), ((3, 1), (0,), (1, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "stride"), [("f64", 1), ("i64", 4), ("bool", 4)])
def test_broadcasting(dtype: str, stride: int) -> None:
    """Which extents are 1 only the call tells. Every op of the first dtype, some of the others."""
    ops = [op for op in taking(DTYPES[dtype]) if op.arity > 1][::stride]
    calls = [mixed(DTYPES[dtype], *shapes) for shapes in BROADCASTS]
    program = ElementwiseProgram(ops, Operands.parameters(DTYPES[dtype], 2, 1, 2), calls[0])
    for operands in calls:
        program.check(operands)


def test_scalars_broadcast() -> None:
    ops = [op for op in taking(DTYPES["f32"]) if op.arity > 1]
    operands = mixed(DTYPES["f32"], (), (5,), ())
    ElementwiseProgram(ops, Operands.parameters(DTYPES["f32"], 0, 1, 0), operands).check(operands)


@pytest.mark.parametrize("name", ["add", "less", "where"])
def test_mixed_dtypes(name: str) -> None:
    """Every pair of dtypes, in one order or the other, promotes as NumPy's does."""
    op, truth = OPS[name], Value(Type(DTYPES["bool"], (Extent("n"),)))
    assert isinstance(op, Elementwise)
    params = {d: Value(Type(d, (Extent("n"),)), name=n) for n, d in DTYPES.items()}
    rng = np.random.default_rng(8)
    arrays = {d: example_array(rng, d, (9,), benign=True) for d in params}
    flags = rng.random(9) < 0.5

    def pair(a: Any, b: Any, of: Any, condition: Any) -> list[Any]:
        return [condition, of[a], of[b]] if name == "where" else [of[a], of[b]]

    pairs = [(a, b)[:: 1 if k % 2 else -1]
             for k, (a, b) in enumerate(itertools.combinations(params, 2))]  # fmt: skip
    pairs = [p for p in pairs if accepts(op, [x.dtype for x in pair(*p, params, truth)])]
    results = [op(*pair(a, b, params, truth)) for a, b in pairs]
    used = [*params.values(), *([truth] if name == "where" else [])]
    got = compiled(Function(used, results))(*arrays.values(), *([flags] * (name == "where")))
    for (a, b), result in zip(pairs, got, strict=True):
        operands = pair(a, b, arrays, flags)
        assert_agrees(op, result, expected(op, operands), operands)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_casts() -> None:
    params = {n: Value(Type(d, (Extent("n"),)), name=n) for n, d in DTYPES.items()}
    rng = np.random.default_rng(9)
    arrays = {n: np.resize(special_values(d), 90) for n, d in DTYPES.items()}
    for array in arrays.values():
        array[81:] = example_array(rng, array.dtype, (9,), benign=True)
    pairs = list(itertools.product(DTYPES, repeat=2))
    fn = Function(params.values(), [cast(params[a], DTYPES[b]) for a, b in pairs])
    got = compiled(fn)(*arrays.values())
    for (a, b), result in zip(pairs, got, strict=True):
        array = arrays[a]
        with np.errstate(all="ignore"):
            want = array.astype(DTYPES[b])
        assert result.dtype == want.dtype
        # What a number becomes that the integers do not hold is the machine's choice.
        keep = np.ones(array.shape, bool)
        if kind_of(array.dtype) in "fc" and DTYPES[b].kind in "iu":
            info = np.iinfo(DTYPES[b])
            whole = np.trunc(array.real.astype(np.float64))
            keep = (whole >= info.min) & (whole < float(info.max))
        result, want = comparable(result), comparable(want)
        np.testing.assert_array_equal(result[keep], want[keep], err_msg=f"{a} to {b}")


# --- ops over whole arrays -----------------------------------------------------------------------
Case = tuple[OpDef, Sequence[np.ndarray], dict[str, Any]]


def evaluated(cases: Sequence[Case]) -> Iterator[tuple[Case, np.ndarray]]:
    """The cases whose op takes these operands, with what NumPy makes of them."""
    for op, arrays, attrs in cases:
        try:
            op.infer([type_of(a) for a in arrays], attrs)
            yield (op, arrays, attrs), op.evaluate(*arrays, **attrs)
        except JitgraphError:
            continue


def check_cases(
    cases: Sequence[Case], *, known: bool, at_once: int = 60, algebra: str = "real"
) -> int:
    """Compile the cases in groups, over known or unknown extents; equal arrays are one input."""
    todo, done = list(evaluated(cases)), 0
    for start in range(0, len(todo), at_once):
        group = todo[start : start + at_once]
        params: dict[Any, tuple[Value, np.ndarray]] = {}
        emitted = [emit(op, [parameter(a, params, known) for a in arrays], **attrs)
                   for (op, arrays, attrs), _ in group]  # fmt: skip
        results = [r for v in emitted for r in (items(v) if isinstance(v.type, Bundle) else (v,))]
        inputs = [array for _, array in params.values()]
        fn = Function([value for value, _ in params.values()], results)
        got = compiled(fn, algebra, arrays=inputs)(*inputs)
        wanted = [(case, part) for case, want in group
                  for part in (want if isinstance(want, tuple) else (want,))]  # fmt: skip
        for ((op, arrays, attrs), want), result in zip(wanted, got, strict=True):
            told = f"{op.name}({', '.join(str(type_of(a)) for a in arrays)}) {attrs}"
            if op.name in ROUNDING:
                assert_close(result, want, told)
                continue
            assert result.dtype == want.dtype, told
            result, want = comparable(result), comparable(want)
            np.testing.assert_array_equal(result, want, err_msg=told, strict=True)
        done += len(group)
    return done


def parameter(
    array: np.ndarray, params: dict[Any, tuple[Value, np.ndarray]], known: bool
) -> Value:
    key = (array.dtype, array.shape, array.strides, array.tobytes())
    if key not in params:
        type_ = type_of(array)
        if not known:
            type_ = type_.with_shape(map(unknown, array.shape))
        params[key] = (Value(type_, name=f"p{len(params)}"), array)
    return params[key][0]


def unknown(size: int) -> Dim:
    """An extent that only the call tells, of one name wherever the size is the same: what is
    computed over one domain shares a loop nest, and compiles far sooner than alone."""
    return None if size == 1 else Extent(f"n{size}")


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("op", STRUCTURAL, ids=[op.name for op in STRUCTURAL])
def test_small_cases(op: OpDef, known: bool) -> None:
    """The examples on which inference is tested: all of them in two dtypes; with known extents
    also one in every other dtype."""
    cases: list[Case] = []
    met: set[Any] = set()
    every = list(evaluated([(op, *case) for case in small_cases(op)]))
    usual = {None, F64, I64, DTYPES["bool"]}
    if not any(arrays and arrays[0].dtype in usual for (_, arrays, _), _ in every):
        usual.add(DTYPES["c128"])
    for case, want in every:
        dtype = case[1][0].dtype if case[1] else None
        some = (want[0] if isinstance(want, tuple) else want).size
        if dtype in usual or (known and dtype not in met and some):
            cases.append(case)
            met.add(dtype)
    if op.name == "cast":  # every pair of dtypes is `test_casts`'
        cases = cases[::4]
    assert check_cases(cases, known=known)


def subsets(rank: int) -> list[tuple[int, ...]]:
    """Every combination of axes, from none to all."""
    return [axes for count in range(rank + 1)
            for axes in itertools.combinations(range(rank), count)]  # fmt: skip


REDUCTIONS = [op for op in OPS.values() if isinstance(op, Reduction)]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_reductions(dtype: Any) -> None:
    """Every axis combination, in C order and in none; ties, NaNs and infinities among them."""
    rng = np.random.default_rng(4)
    usual = example_array(rng, dtype, (3, 5, 17), benign=True)
    strange = example_array(rng, dtype, (5, 67), benign=False)
    cases: list[Case] = []
    for op in REDUCTIONS:
        arrays = [usual, usual.transpose(2, 0, 1)[::-1, :, ::2]]
        if op.combine not in ("add", "multiply") or dtype.kind in "iu":
            arrays.append(strange)
        if dtype.name not in ("float64", "int32", "bool"):
            arrays = arrays[1:]
        cases += [(op, [a], {"axes": axes}) for a in arrays for axes in subsets(a.ndim)[:: a.ndim]]
    assert check_cases(cases, known=False, at_once=100)


def test_reductions_of_nothing_and_of_much() -> None:
    rng = np.random.default_rng(6)
    cases: list[Case] = []
    for op in REDUCTIONS:
        dtype = DTYPES["bool" if op.accepts == "b" else "f64"]
        much = example_array(rng, dtype, (3, 1001), benign=True) / (4 if dtype == F64 else 1)
        much = much.astype(dtype)
        cases += [(op, [much], {"axes": axes}) for axes in subsets(2)]
        cases += [(op, [np.zeros((0, 4), dtype)], {"axes": axes}) for axes in subsets(2)]
        cases += [(op, [np.zeros((2, 0), dtype)], {"axes": axes}) for axes in subsets(2)]
    assert check_cases(cases, known=False)


MATRIX_SHAPES = [
    ((5,), (5,)), ((5,), (5, 3)), ((4, 5), (5,)), ((4, 5), (5, 3)), ((2, 4, 5), (5,)),
    ((5,), (2, 5, 3)), ((2, 4, 5), (2, 5, 3)), ((2, 4, 5), (1, 5, 3)), ((4, 5), (2, 5, 3)),
    ((1, 5), (5, 1)), ((4, 1), (1, 3)), ((4, 0), (0, 3)), ((0, 5), (5, 3)), ((17, 33), (33, 9)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_matrix_products(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    cases: list[Case] = []
    for left, right in MATRIX_SHAPES:
        a = example_array(rng, dtype, left, benign=True)
        b = example_array(rng, dtype, right, benign=True)
        cases += [(MATMUL, [a, b], {})]
        if a.ndim > 1 and b.ndim > 1:
            cases += [(MATMUL, [np.asfortranarray(a), np.flip(b)], {})]
    kept = cases if dtype.name in ("float64", "float32", "int32", "complex64") else cases[::4]
    assert check_cases(kept, known=False)


@pytest.mark.parametrize("dtype", [DTYPES["f16"], DTYPES["f32"], F64], ids=str)
def test_softmax_family(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    usual = rng.normal(size=(3, 4, 19)).astype(dtype)
    far = (100 * rng.normal(size=(4, 19))).astype(dtype)
    infinite = usual[0].copy()
    infinite[0, 3] = infinite[1] = -np.inf
    infinite[2, 5] = infinite[2, 6] = np.inf
    cases = [(op, [x], {"axes": axes}) for op in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP)
             for x in ((usual, usual[:, :0], far, infinite) if dtype == F64 else (far.T, infinite))
             for axes in subsets(x.ndim)[:: x.ndim]]  # fmt: skip
    # Of infinities the real algebra may make anything.
    assert check_cases(cases, known=False, algebra="ieee")


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_parts(dtype: Any) -> None:
    """Slices in every direction, writes into them, look-ups, and sums at repeated places."""
    rng = np.random.default_rng(2)
    x = example_array(rng, dtype, (6, 9), benign=True)
    cases: list[Case] = []
    for start, size, step in [(0, 6, 1), (5, 6, -1), (1, 2, 2), (4, 2, -3), (3, 0, 1), (2, 1, 5)]:
        attrs = {"axes": (0,), "starts": (start,), "sizes": (size,), "steps": (step,)}
        value = example_array(rng, dtype, (size, 9), benign=True)
        cases += [(SLICE, [a], attrs) for a in (x, np.asfortranarray(x), x[::-1])]
        cases += [(SET_SLICE, [x, value], attrs), (SET_SLICE, [x, value[:, :1]], attrs)]
        dynamic = {**attrs, "starts": (None,), "sizes": (None,)}
        numbers = [np.array(start, I64), np.array(size, I64)]
        cases += [(SLICE, [x, *numbers], dynamic), (SET_SLICE, [x, value, *numbers], dynamic)]
        if dtype != BOOL:
            cases += [(ADD_SLICE, [x, value], attrs), (ADD_SLICE, [x, value[:, :1]], attrs)]
            cases += [(ADD_SLICE, [x, value, *numbers], dynamic)]
    rows, columns = np.array([5, 0, 0, 3]), np.array([[8], [0]])
    for indices in ([rows], [rows, columns], [rows[:0]], [rows[:1]]):
        target = x[tuple(indices)]
        cases += [(GATHER, [x, *indices], {}), (GATHER, [x.T.copy().T, *indices], {})]
        cases += [(SCATTER_ADD, [x, target.copy(), *indices], {})]
    cases += [(SCATTER_ADD, [x, x[rows][:, :1].copy(), rows], {})]
    # Every case in a few dtypes, a few in every dtype.
    kept = cases if dtype == F64 else cases[dtype.itemsize % 5 :: 5]
    assert check_cases(kept, known=False)
