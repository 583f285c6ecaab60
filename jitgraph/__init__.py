"""jitgraph: a JIT compiler for array expressions.

    import jitgraph as jg
    import jitgraph.tensor as T

    x, y = T.dscalars("x", "y")
    f = jg.function([x, y], 3 * x + 4 * y + 5)
"""

from jitgraph.config import config
from jitgraph.function import clone, function, subgraph
from jitgraph.inputs import In, Out
from jitgraph.jit import jit
from jitgraph.runtime import memory
from jitgraph.runtime.threads import get_num_threads, set_num_threads
from jitgraph.tensor.marks import stop_gradient
from jitgraph.tensor.opaque import as_op
from jitgraph.tensor.shared import shared
from jitgraph.transforms import (
    checkpoint,
    custom_vjp,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    value_and_grad,
    verify_grad,
    vjp,
    vmap,
)

__version__ = "0.1.0"

__all__ = [
    "In",
    "Out",
    "__version__",
    "as_op",
    "checkpoint",
    "clone",
    "config",
    "custom_vjp",
    "function",
    "get_num_threads",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "memory",
    "set_num_threads",
    "shared",
    "stop_gradient",
    "subgraph",
    "value_and_grad",
    "verify_grad",
    "vjp",
    "vmap",
]
