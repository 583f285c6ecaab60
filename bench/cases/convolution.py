"""The layers of LeNet on 128 images of 28x28: convolutions, pools, the net and its gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import uniform
from bench.cases.rows import likelihood
from bench.cases.training import softmax_cost

#: Who has convolutions. (Weights of random numbers in [-0.2, 0.2) keep tanh alive.)
PEERS = ("jitgraph", "baseline", "numpy", "scipy", "jax", "torch")
BATCH = 128
#: Images, filters and outputs of each layer.
LAYERS = (
    ((BATCH, 1, 28, 28), (20, 1, 5, 5), (BATCH, 20, 24, 24)),
    ((BATCH, 20, 12, 12), (50, 20, 5, 5), (BATCH, 50, 8, 8)),
)
BIASES = ((1, 20, 1, 1), (1, 50, 1, 1))
POOLED = (BATCH, 50, 4, 4)
#: What follows the filters: their output as a vector, a hidden layer, the classes.
FLAT, HIDDEN, CLASSES = 50 * 4 * 4, 500, 10


# --- by hand: NumPy ------------------------------------------------------------------------------
def by_input(g: Any, w: Any) -> Any:
    """The adjoint of a convolution by its images."""
    rows, columns = w.shape[2:]
    around = np.pad(g, [(0, 0), (0, 0), (rows - 1,) * 2, (columns - 1,) * 2])
    seen = np.lib.stride_tricks.sliding_window_view(around, (rows, columns), (2, 3))
    x = np.tensordot(seen, w[:, :, ::-1, ::-1], ((1, 4, 5), (0, 2, 3)))
    return x.transpose(0, 3, 1, 2)


def by_filters(x: Any, g: Any) -> Any:
    """The adjoint of a convolution by its filters."""
    seen = np.lib.stride_tricks.sliding_window_view(x, g.shape[2:], (2, 3))
    return np.tensordot(g, seen, ((0, 2, 3), (0, 4, 5)))


def by_pool(x: Any, y: Any, g: Any) -> Any:
    """The adjoint of a pool."""
    wide, tops = (a.repeat(2, axis=2).repeat(2, axis=3) for a in (g, y))
    return np.where(x == tops, wide, x.dtype.type(0))


def layer(xp: Any, x: Any, w: Any, b: Any) -> Any:
    """Filters, a pool, a bias and tanh."""
    return xp.tanh(xp.max_pool(xp.conv2d(x, w)) + b)


def net(xp: Any, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Both layers."""
    return layer(xp, layer(xp, x, w1, b1), w2, b2)


