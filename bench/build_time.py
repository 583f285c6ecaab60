"""How long it takes to import jitgraph, to build a graph and to compile it.

    python bench/build_time.py
"""

from __future__ import annotations

import subprocess
import sys
import time

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.tensor.variable import Variable

OPS, ROUNDS = 10_000, 5
IMPORT = """
import time
start = time.perf_counter(); import numpy; middle = time.perf_counter(); import jitgraph
print(middle - start, time.perf_counter() - middle)
"""


def imported() -> tuple[float, float]:
    """Seconds to import NumPy, then jitgraph, in a fresh process."""
    command = [sys.executable, "-c", IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numpy, own = map(float, done.stdout.split())
    return numpy, own


def built() -> tuple[float, Variable, Variable]:
    """Seconds to build a chain of OPS ops, and the chain with its variable."""
    x = T.dvector("x")
    y = x
    start = time.perf_counter()
    for _ in range(OPS // 2):
        y = y * 0.999 + 1
    return time.perf_counter() - start, x, y


def compiled(x: Variable, y: Variable) -> float:
    """Seconds to compile a function."""
    start = time.perf_counter()
    jg.function([x], y)
    return time.perf_counter() - start


def main() -> None:
    """Print the best of several rounds of each."""
    numpy, own = map(min, zip(*(imported() for _ in range(ROUNDS)), strict=True))
    print(f"import numpy             {1e3 * numpy:8.1f} ms")
    print(f"import jitgraph, besides {1e3 * own:8.1f} ms   (goal: at most 150)")
    rounds = [built() for _ in range(ROUNDS)]
    print(f"build {OPS:,} ops         {1e3 * min(r[0] for r in rounds):8.1f} ms   (goal: 500)")
    x, y = T.dvectors("x", "y")
    compiled(x, x + 1)
    for name, expression in (
        ("x * y + x", x * y + x),
        ("exp(x) * y - x", T.exp(x) * y - x),
        ("its gradient", T.grad(T.sum(T.exp(x) * y - x), x)),
    ):
        best = min(_compile_two(x, y, expression) for _ in range(ROUNDS))
        print(f"compile {name:16} {1e3 * best:8.1f} ms")
    _, x, y = rounds[0]
    print(f"compile {OPS:,} ops       {1e3 * compiled(x, y):8.1f} ms")


def _compile_two(x: Variable, y: Variable, expression: Variable) -> float:
    start = time.perf_counter()
    jg.function([x, y], expression, on_unused_input="ignore")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
