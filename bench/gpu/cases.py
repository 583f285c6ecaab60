"""What is measured on a GPU: programs of `bench.cases` at sizes for one, and small for a trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.case import Array, Case, Inputs
from bench.cases import convolution, loops, programs, rows, training
from bench.cases.elementwise import DTYPES, arithmetic, fused, uniform

GROUPS = {
    "elementwise": "Elementwise",
    "rows": "Rows",
    "reductions": "Reductions",
    "products": "Matrix products",
    "programs": "Programs",
    "training": "Training steps",
}


def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    """softmax(q kᵀ / √d) v for a stack of heads; k comes transposed."""
    scores = xp.matmul(q, k) * 0.125
    return xp.matmul(rows.softmax(xp, scores), v)


def layer(xp: Any, x: Any, w: Any, b: Any) -> Any:
    """A product and what follows."""
    return xp.tanh(xp.matmul(x, w) + b)


def scaled(inputs: Inputs, factor: float) -> Inputs:
    """The same inputs, smaller or larger numbers."""

    def made(random: np.random.Generator) -> Sequence[Array]:
        return [(a * a.dtype.type(factor)) for a in inputs(random)]

    return made


def cases(tiny: bool = False) -> Iterator[Case]:
    """All of them; `tiny`: the same programs on arrays of a few hundred elements."""
    yield from _elementwise(1 << 8 if tiny else 1 << 26)
    yield from _rows(*((8, 48) if tiny else (16384, 4096)))
    yield from _reductions(24 if tiny else 8192)
    yield from _products(24 if tiny else 4096)
    yield from _programs(tiny)
    yield from _training(tiny)


def _elementwise(n: int) -> Iterator[Case]:
    for family, program in (("arithmetic", arithmetic), ("fused", fused)):
        for name, dtype in DTYPES.items():
            size = np.dtype(dtype).itemsize * n
            yield Case(
                name=f"{family} {name}", group="elementwise", family=family,
                inputs=uniform(dtype, (n,), (n,), (n,)), expression=program,
                traffic=(3 * size, size), quick=name == "f32",
            )  # fmt: skip


def _rows(m: int, n: int) -> Iterator[Case]:
    size, shape = 4 * m * n, (m, n)
    three = uniform(np.float32, shape, (n,), (n,))
    forward: dict[str, tuple[Any, Inputs]] = {
        "softmax": (rows.softmax, uniform(np.float32, shape)),
        "layer norm": (rows.layer_norm, three),
        "gelu": (rows.gelu, uniform(np.float32, shape)),
    }
    for family, (program, inputs) in forward.items():
        yield Case(
            name=f"{family} f32 {m}x{n}", group="rows", family=family, inputs=inputs,
            expression=program, traffic=(size, size), quick=family == "softmax", tolerance=5,
        )  # fmt: skip
    yield Case(
        name=f"softmax gradient f32 {m}x{n}", group="rows", family="softmax gradient",
        inputs=uniform(np.float32, shape, shape), wrt=(0,), traffic=(2 * size, size), tolerance=5,
        expression=lambda xp, x, w: xp.sum(rows.softmax(xp, x) * w),
    )  # fmt: skip
    yield Case(
        name=f"layer norm gradient f32 {m}x{n}", group="rows", family="layer norm gradient",
        inputs=uniform(np.float32, shape, (n,), (n,), shape), wrt=(0, 1, 2),
        traffic=(2 * size, size), tolerance=20,
        expression=lambda xp, x, g, b, w: xp.sum(rows.layer_norm(xp, x, g, b) * w),
    )  # fmt: skip


def _reductions(n: int) -> Iterator[Case]:
    for function in ("sum", "max"):
        for axis, over in ((None, "all"), (1, "of rows"), (0, "of columns")):
            if function == "max" and axis is not None:
                continue

            def program(xp: Any, x: Any, f: str = function, axis: int | None = axis) -> Any:
                return getattr(xp, f)(x, axis=axis)

            yield Case(
                name=f"{function} {over} f32 {n}x{n}", group="reductions",
                family=f"reduce {function}", inputs=uniform(np.float32, (n, n), low=-1, high=2),
                expression=program, traffic=(4 * n * n, 4), quick=axis is None, tolerance=5,
            )  # fmt: skip


def _products(n: int) -> Iterator[Case]:
    for name, dtype in DTYPES.items():
        m = n if name == "f32" else n // 2
        yield Case(
            name=f"product {name} {m}³", group="products", family="product",
            inputs=uniform(dtype, (m, m), (m, m)), flops=2.0 * m**3, tolerance=5, quick=True,
            expression=lambda xp, a, b: xp.matmul(a, b),
        )  # fmt: skip
        yield Case(
            name=f"tanh(x w + b) {name} {m}x{m // 4}x{m}", group="products", family="layer",
            inputs=scaled(uniform(dtype, (m, m // 4), (m // 4, m), (m,)), 0.1),
            flops=2.0 * m * m * (m // 4), tolerance=5, expression=layer,
        )  # fmt: skip
    for precision, tolerance in (("tf32", 100), ("bf16", 1000)):
        yield Case(
            name=f"product {precision} {n}³", group="products", family="product",
            inputs=uniform(np.float32, (n, n), (n, n)), flops=2.0 * n**3, tolerance=tolerance,
            expression=lambda xp, a, b: xp.matmul(a, b), options={"precision": precision},
            quick=precision == "tf32",
        )  # fmt: skip
    batch, d = max(n // 64, 2), 8 if n < 64 else 64
    length = max(n // 4, 16)
    yield Case(
        name=f"attention f32 {batch} heads of {length}x{d}", group="products", family="attention",
        inputs=uniform(np.float32, (batch, length, d), (batch, d, length), (batch, length, d)),
        expression=attention, flops=4.0 * batch * length * length * d, tolerance=5, quick=True,
    )  # fmt: skip


def _programs(tiny: bool) -> Iterator[Case]:
    n, bodies = (300, 40) if tiny else (1 << 25, 16384)
    yield Case(
        name="Black-Scholes f32", group="programs", family="Black-Scholes",
        inputs=programs.market(np.float32, n), expression=programs.black_scholes, tolerance=10,
        traffic=(12 * n, 8 * n), quick=True,
    )  # fmt: skip
    yield Case(
        name=f"n-body f32 {bodies}", group="programs", family="n-body",
        inputs=lambda random: [random.normal(size=(bodies, 3)).astype(np.float32),
                               random.random(bodies).astype(np.float32)],
        expression=programs.attraction, tolerance=50,
    )  # fmt: skip
    for wrt in ((), (0, 1, 2)):
        yield Case(
            name="recurrent net f32, 200 steps of 32x64" + ", gradient" * bool(wrt),
            group="programs", family="recurrent net", wrt=wrt, tolerance=50,
            inputs=_recurrent(4 if tiny else loops.STEPS), expression=loops.recurrent_cost,
        )  # fmt: skip


def _recurrent(steps: int) -> Inputs:
    whole = loops.network(loops.BATCH)

    def inputs(random: np.random.Generator) -> Sequence[Array]:
        *drawn, x = whole(random)
        return [*drawn, x[:steps]]

    return inputs


def _training(tiny: bool) -> Iterator[Case]:
    layers = (20, 16, 12, 10) if tiny else (784, 1000, 1000, 10)
    for batch in (6,) if tiny else (128, 4096):
        yield Case(
            name=f"MLP {'-'.join(map(str, layers))} step f32, batch {batch}", group="training",
            family="MLP step", inputs=training.network(np.float32, layers, batch),
            expression=training.mlp_cost, state=6, tolerance=50, quick=batch < 4096,
        )  # fmt: skip
    yield Case(
        name="LeNet step f32, batch 128", group="training", family="LeNet step",
        inputs=_few_images(4) if tiny else convolution.lenet, expression=convolution.lenet_cost,
        state=8, tolerance=50,
    )  # fmt: skip
    sizes, batch = ((20, 12), 6) if tiny else ((784, 500), 20)
    yield Case(
        name=f"autoencoder step f32, batch {batch}", group="training", family="autoencoder step",
        inputs=training.network(np.float32, sizes, batch, tied=True),
        expression=training.autoencoder_cost, state=3, tolerance=50,
    )  # fmt: skip
    batch = 6 if tiny else 600
    yield Case(
        name=f"logistic regression step f32, batch {batch}", group="training",
        family="logistic step", inputs=training.network(np.float32, (sizes[0], 10), batch),
        expression=training.logistic_cost, state=2, tolerance=50,
    )  # fmt: skip


def _few_images(count: int) -> Inputs:
    def inputs(random: np.random.Generator) -> Sequence[Array]:
        *parameters, x, y = convolution.lenet(random)
        return [*parameters, x[:count], y[:count]]

    return inputs