def _forward(xp: Any, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> tuple[Any, ...]:
    """What each layer makes: filtered, pooled, bent."""
    y1 = xp.conv2d(x, w1)
    p1 = xp.max_pool(y1)
    h1 = np.tanh(p1 + b1)
    y2 = xp.conv2d(h1, w2)
    p2 = xp.max_pool(y2)
    return y1, p1, h1, y2, p2, np.tanh(p2 + b2)


def _backward(x: Any, w2: Any, made: tuple[Any, ...], g: Any) -> tuple[Any, ...]:
    """The slopes of both layers' filters and biases, from those of what they give."""
    y1, p1, h1, y2, p2, h2 = made
    d2 = g * (1 - h2**2)
    of_y2 = by_pool(y2, p2, d2)
    d1 = by_input(of_y2, w2) * (1 - h1**2)
    of_y1 = by_pool(y1, p1, d1)
    return (by_filters(x, of_y1), d1.sum((0, 2, 3), keepdims=True),
            by_filters(h1, of_y2), d2.sum((0, 2, 3), keepdims=True))  # fmt: skip


def net_by_hand(xp: Any, x: Any, w1: Any, b1: Any, w2: Any, b2: Any, g: Any) -> Any:
    """The slopes of the net's projection on g."""
    return _backward(x, w2, _forward(xp, x, w1, b1, w2, b2), g)


# --- the whole net, in training ------------------------------------------------------------------
def lenet_cost(xp: Any, *given: Any) -> Any:
    """Both layers, a hidden one, and the softmax of the classes."""
    w1, b1, w2, b2, w3, b3, w4, b4, x, y = given
    flat = xp.reshape(net(xp, x, w1, b1, w2, b2), (x.shape[0], FLAT))
    hidden = xp.tanh(xp.matmul(flat, w3) + b3)
    return likelihood(xp, xp.matmul(hidden, w4) + b4, y)


def lenet_by_hand(xp: Any, *given: Any) -> Any:
    """Cost and slopes."""
    w1, b1, w2, b2, w3, b3, w4, b4, x, y = given
    made = _forward(xp, x, w1, b1, w2, b2)
    flat = made[-1].reshape(len(x), -1)
    hidden = np.tanh(flat @ w3 + b3)
    cost, d4 = softmax_cost(hidden @ w4 + b4, y)
    d3 = (d4 @ w4.T) * (1 - hidden * hidden)
    slopes = _backward(x, w2, made, (d3 @ w3.T).reshape(made[-1].shape))
    return cost, *slopes, flat.T @ d3, d3.sum(axis=0), hidden.T @ d4, d4.sum(axis=0)


def lenet(random: np.random.Generator) -> Sequence[Any]:
    """Filters, weights and biases of all layers, images, labels."""
    (x, w1, _), (_, w2, _) = LAYERS
    layers = (
        (w1, BIASES[0], np.prod(w1[1:])), (w2, BIASES[1], np.prod(w2[1:])),
        ((FLAT, HIDDEN), (HIDDEN,), FLAT), ((HIDDEN, CLASSES), (CLASSES,), HIDDEN),
    )  # fmt: skip
    found: list[Any] = []
    for w, b, fan_in in layers:
        bound = np.sqrt(3 / fan_in)
        found += [random.uniform(-bound, bound, w).astype(np.float32), np.zeros(b, np.float32)]
    return [*found, random.random(x).astype(np.float32), random.integers(0, CLASSES, BATCH)]


# --- cases --------------------------------------------------------------------------------------
def case(name: str, family: str, *shapes: tuple[int, ...], **more: Any) -> Case:
    """One of this page."""
    return Case(**{
        "name": name, "group": "convolutions", "family": family, "only": PEERS, "tolerance": 10.0,
        "inputs": uniform(np.float32, *shapes, low=-0.2, high=0.2), **more,
    })  # fmt: skip


def cases() -> Iterator[Case]:
    """All of them."""
    for number, (x, w, y) in enumerate(LAYERS, 1):
        flops = 2.0 * np.prod(y) * np.prod(w[1:])
        told = f"f32 {x}*{w}".replace(" ", "").replace("f32", "f32 ")
        yield case(f"convolution {told}", "convolution", x, w, flops=flops,
                   expression=lambda xp, x, w: xp.conv2d(x, w))  # fmt: skip
        cost = lambda xp, x, w, g: xp.sum(xp.conv2d(x, w) * g)
        yield case(f"by filters {told}", "convolution by filters", x, w, y, flops=flops,
                   wrt=(1,), expression=cost,
                   by_hand=lambda xp, x, w, g: by_filters(x, g))  # fmt: skip
        if number > 1:
            yield case(f"by images {told}", "convolution by images", x, w, y, flops=flops,
                       wrt=(0,), expression=cost,
                       by_hand=lambda xp, x, w, g: by_input(g, w))  # fmt: skip
    y = LAYERS[0][2]
    half = (*y[:2], y[2] // 2, y[3] // 2)
    yield case(f"pool f32 {y}".replace(", ", ","), "pool", y,
               expression=lambda xp, x: xp.max_pool(x))  # fmt: skip
    yield case(f"pool gradient f32 {y}".replace(", ", ","), "pool gradient", y, half, wrt=(0,),
               expression=lambda xp, x, g: xp.sum(xp.max_pool(x) * g),
               by_hand=lambda xp, x, g: by_pool(x, xp.max_pool(x), g))  # fmt: skip
    (x1, w1, _), (_, w2, _) = LAYERS
    shapes = (x1, w1, BIASES[0], w2, BIASES[1])
    yield case("LeNet layers f32", "LeNet layers", *shapes, expression=net, quick=True)
    yield case("LeNet layers gradient f32", "LeNet layers gradient", *shapes, POOLED,
               wrt=(1, 2, 3, 4), quick=True, by_hand=net_by_hand,
               expression=lambda xp, *a: xp.sum(net(xp, *a[:-1]) * a[-1]))  # fmt: skip
    first, second = (float(np.prod(y) * np.prod(w[1:])) for _, w, y in LAYERS)
    dense = BATCH * (FLAT * HIDDEN + HIDDEN * CLASSES)
    yield case(f"LeNet step f32, batch {BATCH}", "LeNet step", inputs=lenet, state=8, quick=True,
               expression=lenet_cost, by_hand=lenet_by_hand, tolerance=20.0,
               flops=2 * (2 * first + 3 * second + 3 * dense))  # fmt: skip
