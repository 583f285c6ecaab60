"""Transforms: functions of arrays => other functions of arrays, under `jit`.

| room | what is in it |
|---|---|
| `derivatives` | `grad`, `value_and_grad`, `jacobian`, `hessian`, `jvp`, `vjp`, `hvp` |
| `mapping` | `vmap` |
| `custom` | `custom_vjp`, `checkpoint` |
| `checking` | `verify_grad` |

What a transform gives is called like the function it was given, with arrays (it is compiled) or
with variables (it builds expressions), so transforms of transforms are nothing special. Those of
derivatives take expressions as well, and are then the functions of `jitgraph.tensor`.
"""

from jitgraph import tensor
from jitgraph.transforms.checking import verify_grad
from jitgraph.transforms.custom import checkpoint, custom_vjp
from jitgraph.transforms.derivatives import (
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    value_and_grad,
    vjp,
)
from jitgraph.transforms.mapping import vmap

# `jitgraph.tensor` has those that take expressions; it gets the others, which are built upon it.
for _function in (checkpoint, custom_vjp, value_and_grad, verify_grad, vmap):
    setattr(tensor, _function.__name__, _function)
    tensor.__all__.append(_function.__name__)

__all__ = [
    "checkpoint", "custom_vjp", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp",
    "value_and_grad", "verify_grad", "vjp", "vmap",
]  # fmt: skip
