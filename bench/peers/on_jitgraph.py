"""jitgraph: the program over symbolic variables, its state in shared variables."""

from __future__ import annotations

from typing import Any

import numpy as np

import jitgraph as jg
import jitgraph.tensor as T
from bench.case import Case, results
from bench.peers.base import Names, NotHere, Peer, Prepared, call

NAMESPACE = Names(
    T,
    sigmoid=T.nnet.sigmoid,
    take=lambda x, i: x[T.arange(i.shape[0]), i],
    masked_sum=lambda x, mask: T.sum(x[mask]),
    scan=T.loop_rows,
    conv2d=lambda x, w: T.nnet.conv2d(x, w, filter_flip=False),
    max_pool=lambda x: T.nnet.pool_2d(x, (2, 2), ignore_border=True),
    onehot=lambda y, n: T.eq(T.expand_dims(y, 1), np.arange(n)),
    random_uniform=lambda seed, n, dtype: T.random.uniform(T.random.key(seed), n, dtype),
    random_normal=lambda seed, n, dtype: T.random.normal(T.random.key(seed), n, dtype),
)


def variable(value: Any, at: int) -> Any:
    """A symbolic input for a value: its dtype and rank, extents unknown unless 1, or the number of
    coordinates of points in space (other peers know every extent)."""
    array = np.asarray(value)
    shape = [1 if n == 1 else None for n in array.shape]
    if array.ndim == 2 and array.shape[1] <= 3:
        shape[1] = array.shape[1]
    return T.tensor(array.dtype.name, shape, name=f"x{at}")


def compiled(case: Case, arrays: list[Any]) -> tuple[Any, list[Any]]:
    """The function, and its arguments."""
    if case.options.get("jit"):
        return jitted(case), arrays
    inputs = [variable(a, i) for i, a in enumerate(arrays)]
    if case.state:
        return _step(case, arrays, inputs)
    try:
        outputs = case.expression(NAMESPACE, *inputs)
    except AttributeError as error:
        raise NotHere(f"not in jitgraph yet ({error.name})") from error
    if case.wrt:
        outputs = T.grad(outputs, [inputs[i] for i in case.wrt])
    several = isinstance(outputs, tuple | list)
    outputs = list(outputs) if several and len(outputs) != 1 else results_of(outputs)
    return jg.function(inputs, outputs), arrays


def jitted(case: Case) -> Any:
    """The program as a function of NumPy, traced at its first call."""
    if not hasattr(jg, "jit"):
        raise NotHere("not in jitgraph yet (jit)")
    return jg.jit(lambda *inputs: case.expression(np, *inputs))


def results_of(outputs: Any) -> Any:
    """A single output as itself: the function then gives an array and no list."""
    return outputs[0] if isinstance(outputs, tuple | list) else outputs


def _step(case: Case, arrays: list[Any], inputs: list[Any]) -> tuple[Any, list[Any]]:
    shared = [jg.shared(a.copy(), name=f"p{i}") for i, a in enumerate(arrays[: case.state])]
    data = inputs[case.state :]
    cost = case.expression(NAMESPACE, *shared, *data)
    slopes = T.grad(cost, shared)
    rate = arrays[0].dtype.type(case.rate)
    updates = [(p, p - rate * slope) for p, slope in zip(shared, slopes, strict=True)]
    function = jg.function(data, cost, updates=updates)
    return _Stateful(function, shared), arrays[case.state :]


class _Stateful:
    """A step with the shared variables it moves."""

    def __init__(self, function: Any, shared: list[Any]) -> None:
        self.function, self.shared = function, shared


class Adapter(Peer):
    """Compiles by `jitgraph.function`, or `jitgraph.jit`."""

    def version(self) -> str:
        return jg.__version__

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.options.get("update"):
            return self._update(arrays)
        function, arguments = compiled(case, arrays)
        if isinstance(function, _Stateful):
            step, shared = function.function, function.shared
            step(*arguments)
            second = [step(*arguments), *(p.get_value() for p in shared)]
            statement, names = call(step, arguments)
            return Prepared(statement, names, lambda: results(second))
        statement, names = call(function, arguments)
        return Prepared(statement, names, lambda: results(function(*arguments)))

    def _update(self, arrays: list[Any]) -> Prepared:
        """A function that adds its argument to a shared variable, and gives nothing."""
        total = jg.shared(np.zeros_like(arrays[0]), name="total")
        x = variable(arrays[0], 0)
        function = jg.function([x], updates=[(total, total + x)])
        function(*arrays)
        value = total.get_value()
        statement, names = call(function, arrays)
        return Prepared(statement, names, lambda: [value])
