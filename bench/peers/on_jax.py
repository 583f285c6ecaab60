"""JAX: jit of the program, on device arrays, waited for; parameters of a step are donated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, logsumexp

from bench.case import Case, results
from bench.peers.base import Names, Peer, Prepared, call, scalar

jax.config.update("jax_enable_x64", True)
NAMESPACE = Names(
    jnp,
    erf=erf,
    logsumexp=logsumexp,
    sigmoid=jax.nn.sigmoid,
    softmax=jax.nn.softmax,
    log_softmax=jax.nn.log_softmax,
    take=lambda x, i: x[jnp.arange(i.shape[0]), i],
    masked_sum=lambda x, mask: jnp.sum(x, where=mask),
    scan=jax.lax.scan,
    conv2d=lambda x, w: jax.lax.conv(x, w, (1, 1), "VALID"),
    max_pool=lambda x: jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"
    ),
    while_loop=jax.lax.while_loop,
    fori_loop=jax.lax.fori_loop,
    onehot=lambda y, n: jax.nn.one_hot(y, n, dtype=bool),
    random_uniform=lambda seed, n, dtype: jax.random.uniform(jax.random.key(seed), (n,), dtype),
    random_normal=lambda seed, n, dtype: jax.random.normal(jax.random.key(seed), (n,), dtype),
)


def program(case: Case) -> Any:
    """The program as a function of arrays, for jit."""

    def forward(*inputs: Any) -> Any:
        return case.expression(NAMESPACE, *inputs)

    if not case.wrt:
        return forward
    slopes = jax.grad(forward, case.wrt)
    return lambda *inputs: slopes(*inputs)[0] if len(case.wrt) == 1 else slopes(*inputs)


class Adapter(Peer):
    """jit, called on arrays that live on JAX's side."""

    def version(self) -> str:
        return str(jax.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Prepared:
        if case.state:
            return self._step(case, arrays)
        if case.options.get("update"):
            return self._update(arrays)
        arguments = [a if scalar(a) else jnp.asarray(a) for a in arrays]
        function = jax.jit(program(case))
        first = function(*arguments)
        if isinstance(first, jax.Array):
            statement, names = call(function, arguments, ".block_until_ready()")
        else:
            statement, names = call(function, arguments)
            statement, names = f"wait({statement})", {**names, "wait": jax.block_until_ready}
        return Prepared(statement, names, lambda: results(first))

    def _update(self, arrays: list[Any]) -> Prepared:
        add = jax.jit(jnp.add, donate_argnums=0)
        x, total = jnp.asarray(arrays[0]), jnp.zeros_like(arrays[0])

        def update() -> None:
            nonlocal total
            total = add(total, x)

        update()
        value = np.array(total)
        names = {"f": update, "wait": lambda: total.block_until_ready()}
        return Prepared("f(); wait()", names, lambda: [value])

    def _step(self, case: Case, arrays: list[Any]) -> Prepared:
        def descend(parameters: Any, data: Any) -> Any:
            cost, slopes = jax.value_and_grad(
                lambda p: case.expression(NAMESPACE, *p, *data)
            )(parameters)
            return cost, [p - p.dtype.type(case.rate) * d
                          for p, d in zip(parameters, slopes, strict=True)]  # fmt: skip

        compiled = jax.jit(descend, donate_argnums=0)
        data = [a if scalar(a) else jnp.asarray(a) for a in arrays[case.state :]]
        parameters = [jnp.array(a, copy=True) for a in arrays[: case.state]]

        def step() -> Any:
            nonlocal parameters
            cost, parameters = compiled(parameters, data)
            return cost

        step()
        second = [np.array(a) for a in (step(), *parameters)]
        statement = "wait((f(), parameters()))"
        names = {"f": step, "wait": jax.block_until_ready, "parameters": lambda: parameters}
        return Prepared(statement, names, lambda: second)
