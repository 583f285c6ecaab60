"""jitgraph: a JIT compiler for array expressions.

    import jitgraph as jg
    import jitgraph.tensor as T

    x, y = T.dscalars("x", "y")
    f = jg.function([x, y], 3 * x + 4 * y + 5)
"""

from jitgraph import conversions as conversions
from jitgraph.config import config
from jitgraph.device_array import DeviceArray, device_put, devices, from_dlpack
from jitgraph.function import clone, function, subgraph
from jitgraph.inputs import In, Out
from jitgraph.jit import jit
from jitgraph.runtime import memory
from jitgraph.runtime.threads import get_num_threads, set_num_threads
from jitgraph.tensor import (
    Lop,
    Rop,
    cond,
    foldl,
    foldr,
    fori_loop,
    ifelse,
    scan,
    while_loop,
)
from jitgraph.tensor import map as map
from jitgraph.tensor import reduce as reduce
from jitgraph.tensor.marks import (
    consider_constant,
    disconnected_grad,
    grad_clip,
    stop_gradient,
    zero_grad,
)
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

# (`map` and `reduce` are left out: `import *` would hide Python's.)
__all__ = [
    "DeviceArray",
    "In",
    "Lop",
    "Out",
    "Rop",
    "__version__",
    "as_op",
    "checkpoint",
    "clone",
    "cond",
    "config",
    "consider_constant",
    "custom_vjp",
    "device_put",
    "devices",
    "disconnected_grad",
    "foldl",
    "foldr",
    "fori_loop",
    "from_dlpack",
    "function",
    "get_num_threads",
    "grad",
    "grad_clip",
    "hessian",
    "hvp",
    "ifelse",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "memory",
    "scan",
    "set_num_threads",
    "shared",
    "stop_gradient",
    "subgraph",
    "value_and_grad",
    "verify_grad",
    "vjp",
    "vmap",
    "while_loop",
    "zero_grad",
]
