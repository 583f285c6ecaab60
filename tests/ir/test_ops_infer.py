"""Inference and evaluation agree, for every op in the tables, on every dtype it takes.

The cases are derived from the declarations, so an op added to a table is tested as it is.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from jitgraph.errors import DTypeError, JitgraphError, OutOfBoundsError, ShapeError
from jitgraph.ir import ops as _tables  # noqa: F401
from jitgraph.ir.elementwise import Elementwise, cast, resolve
from jitgraph.ir.opdef import OPS, OpDef, emit
from jitgraph.ir.ops.arithmetic import add, equal, invert, where
from jitgraph.ir.ops.control import Control
from jitgraph.ir.ops.exponential import exp, power
from jitgraph.ir.ops.indexing import COMBINES, SET_SLICE, gather, slice_axis
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.movement import broadcast_to, reshape, squeeze, transpose
from jitgraph.ir.ops.normalisation import softmax
from jitgraph.ir.ops.reduction import Reduction, max_, sum_
from jitgraph.ir.types import DTYPE_NAMES, DTYPES, Bundle, Extent, Type, parse_type, type_of
from jitgraph.ir.values import Literal, Value

Case = tuple[list[np.ndarray], dict[str, Any]]


def example(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Small positive numbers, in the domain of nearly every op."""
    size = int(np.prod(shape, dtype=np.int64))
    return (np.arange(size) % 3).reshape(shape).astype(DTYPES[dtype])


