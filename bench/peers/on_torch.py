"""torch: torch.compile and eager, whichever is faster for the case."""

from __future__ import annotations

import math
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from bench.case import Case
from bench.peers.base import Names, NotHere, Peer, Prepared, call, scalar


def scan(step: Any, carry: Any, rows: Any) -> tuple[Any, Any]:
    """Python's loop: unrolled where it is compiled."""
    found = []
    for row in rows:
        carry, result = step(carry, row)
        found.append(result)
    return carry, torch.stack(found)


def while_loop(condition: Any, body: Any, carry: Any) -> Any:
    """Python's."""
    while condition(carry):
        carry = body(carry)
    return carry


NAMESPACE = Names(
    torch,
    max=lambda x, axis=None, keepdims=False: (
        torch.max(x) if axis is None else torch.amax(x, axis, keepdims)
    ),
    sum=lambda x, axis=None, keepdims=False: (
        torch.sum(x) if axis is None else torch.sum(x, axis, keepdims)
    ),
    mean=lambda x, axis=None, keepdims=False: (
        torch.mean(x) if axis is None else torch.mean(x, axis, keepdims)
    ),
    var=lambda x, axis=None: torch.var(x, axis, correction=0),
    argmax=lambda x, axis=None: torch.argmax(x, axis),
    cumsum=lambda x, axis: torch.cumsum(x, axis),
    masked_sum=lambda x, mask: torch.sum(x[mask]),
    scan=scan,
    conv2d=functional.conv2d,
    max_pool=lambda x: functional.max_pool2d(x, 2),
    while_loop=while_loop,
    power=torch.pow,
    softmax=lambda x, axis: torch.softmax(x, axis),
    log_softmax=lambda x, axis: torch.log_softmax(x, axis),
    logsumexp=lambda x, axis: torch.logsumexp(x, axis),
    take=lambda x, i: x[torch.arange(i.shape[0]), i],
    random_uniform=lambda seed, n, dtype: torch.rand(n, dtype=getattr(torch, dtype)),
    random_normal=lambda seed, n, dtype: torch.randn(n, dtype=getattr(torch, dtype)),
)
#: torch's own functions for a family, tried besides the program.
OWN: dict[str, Callable[..., Any]] = {
    "layer norm": lambda x, g, b: functional.layer_norm(x, (x.shape[-1],), g, b, 1e-5),
    "layer norm gradient": lambda x, g, b, w: torch.sum(
        functional.layer_norm(x, (x.shape[-1],), g, b, 1e-5) * w
    ),
    "gelu": functional.gelu,
    "gelu gradient": lambda x, w: torch.sum(functional.gelu(x) * w),
    "log-softmax NLL": functional.cross_entropy,
    "log-softmax NLL gradient": functional.cross_entropy,
}
#: Nothing to compile: one library call.
CALLS = ("product", "product in order", "product of slices")
#: Loops that torch.compile unrolls: hundreds of steps take it minutes.
UNROLLED = ("recurrent net", "recurrent net gradient")


def numpy_of(given: Any) -> list[Any]:
    """Results as arrays."""
    given = given if isinstance(given, tuple | list) else (given,)
    return [g.detach().numpy() if isinstance(g, torch.Tensor) else np.asarray(g) for g in given]


class Adapter(Peer):
    """Times both ways of running a program at setup, and keeps the faster one."""

    def version(self) -> str:
        torch.set_num_threads(self.threads)
        return str(torch.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if not all(scalar(a) or all(s > 0 for s in a.strides) for a in arrays):
            raise NotHere("no such strides")
        if case.options.get("update"):
            return self._update(arrays[0])
        found = [self._prepared(case, arrays, p, how) for p, how in self._programs(case)]
        timed = [(self._time(p), i) for i, p in enumerate(found)]
        if min(timed)[0] == math.inf:
            return found[0]
        return found[min(timed)[1]]

    def _programs(self, case: Case) -> list[tuple[Any, str]]:
        def program(*inputs: Any) -> Any:
            return case.expression(NAMESPACE, *inputs)

        ways = [(program, "eager")]
        if case.family in OWN:
            ways.append((OWN[case.family], "eager"))
        if case.family not in (*CALLS, *UNROLLED) and case.group != "calls":
            torch._dynamo.reset()
            ways.append((torch.compile(program, dynamic=False), "compiled"))
        return ways

    @staticmethod
    def _time(prepared: Prepared) -> float:
        timer = timeit.Timer(prepared.statement, globals=prepared.names)
        try:
            timer.timeit(2)
            number, seconds = timer.autorange()
        except Exception:
            return math.inf
        return seconds / number

    @staticmethod
    def _update(array: Any) -> Prepared:
        x = torch.from_numpy(array)
        total = torch.zeros_like(x)
        value = total.clone().add_(x).numpy()
        return Prepared("f(x)", {"f": total.add_, "x": x}, lambda: [value], "eager")

    def _prepared(self, case: Case, arrays: list[Any], program: Any, how: str) -> Prepared:
        tensors = [a if scalar(a) else torch.from_numpy(a) for a in arrays]
        if case.state:
            return self._step(case, tensors, program, how)
        if not case.wrt:
            statement, names = call(program, tensors)
            return Prepared(statement, names, lambda: numpy_of(program(*tensors)), how)
        leaves = [tensors[i].requires_grad_() for i in case.wrt]

        def slopes() -> Any:
            return torch.autograd.grad(program(*tensors), leaves)

        return Prepared("f()", {"f": slopes}, lambda: numpy_of(slopes()), how)

    @staticmethod
    def _step(case: Case, tensors: list[Any], program: Any, how: str) -> Prepared:
        parameters = [t.clone().requires_grad_() for t in tensors[: case.state]]
        data = tensors[case.state :]

        def step() -> Any:
            cost = program(*parameters, *data)
            slopes = torch.autograd.grad(cost, parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, slopes, alpha=-case.rate)
            return cost

        start = [p.detach().clone() for p in parameters]

        def two() -> list[Any]:
            with torch.no_grad():
                for p, s in zip(parameters, start, strict=True):
                    p.copy_(s)
            step()
            return [a.copy() for a in numpy_of([step(), *parameters])]

        return Prepared("f()", {"f": step}, two, how)
