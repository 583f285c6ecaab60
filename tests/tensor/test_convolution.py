"""Convolution and pooling against loops over single elements, written here."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph import config
from jitgraph.errors import DTypeError, JitgraphError, OptionError, ShapeError

Array = np.ndarray[Any, Any]
#: How exact sums of some dozen products are, by dtype.
RTOL = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-12}
CONVOLUTIONS = {1: T.nnet.conv1d, 2: T.nnet.conv2d, 3: T.nnet.conv3d}
slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- the loops ----------------------------------------------------------------------------------
def convolved(
    x: Array, w: Array, before: Any, after: Any, strides: Any, dilation: Any, groups: int,
    flip: bool,
) -> Array:  # fmt: skip
    """The sum at every place of every filter."""
    kernel, spatial = w.shape[2:], x.shape[2:]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    out = []
    for n, a, b, r, s in zip(spatial, before, after, reach, strides, strict=True):
        out.append((n + a + b - r) // s + 1)
    y = np.zeros((len(x), len(w), *out))
    each = len(w) // groups
    for n, o, place, k in itertools.product(
        range(len(x)), range(len(w)), np.ndindex(*out), np.ndindex(*kernel)
    ):
        at = []
        for p, s, i, d, a in zip(place, strides, k, dilation, before, strict=True):
            at.append(p * s + i * d - a)
        if not all(0 <= i < size for i, size in zip(at, spatial, strict=True)):
            continue
        element = tuple(size - 1 - i for i, size in zip(k, kernel, strict=True)) if flip else k
        first = o // each * w.shape[1]
        for c in range(w.shape[1]):
            y[(n, o, *place)] += float(x[(n, first + c, *at)]) * float(w[(o, c, *element)])
    return y


def pooled(
    x: Array, ws: Any, ignore_border: bool, strides: Any, pad: Any, mode: str
) -> Array:
    """As Theano's own loop has it: windows clipped to the image, with or without its padding."""
    sizes = x.shape[-2:]
    out = []
    for n, w, s, p in zip(sizes, ws, strides, pad, strict=True):
        r = n + 2 * p
        if ignore_border:
            out.append((r - w) // s + 1)
        elif s >= w:
            out.append((r - 1) // s + 1)
        else:
            out.append(max(0, (r - 1 - w) // s + 1) + 1)
    padded = np.zeros((*x.shape[:-2], *(n + 2 * p for n, p in zip(sizes, pad, strict=True))))
    padded[..., pad[0] : pad[0] + sizes[0], pad[1] : pad[1] + sizes[1]] = x
    y = np.zeros((*x.shape[:-2], *out))
    combine = {"max": np.max, "sum": np.sum}.get(mode, np.mean)
    for place in np.ndindex(*out):
        cut = []
        for j, w, s, p, n in zip(place, ws, strides, pad, sizes, strict=True):
            low, high = j * s, min(j * s + w, n + 2 * p)
            if mode != "average_inc_pad":
                low, high = max(low, p), min(high, n + p)
            cut.append(slice(low, high))
        y[(..., *place)] = combine(padded[(..., *cut)], axis=(-2, -1))
    return y


def numbers(shape: Any, dtype: str, seed: int = 0) -> Array:
    """Small multiples of 1/8, all different where they are few: no two of a window are equal."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    return ((rng.permutation(size) - size // 2) / 8 % 8).reshape(shape).astype(dtype)


def assert_near(got: Array, want: Array, dtype: str) -> None:
    assert got.dtype == dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=RTOL[dtype], atol=RTOL[dtype] * 50)


def slopes(cost: Any, arrays: list[Array], at: int) -> Array:
    """Central differences of a cost of some arrays, by one of them."""
    found = np.zeros(arrays[at].shape)
    for place in np.ndindex(*found.shape):
        ends = []
        for step in (1e-4, -1e-4):
            moved = [a.copy() for a in arrays]
            moved[at][place] += step
            ends.append(float(cost(*moved)))
        found[place] = (ends[0] - ends[1]) / 2e-4
    return found


# --- convolutions -------------------------------------------------------------------------------
@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    """Every argument, over one to three axes; extents that fit."""
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    each, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3)) * groups
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    mode = draw(st.sampled_from(["valid", "half", "full", "number", "numbers", "pairs"]))
    before = after = [0] * rank
    border: Any = mode
    if mode == "half":
        before = after = [r // 2 for r in reach]
    elif mode == "full":
        before = after = [r - 1 for r in reach]
    elif mode == "number":
        border = draw(st.integers(0, 2))
        before = after = [border] * rank
    elif mode != "valid":
        before = [draw(st.integers(0, 2)) for _ in range(rank)]
        after = before if mode == "numbers" else [draw(st.integers(0, 2)) for _ in range(rank)]
        border = tuple(before) if mode == "numbers" else tuple(zip(before, after, strict=True))
    room = [draw(st.integers(0, 20 if rank == 1 else 5)) for _ in range(rank)]
    spatial = [max(1, r + m - a - b)
               for r, m, a, b in zip(reach, room, before, after, strict=True)]  # fmt: skip
    return {
        "x": (draw(st.integers(1, 3)), each * groups, *spatial), "w": (filters, each, *kernel),
        "border": border, "before": before, "after": after, "strides": strides,
        "dilation": dilation, "groups": groups, "flip": draw(st.booleans()),
        "dtype": draw(st.sampled_from(["float16", "float32", "float64", "float64"])),
        "known": draw(st.booleans()),
    }  # fmt: skip


@slow
@given(convolutions())
def test_convolution_is_the_loop(case: dict[str, Any]) -> None:
    """The result, and the gradients by both operands: the cost is linear in each, so that its
    gradients are those of the loop to the last places."""
    dtype, rank = case["dtype"], len(case["strides"])
    a, b = numbers(case["x"], dtype), numbers(case["w"], dtype, seed=1)
    x, w = (T.tensor(dtype, s.shape if case["known"] else [None] * s.ndim) for s in (a, b))
    y = CONVOLUTIONS[rank](
        x, w, border_mode=case["border"], subsample=case["strides"], filter_flip=case["flip"],
        filter_dilation=case["dilation"], num_groups=case["groups"],
    )  # fmt: skip
    rest = (case["before"], case["after"], case["strides"], case["dilation"], case["groups"],
            case["flip"])  # fmt: skip
    want = convolved(a, b, *rest)
    weights = numbers(want.shape, dtype, seed=2)
    f = jg.function([x, w], [y, *T.grad(T.sum(y * weights), [x, w])])
    got, by_x, by_w = f(a, b)
    assert_near(got, want, dtype)
    if dtype != "float64" or a.size + b.size > 60:
        return
    cost = lambda p, q: np.sum(convolved(p, q, *rest) * weights)
    for k, slope in enumerate((by_x, by_w)):
        np.testing.assert_allclose(slope, slopes(cost, [a, b], k), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x", "w", "more"), [
    ((3, 2, 28, 28), (20, 2, 5, 5), {}),
    ((2, 20, 12, 12), (50, 20, 5, 5), {}),
    ((1, 150, 7, 9), (9, 150, 3, 3), {"border_mode": "half"}),
    ((2, 6, 40, 70), (10, 3, 3, 3), {"num_groups": 2, "subsample": (2, 1)}),
])  # fmt: skip
def test_panels_blocks_and_tasks(dtype: str, x: Any, w: Any, more: dict[str, Any]) -> None:
    """Sizes beyond one panel of places, one block of a sum and one task: the same bits for every
    number of threads, and what the interpreter says."""
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=s).astype(dtype) for s in (x, w))
    p, q = (T.tensor(dtype, [None] * 4) for _ in range(2))
    y = T.nnet.conv2d(p, q, **more)
    definition, attrs = y.op.definition, y.op.attrs
    flipped = b[:, :, ::-1, ::-1]
    want = definition.evaluate(a.astype(float), flipped.astype(float), **attrs)
    g = rng.normal(size=want.shape).astype(dtype)
    r = T.tensor(dtype, [None] * 4)
    f = jg.function([p, q, r], [y, *T.grad(T.sum(y * r), [p, q])])
    before, found = config.num_threads, []
    try:
        for threads in (1, 2, 3):
            config.num_threads = threads
            found.append(f(a, b, g))
    finally:
        config.num_threads = before
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    got, by_x, by_w = found[0]
    scale = np.abs(want).max()
    np.testing.assert_allclose(got, want, atol=scale * RTOL[dtype])
    pulled = float(np.vdot(g.astype(float), want))
    for slope, array in ((by_x, a), (by_w, b)):
        whole = float(np.vdot(slope.astype(float), array.astype(float)))
        np.testing.assert_allclose(whole, pulled, atol=RTOL[dtype] * 50 * np.abs(pulled))


def test_nothing_at_all() -> None:
    """No images, no channels, no filters."""
    x, w = (T.tensor("float64", [None] * 4) for _ in range(2))
    y = T.nnet.conv2d(x, w)
    f = jg.function([x, w], [y, *T.grad(T.sum(y), [x, w])])
    for images, channels, filters in itertools.product((0, 2), (0, 3), (0, 1)):
        a, b = np.ones((images, channels, 5, 6)), np.ones((filters, channels, 2, 3))
        y_, by_x, by_w = f(a, b)
        np.testing.assert_array_equal(y_, np.full((images, filters, 4, 4), 6.0 * channels))
        assert (by_x.shape, by_w.shape) == (a.shape, b.shape)
        assert by_w.sum() == images * 16 * b.size


def test_special_values_stay_where_they_are() -> None:
    """An infinity or a NaN reaches the outputs that see it and no others; nor do zeros around."""
    a = np.ones((1, 1, 6, 40), np.float32)
    a[0, 0, 2, 7], a[0, 0, 4, 30] = np.inf, np.nan
    w = np.ones((3, 1, 3, 3), np.float32)
    x = T.tensor("float32", [None] * 4)
    y = jg.function([x], T.nnet.conv2d(x, w, border_mode="half"))(a)
    seen = np.ones((6, 40), bool)
    seen[1:4, 6:9] = seen[3:6, 29:32] = False
    assert np.isfinite(y[0, :, seen]).all()
    assert np.isinf(y[0, :, 1:3, 6:9]).all()
    assert np.isnan(y[0, :, 3:6, 29:32]).all()


def test_the_transposed_convolution_is_the_gradient() -> None:
    rng = np.random.default_rng(5)
    a, w = rng.normal(size=(2, 3, 9, 8)), rng.normal(size=(4, 3, 3, 2))
    x = T.tensor("float64", [None] * 4)
    y = T.nnet.conv2d(x, w, subsample=(2, 3), border_mode=(1, 0))
    g = rng.normal(size=(2, 4, 5, 3))
    (want,) = jg.function([x], [T.grad(T.sum(y * g), x)])(a)
    back = T.nnet.conv2d_transpose(g, w, (2, 3, 9, 8), border_mode=(1, 0), input_dilation=(2, 3))
    np.testing.assert_allclose(back.eval(), want)
    r = T.tensor("float64", [None] * 4)
    back = T.nnet.conv2d_transpose(r, w, (None, None, 9, 8), border_mode=(1, 0),
                                   input_dilation=(2, 3))  # fmt: skip
    slope = jg.function([r], T.grad(T.sum(back * a), r))(g)
    np.testing.assert_allclose(slope, jg.function([x], y)(a))


def test_a_vmap_over_images_and_filters() -> None:
    rng = np.random.default_rng(6)
    xs, ws = rng.normal(size=(4, 2, 3, 6, 5)), rng.normal(size=(4, 2, 3, 2, 2))
    conv = jg.vmap(lambda x, w: T.nnet.conv2d(x, w))
    both = jg.jit(conv)(xs, ws)
    one = jg.jit(jg.vmap(lambda x: T.nnet.conv2d(x, ws[0])))(xs)
    for k in range(4):
        x, w = T.constant(xs[k]), T.constant(ws[k])
        np.testing.assert_allclose(both[k], T.nnet.conv2d(x, w).eval())
        np.testing.assert_allclose(one[k], T.nnet.conv2d(x, ws[0]).eval())


# --- pooling ------------------------------------------------------------------------------------
@st.composite
def pools(draw: Any) -> dict[str, Any]:
    ws = tuple(draw(st.integers(1, 4)) for _ in range(2))
    ignore_border = draw(st.booleans())
    pad = tuple(draw(st.integers(0, w - 1)) for w in ws) if ignore_border else (0, 0)
    stride = draw(st.one_of(st.none(), st.tuples(st.integers(1, 5), st.integers(1, 5))))
    shape = tuple(max(draw(st.integers(1, 9)), w - 2 * p if ignore_border else 1)
                  for w, p in zip(ws, pad, strict=True))  # fmt: skip
    lead = draw(st.sampled_from([(), (2,), (2, 3)]))
    return {
        "shape": (*lead, *shape), "ws": ws, "ignore_border": ignore_border, "pad": pad,
        "stride": stride, "known": draw(st.booleans()),
        "mode": draw(st.sampled_from(["max", "sum", "average_inc_pad", "average_exc_pad"])),
        "dtype": draw(st.sampled_from(["float16", "float32", "float64", "float64"])),
    }  # fmt: skip


@slow
@given(pools())
def test_pooling_is_the_loop(case: dict[str, Any]) -> None:
    a = numbers(case["shape"], case["dtype"])
    x = T.tensor(case["dtype"], a.shape if case["known"] else [None] * a.ndim)
    ws, stride = case["ws"], case["stride"]
    y = T.nnet.pool_2d(x, ws, case["ignore_border"], stride, case["pad"], case["mode"])
    rest = (ws, case["ignore_border"], stride or ws, case["pad"], case["mode"])
    want = pooled(a, *rest)
    weights = numbers(want.shape, case["dtype"], seed=2)
    got, slope = jg.function([x], [y, T.grad(T.sum(y * weights), x)])(a)
    assert_near(got, want, case["dtype"])
    if case["dtype"] == "float64":
        cost = lambda p: np.sum(pooled(p, *rest) * weights)
        np.testing.assert_allclose(slope, slopes(cost, [a], 0), rtol=1e-6, atol=1e-6)


def test_equal_maxima_all_receive_the_gradient() -> None:
    x = T.matrix("x")
    slope = jg.function([x], T.grad(T.sum(T.nnet.pool_2d(x, (2, 2), ignore_border=True)), x))
    a = np.array([[1.0, 1, 0, 2], [1, 0, 2, 2], [9, 9, 9, 9]])
    np.testing.assert_array_equal(slope(a), [[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]])


def test_long_windows_and_integers() -> None:
    """Windows that are halved, in integers, along three axes."""
    a = np.random.default_rng(7).integers(-99, 99, (2, 23, 4, 19))
    x = T.tensor("int64", [None] * 4)
    for mode, combine in (("max", np.max), ("sum", np.sum)):
        y = T.nnet.pool_3d(x, (11, 2, 13), ignore_border=True, stride=(3, 2, 1), mode=mode)
        windows = np.lib.stride_tricks.sliding_window_view(a, (11, 2, 13), (1, 2, 3))
        want = combine(windows[:, ::3, ::2], axis=(-3, -2, -1))
        np.testing.assert_array_equal(jg.function([x], y)(a), want)


# --- patches ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("mode", "shape", "step", "pad", "wrap"), [
    ("valid", (2, 3), None, (0, 0), False), ("valid", (2, 3), (1, 3), (0, 0), False),
    ("ignore_borders", (5, 2), (2, 3), (0, 0), False),
    ("wrap_centered", (3, 5), (2, 4), (0, 0), True),
    ("full", (3, 2), (1, 3), (2, 1), False), ("half", (3, 4), (1, 3), (1, 2), False),
])  # fmt: skip
def test_patches(mode: str, shape: Any, step: Any, pad: Any, wrap: bool) -> None:
    a = np.random.default_rng(8).normal(size=(2, 3, 8, 9))
    (c, d), (p, q) = shape, pad
    s, t = step or shape
    b = np.pad(a, [(0, 0), (0, 0), (p, p), (q, q)])
    height, width = b.shape[2:]
    rows = range(0, height, s) if wrap else range(0, height - c + 1, s)
    columns = range(0, width, t) if wrap else range(0, width - d + 1, t)
    shift = (c // 2, d // 2) if wrap else (0, 0)
    want = [
        [b[n, k, (i + e - shift[0]) % height, (j + g - shift[1]) % width]
         for e in range(c) for g in range(d)]
        for n in range(2) for k in range(3) for i in rows for j in columns
    ]  # fmt: skip
    for extents in ([None] * 4, a.shape):
        x = T.tensor("float64", extents)
        y = T.nnet.images2neibs(x, shape, step, mode)
        got, slope = jg.function([x], [y, T.grad(T.sum(y), x)])(a)
        np.testing.assert_array_equal(got, want)
        assert slope.sum() == (np.asarray(want) != 0).sum()


# --- what does not fit --------------------------------------------------------------------------
def tensor(*shape: int | None, dtype: str = "float32") -> Any:
    return T.tensor(dtype, shape, name="images" if len(shape) == 4 else "x")


REFUSED: dict[str, tuple[type[JitgraphError], Any]] = {
    "filters that span 7 elements do not fit into the 5 of spatial axis 0":
        (ShapeError, lambda: T.nnet.conv2d(tensor(1, 2, 5, 9), tensor(3, 2, 7, 3))),
    "the input has 4 channels, the filters have 3":
        (ShapeError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9), tensor(3, 3, 2, 2))),
    "in each of 2 groups":
        (ShapeError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9), tensor(2, 4, 2, 2), num_groups=2)),
    "3 filters do not make 2 equal groups":
        (ShapeError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9), tensor(3, 2, 2, 2), num_groups=2)),
    "conv2d takes input of 4 dimensions, not f32[3, 4]":
        (ShapeError, lambda: T.nnet.conv2d(tensor(3, 4), tensor(3, 3, 2, 2))),
    "conv2d does not take input i64[1, 4, 5, 9]":
        (DTypeError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9, dtype="int64"),
                                           tensor(3, 4, 2, 2, dtype="int64"))),
    "no border_mode 'same'":
        (OptionError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9), tensor(3, 4, 2, 2),
                                            border_mode="same")),
    "subsample for 3 axes does not fit 2 spatial axes":
        (ShapeError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9), tensor(3, 4, 2, 2),
                                           subsample=(1, 1, 1))),
    "subsample must be at least 1, not 0":
        (ShapeError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9), tensor(3, 4, 2, 2), subsample=0)),
    "input_shape says 8 along axis 3, but f32[1, 4, 5, 9] has 9":
        (ShapeError, lambda: T.nnet.conv2d(tensor(1, 4, 5, 9), tensor(3, 4, 2, 2),
                                           input_shape=(None, 4, 5, 8))),
    "filters of 2 have 5 places in an input of 6, not 4":
        (ShapeError, lambda: T.nnet.conv2d_transpose(tensor(1, 3, 4, 4), tensor(3, 2, 2, 2),
                                                     (None, None, 6, 5))),
    "a window of 6 does not fit into the 5 elements of axis 2":
        (ShapeError, lambda: T.nnet.pool_2d(tensor(1, 2, 5, 9), (6, 2), ignore_border=True)),
    "pooling has no mode 'median'":
        (OptionError, lambda: T.nnet.pool_2d(tensor(1, 2, 5, 9), (2, 2), mode="median")),
    "padding works only with ignore_border=True":
        (OptionError, lambda: T.nnet.pool_2d(tensor(1, 2, 5, 9), (2, 2), pad=(1, 1))),
    "patches of 2 by steps of 2 do not fill the 5 elements of axis 2":
        (ShapeError, lambda: T.nnet.images2neibs(tensor(1, 2, 5, 9), (2, 3))),
    "patches that wrap around have odd extents, not 2":
        (ShapeError, lambda: T.nnet.images2neibs(tensor(1, 2, 5, 9), (2, 3), mode="wrap_centered")),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_errors_name_the_line_and_the_shapes(message: str) -> None:
    kind, build = REFUSED[message]
    with pytest.raises(kind) as caught:
        build()
    assert message in caught.value.message
    assert "test_convolution.py:" in str(caught.value)


def test_what_only_the_call_can_tell() -> None:
    x, w = (T.tensor("float32", [None] * 4, name=n) for n in ("images", "filters"))
    f = jg.function([x, w], T.nnet.conv2d(x, w))
    pool = jg.function([x], T.nnet.pool_2d(x, (3, 3), ignore_border=True))
    ones = lambda *shape: np.ones(shape, np.float32)
    with pytest.raises(ShapeError, match="filters that span 7 elements do not fit into the 5"):
        f(ones(2, 3, 5, 5), ones(4, 3, 7, 7))
    with pytest.raises(ShapeError, match="the input has 3 channels, the filters have 2"):
        f(ones(2, 3, 5, 5), ones(4, 2, 2, 2))
    said = T.nnet.conv2d(x, w, input_shape=(None, 3, 5, 5), filter_shape=(4, 3, 2, 2))
    assert said.type.shape == (None, 4, 4, 4)
    g = jg.function([x, w], said)
    assert g(ones(2, 3, 5, 5), ones(4, 3, 2, 2)).shape == (2, 4, 4, 4)
    with pytest.raises(ShapeError, match="cannot reshape"):
        g(ones(2, 3, 5, 6), ones(4, 3, 2, 2))
    patches = jg.function([x], T.nnet.images2neibs(x, (3, 2)))
    assert patches(ones(2, 3, 6, 4)).shape == (24, 6)
    with pytest.raises(ShapeError, match="cannot reshape"):
        patches(ones(2, 3, 7, 4))
    with pytest.raises(ShapeError, match="a window of 3 does not fit into the 2 elements"):
        pool(ones(2, 3, 5, 2))
