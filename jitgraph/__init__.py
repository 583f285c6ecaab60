"""jitgraph: a JIT compiler for array expressions.

    import jitgraph as jg
    import jitgraph.tensor as T

    x, y = T.dscalars("x", "y")
    f = jg.function([x, y], 3 * x + 4 * y + 5)
"""

from jitgraph.config import config
from jitgraph.function import function
from jitgraph.jit import jit
from jitgraph.runtime import memory
from jitgraph.runtime.threads import get_num_threads, set_num_threads
from jitgraph.tensor.gradient import grad
from jitgraph.tensor.shared import shared

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "config",
    "function",
    "get_num_threads",
    "grad",
    "jit",
    "memory",
    "set_num_threads",
    "shared",
]
