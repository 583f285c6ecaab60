"""torch on the GPU: "torch" runs the program as it stands (or torch's own function for it),
"torch.compile" what that makes of it. Products of f32 are exact unless the case says otherwise."""

from __future__ import annotations

from typing import Any

import torch

from bench.case import Case
from bench.gpu import peers
from bench.gpu.peers import Running
from bench.peers import on_torch
from bench.peers.base import Names, NotHere, scalar

NAMESPACE = Names(
    on_torch.NAMESPACE,
    take=lambda x, i: torch.gather(x, 1, i[:, None])[:, 0],
    sigmoid=torch.sigmoid,
    erf=torch.erf,
)
#: Hundreds of steps unrolled take the compiler minutes.
UNROLLED = ("recurrent net",)
#: torch's names; "medium" is bf16.
_PRECISIONS = {"exact": "highest", "tf32": "high", "bf16": "medium"}


def arrays_of(given: Any) -> list[Any]:
    """Results as arrays of the host."""
    given = given if isinstance(given, tuple | list) else (given,)
    return [g.detach().cpu().numpy() for g in given]


class Adapter(peers.Peer):
    """See the module."""

    def __init__(self, name: str, device: str) -> None:
        super().__init__(name, device)
        if torch.cuda.device_count() <= peers.ordinal(device):
            raise NotHere("no GPU for torch")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def version(self) -> str:
        return str(torch.__version__)

    def prepare(self, case: Case, arrays: list[Any]) -> Running:
        precision = _PRECISIONS[case.options.get("precision", "exact")]
        torch.set_float32_matmul_precision(precision)  # the compiler reads it, and each call
        tensors = [a if scalar(a) else torch.from_numpy(a).to(self.device) for a in arrays]
        program = self._program(case)
        if case.state:
            return self._step(case, tensors, program)
        leaves = [tensors[i].requires_grad_() for i in case.wrt]

        def call() -> Any:
            torch.set_float32_matmul_precision(precision)
            if leaves:
                return torch.autograd.grad(program(*tensors), leaves)
            return program(*tensors)

        return Running(call, self._wait, lambda: arrays_of(call()))

    def _program(self, case: Case) -> Any:
        def program(*inputs: Any) -> Any:
            return case.expression(NAMESPACE, *inputs)

        if self.name == "torch":
            return on_torch.OWN.get(case.family, program)
        if case.family in UNROLLED:
            raise NotHere("unrolled")
        torch._dynamo.reset()
        return torch.compile(program, dynamic=False)

    def _wait(self) -> None:
        torch.cuda.synchronize(self.device)

    def _step(self, case: Case, tensors: list[Any], program: Any) -> Running:
        parameters = [t.clone().requires_grad_() for t in tensors[: case.state]]
        data = tensors[case.state :]

        def call() -> Any:
            cost = program(*parameters, *data)
            slopes = torch.autograd.grad(cost, parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, slopes, alpha=-case.rate)
            return cost

        def fetch() -> Any:
            call()
            return arrays_of([call(), *parameters])

        return Running(call, self._wait, fetch)
