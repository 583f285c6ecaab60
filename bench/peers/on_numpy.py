"""NumPy as its user writes it: a function of arrays, or the ufunc itself where that is all."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from bench.case import Case, descended, results
from bench.peers.base import Names, Peer, Prepared, call


def scan(step: Any, carry: Any, rows: Any) -> tuple[Any, Any]:
    """What is carried through the steps, and the joined rows of results."""
    found = []
    for row in rows:
        carry, result = step(carry, row)
        found.append(result)
    return carry, np.stack(found)


def while_loop(condition: Any, body: Any, carry: Any) -> Any:
    """Python's."""
    while condition(carry):
        carry = body(carry)
    return carry


def fori_loop(lower: Any, upper: Any, body: Any, carry: Any) -> Any:
    """Python's."""
    for i in range(lower, upper):
        carry = body(i, carry)
    return carry


def conv2d(x: Any, w: Any) -> Any:
    """Patches, which BLAS multiplies with the filters."""
    seen = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))
    return np.tensordot(seen, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def max_pool(x: Any) -> Any:
    """Of squares of two by two."""
    rows = np.maximum(x[:, :, ::2], x[:, :, 1::2])
    return np.maximum(rows[..., ::2], rows[..., 1::2])


_GENERATOR = np.random.default_rng(5)
#: What NumPy lacks is taken from SciPy.
NAMESPACE = Names(
    np,
    erf=special.erf,
    sigmoid=lambda x: 1 / (1 + np.exp(-x)),
    power=np.power,
    take=lambda x, i: x[np.arange(len(i)), i],
    masked_sum=lambda x, mask: x[mask].sum(),
    scan=scan,
    conv2d=conv2d,
    max_pool=max_pool,
    while_loop=while_loop,
    fori_loop=fori_loop,
    onehot=lambda y, n: y[:, None] == np.arange(n),
    random_uniform=lambda seed, n, dtype: _GENERATOR.random(n, dtype),
    random_normal=lambda seed, n, dtype: _GENERATOR.standard_normal(n, dtype),
)


class Adapter(Peer):
    """Runs the program as it is written."""

    def version(self) -> str:
        return np.__version__

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.state:
            return self._step(case, arrays)
        if case.options.get("update"):
            return self._update(arrays)
        function = getattr(np, case.options.get("ufunc") or "", None) or case.hand(NAMESPACE)
        statement, names = call(function, arrays)
        return Prepared(statement, names, lambda: results(function(*arrays)))

    def _update(self, arrays: list[Any]) -> Prepared:
        total = np.zeros_like(arrays[0])
        return Prepared("f(total, a, total)", {"f": np.add, "total": total, "a": arrays[0]},
                        lambda: results(arrays[0]))  # fmt: skip

    def _step(self, case: Case, arrays: list[Any]) -> Prepared:
        program, rate = case.hand(NAMESPACE), case.rate
        parameters, data = [a.copy() for a in arrays[: case.state]], arrays[case.state :]

        def step() -> Any:
            cost, *slopes = program(*parameters, *data)
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter -= parameter.dtype.type(rate) * slope
            return cost

        return Prepared("f()", {"f": step}, lambda: [
            np.asarray(a, arrays[0].dtype) for a in descended(case, NAMESPACE, arrays, 2)
        ])  # fmt: skip