def index(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def size(number: int) -> np.ndarray:
    return np.array(number, np.int64)


# --- the cases of each op ------------------------------------------------------------------------
def elementwise_cases(definition: Elementwise) -> list[Case]:
    shapes = [((2, 1, 3), (4, 3), ()), ((), (), ()), ((0, 3), (), (3,))]
    cases: list[Case] = []
    for dtypes in itertools.product(DTYPES, repeat=definition.arity):
        if definition.arity == 3 and len(set(dtypes[1:])) > 1:
            continue
        for chosen in shapes:
            arrays = [example(s, d) for s, d in zip(chosen, dtypes, strict=False)]
            cases.append((arrays, {}))
    return cases


def reduction_cases(definition: Reduction) -> list[Case]:
    return [
        ([example(shape, dtype)], {"axes": axes})
        for dtype in DTYPES
        for shape in ((2, 3, 2), (3,), ())
        for count in range(len(shape) + 1)
        for axes in itertools.combinations(range(len(shape)), count)
    ]


def over_dtypes(*shapes: tuple[int, ...], **attrs: Any) -> list[Case]:
    return [([example(s, d) for s in shapes], attrs) for d in DTYPES]


def along_axes(shape: tuple[int, ...]) -> list[Case]:
    return [case for axes in ((), (0,), (1,), (0, 1)) for case in over_dtypes(shape, axes=axes)]


def with_operands(cases: list[Case], *more: np.ndarray) -> list[Case]:
    return [([*arrays, *more], attrs) for arrays, attrs in cases]


def mask(*shape: int) -> np.ndarray:
    return example(shape, "i64") > 0


def counted(mask: np.ndarray) -> list[np.ndarray]:
    return [mask, size(np.count_nonzero(mask))]


def chosen(shape: tuple[int, ...]) -> list[Case]:
    return with_operands(over_dtypes(shape), *counted(mask(*shape)))


def transforms(kind: str, n: int) -> list[Case]:
    """Of rows shorter and longer than the transform, of an extent known and given."""
    names = {"f": ("f32", "f64"), "c": ("c64", "c128")}[kind]
    cases: list[Case] = []
    for name, real in zip(names, ("f32", "f64"), strict=True):
        for shape in ((4,), (2, 3, 7), (0, 4)):
            factor = np.array(0.5, DTYPES[real])
            cases += [([example(shape, name), factor], {"n": n}),
                      ([example(shape, name), factor, size(n)], {"n": None})]  # fmt: skip
    return cases


def matrices(*shapes: tuple[int, ...]) -> list[Case]:
    """Well-conditioned operands: symmetric positive definite where they are square."""
    rng = np.random.default_rng(2)
    cases: list[Case] = []
    for dtype in (DTYPES["f64"], DTYPES["c128"]):
        arrays = []
        for shape in shapes:
            x = rng.normal(size=shape).astype(dtype)
            if dtype.kind == "c":
                x = x + 1j * rng.normal(size=shape)
            if shape[-2] == shape[-1]:
                x = x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(shape[-1])
            arrays.append(x)
        cases.append((arrays, {}))
    return cases


def convolutions() -> dict[str, list[Case]]:
    """Over one to three axes, with paddings, strides and groups; extents of results given by number
    and at run time, also in a batch."""
    found: dict[str, list[Case]] = {"conv": [], "conv_by_input": [], "conv_by_filters": []}
    for x, w, y, attrs in (
        ((2, 3, 5), (4, 3, 2), (2, 4, 4),
         {"strides": (1,), "padding": (0, 0), "dilation": (1,), "groups": 1}),
        ((3, 2, 4, 5, 4), (3, 6, 2, 3, 2), (3, 2, 6, 2, 4),
         {"strides": (2, 1), "padding": (1, 0, 2, 0), "dilation": (1, 2), "groups": 2}),
        ((1, 2, 3, 4, 2), (2, 2, 3, 1, 2), (1, 2, 3, 4, 3),
         {"strides": (1, 1, 1), "padding": "half", "dilation": (1, 1, 1), "groups": 1}),
        ((0, 1, 3, 2), (1, 1, 2, 2), (0, 1, 4, 3),
         {"strides": (1, 1), "padding": "full", "dilation": (1, 1), "groups": 1}),
    ):  # fmt: skip
        rank = len(attrs["strides"])
        found["conv"] += over_dtypes(x, w, **attrs)
        for name, shapes, sizes in (
            ("conv_by_input", (y, w), x[-rank:]), ("conv_by_filters", (x, y), w[-rank:])
        ):  # fmt: skip
            found[name] += over_dtypes(*shapes, sizes=sizes, **attrs)
            found[name] += with_operands(
                over_dtypes(*shapes, sizes=(None, *sizes[1:]), **attrs), size(sizes[0])
            )
    return found


def pools() -> dict[str, list[Case]]:
    """Windows that overlap, fill the array, and leave elements out; one too long to be taken
    element by element."""
    found: dict[str, list[Case]] = {
        name: [] for name in ("pool_max", "pool_sum", "unpool", "unpool_max", "pool_at_max")
    }
    for x, y, attrs in (
        ((2, 4, 6), (2, 2, 3), {"window": (2, 2), "strides": (2, 2)}),
        ((5, 7), (2, 5), {"window": (3, 3), "strides": (2, 1)}),
        ((2, 23), (2, 3), {"window": (11,), "strides": (5,)}),
        ((6, 3, 8), (2, 3, 2), {"window": (2, 1, 3), "strides": (4, 1, 5)}),
    ):
        last = x[len(x) - len(attrs["window"]) :]
        for name in ("pool_max", "pool_sum"):
            found[name] += over_dtypes(x, **attrs)
        found["unpool"] += over_dtypes(y, sizes=last, **attrs)
        found["unpool"] += with_operands(
            over_dtypes(y, sizes=(None, *last[1:]), **attrs), size(last[0])
        )
        for dtype in DTYPES:
            if dtype == "bool" or dtype.startswith("c"):
                continue
            h, g = example(x, dtype), example(y, dtype)
            top = OPS["pool_max"].evaluate(h, **attrs)
            found["unpool_max"].append(([g, h, top], attrs))
            found["pool_at_max"].append(([h[::-1], h, top], attrs))
    return found


SQUARES = [case for shape in ((3, 3), (2, 1, 4, 4), (0, 2, 2), (1, 1))
           for case in matrices(shape)]  # fmt: skip
SYSTEMS = [*matrices((3, 3), (3, 2)), *matrices((2, 4, 4), (2, 4, 1))]
TRIANGULAR = [(arrays[::-1], attrs) for arrays, attrs in SYSTEMS]
TALL = [*matrices((4, 2)), *matrices((2, 3, 1))]
OBLONG = [*TALL, *matrices((2, 5)), *matrices((2, 3, 3))]
def keys(*shape: int) -> np.ndarray:
    """With many that are equal, and the least and the largest there are."""
    found = np.random.default_rng(4).integers(-3, 4, shape)
    ends = np.iinfo(np.int64)
    return np.where(found == -3, ends.min, np.where(found == 3, ends.max, found))


SEARCHES = [([np.sort(keys(*known)), keys(*wanted)], {}) for known, wanted in (
    ((5,), (40,)), ((0,), (3,)), ((4,), (0,)), ((2, 3, 1), (2, 3, 7)), ((3, 700), (3, 33)),
)]  # fmt: skip
SLICE = {"axes": (0, 1), "starts": (None, 2), "sizes": (2, None), "steps": (2, -1)}
OTHER_CASES: dict[str, list[Case]] = {
    "constant": [([], {"value": Literal(example((2, 3), d))}) for d in DTYPES],
    "cast": [case for to in DTYPES.values() for case in over_dtypes((2, 3), dtype=to)],
    "bitcast": [case for to in DTYPES.values() for case in over_dtypes((2, 3), dtype=to)],
    "narrow": [([example(s, "i64") % 9], {"dtype": DTYPES[to]})
               for s in ((), (2, 3)) for to in ("i8", "u8", "u64", "i64")],
    "dim": over_dtypes((2, 3), axis=1),
    "iota": [([size(5)], {"shape": (None,)}), ([size(0)], {"shape": (None,)}),
             ([], {"shape": (4,)})],
    "broadcast_to": [*over_dtypes((3, 1), shape=(2, 3, 4)),
                     *with_operands(over_dtypes((3, 1), shape=(2, 3, None)), size(4))],
    "sum_to": [*over_dtypes((2, 3, 4), shape=(3, 1)),
               *with_operands(over_dtypes((2, 3, 4), shape=(None, 1)), size(3))],
    "reshape": [*over_dtypes((2, 6), shape=(3, 4)), *over_dtypes((1, 1), shape=()),
                *with_operands(over_dtypes((2, 6), shape=(3, None)), size(4))],
    "transpose": [*over_dtypes((2, 3, 4), perm=(2, 0, 1)), *over_dtypes((), perm=())],
    "expand_dims": [*over_dtypes((2, 3), axes=(0, 2, 4)), *over_dtypes((), axes=(0,))],
    "squeeze": over_dtypes((1, 3, 1), axes=(0, 2)),
    "concatenate": [*over_dtypes((2, 3), (2, 0), (2, 4), axis=1), *over_dtypes((2,), axis=0)],
    "slice": with_operands(over_dtypes((4, 5), **SLICE), size(1), size(3)),
    "set_slice": with_operands(over_dtypes((4, 5), (2, 3), **SLICE), size(1), size(3)),
    "add_slice": with_operands(over_dtypes((4, 5), (2, 3), **SLICE), size(1), size(3)),
    "gather": [*with_operands(over_dtypes((4, 5)), index(0, 3, 3)),
               *with_operands(over_dtypes((4, 5)), index(0, 3), index(4, 0)[:, None]),
               *with_operands(over_dtypes((4,)), size(2))],
    "scatter_add": [*with_operands(over_dtypes((4, 5), (3, 5)), index(0, 3, 3)),
                    *with_operands(over_dtypes((4,), ()), size(2))],
    "scatter": [case for combine in COMBINES
                for case in (*with_operands(over_dtypes((4, 5), (3, 5), combine=combine),
                                            index(0, 3, 3)),
                             *with_operands(over_dtypes((4,), (), combine=combine), size(2)))],
    "matmul": [case for a, b in (((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)),
                                 ((5, 1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3)))
               for case in over_dtypes(a, b)],
    **{name: over_dtypes((2, 3)) for name in ("alias", "disconnected", "zero_gradient")},
    "scaled_gradient": over_dtypes((2, 3), ()),
    "clipped_gradient": over_dtypes((2, 3), (), ()),
    **{name: [case for axis, reverse in ((0, False), (1, False), (0, True), (1, True))
              for case in over_dtypes((3, 4), axis=axis, reverse=reverse)]
       for name in ("prefix_sum", "prefix_prod", "prefix_max", "prefix_min")},
    "sort": [*over_dtypes((3, 5)), *over_dtypes((0, 2)), *over_dtypes((4, 0))],
    "argsort": over_dtypes((2, 3, 1)),  # the order of equal elements is open
    "argsort_stable": [*over_dtypes((3, 5)), *over_dtypes((0, 2))],
    **dict.fromkeys(("search_left", "search_right"), SEARCHES),
    "argselect": [([keys(*shape, n), keys(*shape, 4) % n], {})
                  for shape, n in (((), 7), ((2, 3), 5), ((3,), 2000), ((0,), 2))],
    "argpartition": [([keys(*shape), size(k)], {})
                     for shape, k in (((9,), 4), ((2, 3, 20), 0), ((2, 1500), 800), ((2, 1), 0))],
    "positions": [(counted(mask(*shape)), {}) for shape in ((2, 3), (7,), (0, 3))],
    "compress": [case for shape in ((2, 5), (19,), (0,)) for case in chosen(shape)],
    "expand": [([x[m], m, n], {}) for shape in ((2, 5), (19,), (0,))
               for (x, m, n), _ in chosen(shape)],
    "fft": transforms("c", n=5), "ifft": transforms("c", n=3),
    "rfft": [([x, f, size(k), *rest], attrs)
             for ([x, f, *rest], attrs) in transforms("f", n=3) for k in (0, 1)],
    "irfft": transforms("c", n=6),
    **dict.fromkeys(("inverse", "inverse_or_nan", "det", "slogdet", "cholesky", "eigh", "eigvalsh",
                     "eig", "eigvals"), SQUARES),
    **dict.fromkeys(("solve_lower", "solve_upper", "solve_unit_lower", "solve_unit_upper"),
                    TRIANGULAR),
    **dict.fromkeys(("svd", "svd_full", "svdvals", "qr"), OBLONG),
    "solve": SYSTEMS, "qr_complete": TALL,
    "lstsq": [([*arrays, np.array(1e-15)], {}) for shapes in (((4, 2), (4, 3)), ((2, 3), (2, 1)))
              for arrays, _ in matrices(*shapes)],
    **convolutions(), **pools(),
    "softmax": along_axes((2, 3)),
    "log_softmax": along_axes((2, 3)),
    "logsumexp": along_axes((2, 3)),
}  # fmt: skip


#: Ops that exist only inside kernels are the scheduler's to test; those with regions and bundles
#: have tests of their own (`test_control`).
GRAPH_OPS = [
    d for d in OPS.values()
    if d.name not in ("stride", "element", "item", "custom_gradient") and not isinstance(d, Control)
]  # fmt: skip


def cases(definition: OpDef) -> list[Case]:
    if isinstance(definition, Elementwise):
        return elementwise_cases(definition)
    return reduction_cases(definition) if isinstance(definition, Reduction) else (
        OTHER_CASES[definition.name]
    )


def blurred(type_: Type) -> list[Type]:
    """The same type as it may be known before the call: without extents, or with names."""
    named = [Extent(f"n{d}", not_one=d > 1) if d != 1 else None for d in type_.shape]
    return [type_.with_shape([None] * type_.rank), type_.with_shape(named)]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("definition", GRAPH_OPS, ids=[d.name for d in GRAPH_OPS])
def test_evaluation_is_of_the_inferred_type(definition: OpDef) -> None:
    accepted = 0
    for arrays, attrs in cases(definition):
        types = [type_of(a) for a in arrays]
        try:
            inferred = definition.infer(types, attrs)
        except DTypeError:
            continue
        accepted += 1
        result = definition.evaluate(*arrays, **attrs)
        told = f"{definition.name}({', '.join(map(str, types))}) {attrs}"
        for known in (inferred, *knowing_less(definition, types, attrs)):
            several = isinstance(known, Bundle)
            for array, type_ in zip(result if several else (result,),
                                    known.items if several else (known,), strict=True):  # fmt: skip
                check_type(array, type_, told)
    assert accepted, f"{definition.name} accepted no example at all"


def check_type(array: Any, known: Type, told: str) -> None:
    assert isinstance(array, np.ndarray), f"{told} gives a {type(array).__name__}"
    assert array.dtype == known.dtype, told
    assert array.ndim == known.rank, told
    for have, want in zip(array.shape, known.shape, strict=True):
        fits = have == want if isinstance(want, int) else (
            want is None or (want.name == f"n{have}" and not (want.not_one and have == 1))
        )
        assert fits, f"{told} has shape {array.shape}, inferred {known}"


def knowing_less(definition: OpDef, types: list[Type], attrs: dict[str, Any]) -> list[Type]:
    return [definition.infer(list(less), attrs) for less in zip(*map(blurred, types), strict=True)]


# --- errors when the expression is built ---------------------------------------------------------
def var(text: str, name: str) -> Value:
    return Value(parse_type(text), name=name)


REFUSED = {
    "cannot add f64[3] and f64[4] (dimension 0: 3 is not 4 and neither is 1)":
        lambda: var("f64[3]", "a") + var("f64[4]", "b"),
    "cannot where bool[2] and f64[n, 3] and f64[] (dimension 1: 2 is not 3 and neither is 1)":
        lambda: where(var("bool[2]", "c"), var("f64[n, 3]", "a"), 0.0),
    "cannot multiply f64[2, 3] by f64[4, 5]: the inner dimensions 3 and 4 differ":
        lambda: matmul(var("f64[2, 3]", "a"), var("f64[4, 5]", "b")),
    "cannot multiply f64[2, 3] by f32[3, 5]":
        lambda: matmul(var("f64[2, 3]", "a"), var("f32[3, 5]", "b")),
    "a matrix product takes no scalars: f64[] and f64[3]":
        lambda: matmul(var("f64[]", "a"), var("f64[3]", "b")),
    "invert does not take f64": lambda: invert(var("f64[3]", "a")),
    "exp does not take complex operands": lambda: exp(var("c128[3]", "a")),
    "cannot reshape f64[2, 3] to [4]: the sizes differ":
        lambda: reshape(var("f64[2, 3]", "a"), [4]),
    "cannot reshape f64[2, 3] to [4, -1]: 6 / 4":
        lambda: reshape(var("f64[2, 3]", "a"), [4, -1]),
    "only one dimension of a reshape may be -1":
        lambda: reshape(var("f64[2, 3]", "a"), [-1, -1]),
    "cannot broadcast f64[3] to [2, 4] (dimension 1: 3 is not 4)":
        lambda: broadcast_to(var("f64[3]", "a"), [2, 4]),
    "[0, 0] is no permutation of the 2 axes of f64[2, 3]":
        lambda: transpose(var("f64[2, 3]", "a"), [0, 0]),
    "cannot squeeze axis 0 of f64[2, 1]: its extent is not 1":
        lambda: squeeze(var("f64[2, 1]", "a"), [0]),
    "cannot concatenate f64[2, 3] and f64[4, 4] along axis 0 (dimension 1: 3 is not 4)":
        lambda: concatenate([var("f64[2, 3]", "a"), var("f64[4, 4]", "b")], 0),
    "max of an axis of extent 0 in f64[0, n] has no value":
        lambda: max_(var("f64[0, n]", "a"), [0]),
    "sum: axes [2] do not fit f64[2, 3]": lambda: sum_(var("f64[2, 3]", "a"), [2]),
    "sum does not take bool[3]": lambda: sum_(var("bool[3]", "a"), [0]),
    "softmax does not take i64[3]": lambda: softmax(var("i64[3]", "a"), [0]),
    "too many indices: 2 for f64[3]":
        lambda: gather(var("f64[3]", "a"), [var("i64[]", "i"), var("i64[]", "j")]),
    "5 elements from 0 by 1 are not all inside axis 0 with size 3":
        lambda: slice_axis(var("f64[3]", "a"), 0, 0, 5),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_build_errors_name_the_types_and_the_place(message: str) -> None:
    with pytest.raises(JitgraphError) as caught:
        REFUSED[message]()
    assert caught.value.message == message


def test_a_build_error_shows_the_line_and_the_operands() -> None:
    a, b = var("f64[3]", "a"), var("f64[4]", "b")
    with pytest.raises(ShapeError) as caught:
        a + b
    text = str(caught.value)
    assert "test_ops_infer.py:" in text
    assert "a + b\n" in text
    assert "^^^^^" in text
    assert "a: f64[3]      b: f64[4]" in text


def test_python_scalars_adapt_and_do_not_overflow() -> None:
    small = var("i8[3]", "x")
    assert str(add(small, 1).type) == "i8[3]"
    assert str(add(small, 1.5).type) == "f64[3]"
    assert str(add(var("f32[3]", "x"), 1.5).type) == "f32[3]"
    assert str(add(small, np.int32(1)).type) == "i32[3]"
    with pytest.raises(DTypeError, match="300"):
        add(small, 300)
    assert str(equal(small, 300).type) == "bool[3]"


def test_casting_to_the_same_dtype_builds_nothing() -> None:
    x = var("f64[n]", "x")
    assert cast(x, "f64") is x
    assert str(power(x, 2).type) == "f64[n]"


def test_a_write_must_fit_the_slice() -> None:
    attrs = {"axes": (0,), "starts": (0,), "sizes": (1,), "steps": (1,)}
    with pytest.raises(ShapeError):
        emit(SET_SLICE, (var("f64[4]", "x"), var("f64[3]", "v")), **attrs)


def test_an_index_out_of_bounds_is_shown_as_the_user_wrote_it() -> None:
    with pytest.raises(OutOfBoundsError, match="index 4 is out of bounds for axis 0 with size 3"):
        OPS["gather"].evaluate(np.ones(3), index(0, 4))
    with pytest.raises(OutOfBoundsError, match="index -4 is out of bounds for axis 0 with size 3"):
        OPS["gather"].evaluate(np.ones(3), index(-4 + 3))


def test_every_dtype_has_one_name() -> None:
    assert {DTYPE_NAMES[d] for d in DTYPES.values()} == set(DTYPES)


@pytest.mark.parametrize("name", [
    n for n, d in OPS.items() if isinstance(d, Elementwise) and d.zero_to_zero
])  # fmt: skip
def test_zero_goes_to_zero_where_declared(name: str) -> None:
    for dtype in DTYPES.values():
        try:
            loop, _ = resolve(OPS[name], (dtype,))  # type: ignore[arg-type]
        except DTypeError:
            continue
        assert OPS[name].evaluate(np.zeros(1, loop)).tolist() == [0], f"{name} of {dtype}"
