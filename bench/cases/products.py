"""Matrix products: large ones, those of small networks, orders, slices, vectors, batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.case import Case
from bench.cases.elementwise import DTYPES, uniform

#: (rows, inner, columns) of the layers of small networks.
LAYERS = ((20, 784, 500), (600, 784, 10), (128, 784, 1000), (784, 20, 500))
ORDERS = {
    "AB": lambda a, b: (a, b), "AᵀB": lambda a, b: (a.T, b), "ABᵀ": lambda a, b: (a, b.T),
    "AᵀBᵀ": lambda a, b: (a.T, b.T),
}  # fmt: skip


def product(
    name: str, dtype: Any, shapes: Sequence[tuple[int, ...]], flops: float, **more: Any
) -> Case:
    """a @ b of two inputs."""
    return Case(**{
        "name": name, "group": "products", "family": "product",
        "inputs": uniform(dtype, *shapes), "expression": lambda xp, a, b: xp.matmul(a, b),
        "flops": flops, "tolerance": 5.0, **more,
    })  # fmt: skip


def cases() -> Iterator[Case]:
    """All of them."""
    for name, dtype in DTYPES.items():
        for threads in (1, None):
            yield product(
                f"product {name} 1024³" + (", one thread" if threads else ""), dtype,
                [(1024, 1024)] * 2, 2 * 1024**3, threads=threads,
                quick=threads is None, options={"blas": True},
            )  # fmt: skip
        for m, k, n in LAYERS:
            yield product(
                f"product {name} ({m},{k})x({k},{n})", dtype, [(m, k), (k, n)], 2 * m * k * n,
                quick=name == "f32" and m < 600, options={"blas": True},
            )  # fmt: skip
        yield product(
            f"matrix-vector {name} 4000x4000", dtype, [(4000, 4000), (4000,)], 0,
            traffic=(np.dtype(dtype).itemsize * 16_000_000, 0), quick=name == "f32",
        )  # fmt: skip
        for batch, n in ((64, 32), (1000, 4)):
            yield product(
                f"product {name} {batch} of ({n},{n})x({n},{n})", dtype, [(batch, n, n)] * 2,
                2 * batch * n**3, quick=name == "f32",
            )  # fmt: skip
        yield product(f"product {name} (4,4)x(4,4)", dtype, [(4, 4)] * 2, 128,
                      quick=name == "f64")  # fmt: skip
    yield from orders()
    yield product(
        "product f32 of slices (400,1600)[:, ::2]x(800,400)[:, ::2]", np.float32,
        [(400, 1600), (800, 400)], 2 * 400 * 800 * 200, family="product of slices",
        expression=lambda xp, a, b: xp.matmul(a[:, ::2], b[:, ::2]),
    )  # fmt: skip


def orders() -> Iterator[Case]:
    """Operands in every order of their axes."""
    m, k, n = 256, 784, 500
    for order, views in ORDERS.items():
        a = (k, m) if order.startswith("Aᵀ") else (m, k)
        b = (n, k) if order.endswith("Bᵀ") else (k, n)
        yield product(
            f"product f32 {order} ({m},{k})x({k},{n})", np.float32, [a, b], 2 * m * k * n,
            family="product in order",
            expression=lambda xp, a, b, v=views: xp.matmul(*v(a, b)),
        )  # fmt: skip
