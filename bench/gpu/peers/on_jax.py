"""JAX: jit of the program on arrays of the device; parameters of a step are donated."""

from __future__ import annotations

import os
from typing import Any

# Others want memory too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

from bench.case import Case, results
from bench.gpu import peers
from bench.gpu.peers import Running
from bench.peers.base import NotHere
from bench.peers.on_jax import NAMESPACE, program

#: The other precisions are asked for by name.
jax.config.update("jax_default_matmul_precision", "highest")
_PRECISIONS = {"tf32": "tensorfloat32", "bf16": "bfloat16"}


class Adapter(peers.Peer):
    """See the module."""

    def __init__(self, name: str, device: str) -> None:
        super().__init__(name, device)
        gpus = [d for d in jax.devices() if d.platform == "gpu"]
        if len(gpus) <= peers.ordinal(device):
            raise NotHere("no GPU for JAX")
        self._device = gpus[peers.ordinal(device)]

    def version(self) -> str:
        return str(jax.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Running:
        arguments = [jax.device_put(a, self._device) for a in arrays]
        if case.state:
            return self._step(case, arguments)
        whole = program(case)
        if chosen := case.options.get("precision"):
            precision = _PRECISIONS[chosen]
            whole = lambda a, b: jnp.matmul(a, b, precision=precision)
        function = jax.jit(whole)
        last: list[Any] = [None]

        def call() -> Any:
            last[0] = function(*arguments)

        return Running(
            call, lambda: jax.block_until_ready(last[0]), lambda: results(function(*arguments))
        )

    def _step(self, case: Case, arguments: list[Any]) -> Running:
        def descend(parameters: Any, data: Any) -> Any:
            cost, slopes = jax.value_and_grad(
                lambda p: case.expression(NAMESPACE, *p, *data)
            )(parameters)
            return cost, [p - p.dtype.type(case.rate) * d
                          for p, d in zip(parameters, slopes, strict=True)]  # fmt: skip

        compiled = jax.jit(descend, donate_argnums=0)
        data = arguments[case.state :]
        state = [jnp.array(a, copy=True) for a in arguments[: case.state]]

        def call() -> Any:
            nonlocal state
            cost, state = compiled(state, data)
            return cost

        def fetch() -> Any:
            call()
            return [np.asarray(a) for a in (call(), *state)]

        return Running(call, lambda: jax.block_until_ready(state), fetch)
