"""PyTensor with either linker: shared variables for state, inputs trusted, outputs borrowed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import get_mode
from pytensor.scan.utils import until

from bench.case import Case, results
from bench.peers.base import Names, Peer, Prepared, call

#: Steps of a loop that ends itself.
MOST = 10_000


def scan(step: Any, carry: Any, rows: Any) -> tuple[Any, Any]:
    """What is carried, and the joined rows of results."""
    states, results = pytensor.scan(
        lambda row, state: step(state, row), sequences=rows, outputs_info=[carry, None],
        return_updates=False,
    )  # fmt: skip
    return states[-1], results


def while_loop(condition: Any, body: Any, carry: Any) -> Any:
    """The loop that `scan` can end: one step at least."""

    def step(state: Any) -> Any:
        state = body(state)
        return state, until(~condition(state))

    return pytensor.scan(step, outputs_info=carry, n_steps=MOST, return_updates=False)[-1]


def fori_loop(lower: Any, upper: Any, body: Any, carry: Any) -> Any:
    """Carried along the numbers."""
    return pytensor.scan(
        body, sequences=pt.arange(lower, upper), outputs_info=carry, return_updates=False
    )[-1]  # fmt: skip


NAMESPACE = Names(
    pt,
    power=pt.pow,
    softmax=lambda x, axis: pt.special.softmax(x, axis=axis),
    log_softmax=lambda x, axis: pt.special.log_softmax(x, axis=axis),
    take=lambda x, i: x[pt.arange(i.shape[0]), i],
    masked_sum=lambda x, mask: pt.sum(x[mask]),
    scan=scan,
    while_loop=while_loop,
    fori_loop=fori_loop,
    onehot=lambda y, n: pt.eq(y[:, None], np.arange(n)),
)


class Adapter(Peer):
    """The linker is the last part of the worker's name."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.mode = get_mode({"c": "CVM", "numba": "NUMBA"}[sys.argv[1].rpartition("-")[2]])

    def version(self) -> str:
        return str(pytensor.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        inputs = [_variable(a) for a in arrays]
        if case.options.get("update"):
            return self._update(inputs, arrays)
        if case.state:
            return self._step(case, inputs, arrays)
        outputs = case.expression(NAMESPACE, *inputs)
        if case.wrt:
            outputs = pytensor.grad(outputs, [inputs[i] for i in case.wrt])
        outputs = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
        function = self._function(inputs, outputs if len(outputs) > 1 else outputs[0])
        arguments = [np.asarray(a) for a in arrays]
        statement, names = call(function, arguments)
        dtypes = [o.dtype for o in outputs]
        return Prepared(statement, names, lambda: _typed(function(*arguments), dtypes))

    def _function(self, inputs: Any, outputs: Any, updates: Any = None) -> Any:
        borrowed = [pytensor.In(x, borrow=True) for x in inputs]
        function = pytensor.function(
            borrowed, outputs, updates=updates, mode=self.mode, on_unused_input="ignore"
        )
        function.trust_input = True
        return function

    def _update(self, inputs: Any, arrays: Any) -> Prepared:
        total = pytensor.shared(np.zeros_like(arrays[0]))
        function = self._function(inputs, [], [(total, total + inputs[0])])
        function(*arrays)
        value = total.get_value()
        statement, names = call(function, arrays)
        return Prepared(statement, names, lambda: [value])

    def _step(self, case: Case, inputs: Any, arrays: Any) -> Prepared:
        shared = [pytensor.shared(a.copy()) for a in arrays[: case.state]]
        data = inputs[case.state :]
        cost = case.expression(NAMESPACE, *shared, *data)
        rate = arrays[0].dtype.type(case.rate)
        updates = [(p, p - rate * d)
                   for p, d in zip(shared, pytensor.grad(cost, shared), strict=True)]  # fmt: skip
        function = self._function(data, cost, updates)
        arguments = [np.asarray(a) for a in arrays[case.state :]]
        function(*arguments)
        second = _typed([function(*arguments), *(p.get_value() for p in shared)],
                        [cost.dtype, *(p.dtype for p in shared)])  # fmt: skip
        statement, names = call(function, arguments)
        return Prepared(statement, names, lambda: second)


def _variable(value: Any) -> Any:
    array = np.asarray(value)
    return pt.tensor(dtype=array.dtype.name, shape=[1 if n == 1 else None for n in array.shape])


def _typed(given: Any, dtypes: list[str]) -> list[Any]:
    """Results; the Numba linker gives scalars of any dtype as Python's."""
    return [a.astype(dtype) if a.ndim == 0 else a
            for a, dtype in zip(results(given), dtypes, strict=True)]  # fmt: skip
