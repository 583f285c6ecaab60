"""What is measured: a case is data, and a program over any namespace with NumPy's names.

Peers run `expression` in their own namespace unless they have a better formulation of the case's
family; `by_hand` is what NumPy's user writes where the others differentiate.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = Callable[[np.random.Generator], Sequence[Any]]
Program = Callable[..., Any]

#: Greatest difference from NumPy in float64, relative to the value plus the root mean square.
TOLERANCES = {"f": {2: 2e-3, 4: 2e-5, 8: 1e-10}}
SEED = 20_260_101


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table.

    expression(xp, *inputs) gives an array or a tuple of them. With `wrt` it gives a scalar cost,
    and the program is the cost's gradients with respect to these inputs. With `state` the first
    inputs are parameters, the expression is the cost of the rest, and the program is one step of
    gradient descent. by_hand(xp, *inputs) is then the cost and the gradients (with `wrt`, only
    the gradients), written out.

    traffic: bytes a call must read, and bytes it must write. flops: what a product must compute;
    0 where arithmetic is not the limit.
    """

    name: str
    group: str
    family: str
    inputs: Inputs
    expression: Program
    by_hand: Program | None = None
    wrt: tuple[int, ...] = ()
    state: int = 0
    rate: float = 0.01
    traffic: tuple[int, int] = (0, 0)
    flops: float = 0.0
    threads: int | None = None
    tolerance: float = 1.0
    quick: bool = False
    only: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    #: (curve, problem size) where the case is a point of a plot.
    curve: tuple[str, int] | None = None

    def arrays(self) -> list[Any]:
        """The inputs, the same for every peer."""
        return list(self.inputs(np.random.default_rng(SEED)))

    def reference(self, namespace: Any) -> list[Array]:
        """What the program gives in float64, by the namespace that extends NumPy's."""
        inputs = [_doubled(a) for a in self.arrays()]
        if self.state:
            return descended(self, namespace, inputs, steps=2)
        return results(self.hand(namespace)(*inputs))

    def hand(self, namespace: Any) -> Program:
        """The program for a peer that does not differentiate."""
        written = self.by_hand if self.by_hand is not None else self.expression
        return lambda *inputs: written(namespace, *inputs)


def _doubled(a: Any) -> Any:
    floating = isinstance(a, np.ndarray | np.generic) and a.dtype.kind == "f"
    return a.astype(np.float64) if floating else a


def descended(case: Case, namespace: Any, inputs: Sequence[Any], steps: int) -> list[Array]:
    """The cost before the last of some steps of gradient descent, and the parameters after it."""
    parameters = [np.array(a) for a in inputs[: case.state]]
    cost: Any = 0.0
    for _ in range(steps):
        cost, *slopes = case.hand(namespace)(*parameters, *inputs[case.state :])
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter -= parameter.dtype.type(case.rate) * slope
    return [np.asarray(cost), *parameters]


def results(given: Any) -> list[Array]:
    """The arrays of a result: of one, or of a tuple."""
    return [np.asarray(a) for a in (given if isinstance(given, tuple | list) else (given,))]


def disagreement(case: Case, got: Sequence[Array], wanted: Sequence[Array]) -> str | None:
    """How results differ from NumPy's, or None where they do not."""
    if len(got) != len(wanted):
        return f"{len(got)} results, not {len(wanted)}"
    dtypes = {a.dtype for a in case.arrays() if isinstance(a, np.ndarray)}
    for a, b in zip(got, wanted, strict=True):
        if a.shape != b.shape:
            return f"shape {a.shape}, not {b.shape}"
        if differing := case.options.get("differing"):
            if (share := float(np.mean(a != b))) > differing:
                return f"{share:.2%} of the elements differ"
        elif a.dtype.kind == "f" and b.dtype.kind == "f":
            allowed = min((d.itemsize for d in dtypes if d.kind == "f"), default=8)
            if a.dtype.itemsize != allowed:
                return f"computed in {a.dtype}"
            apart, limit = distance(a, b), case.tolerance * TOLERANCES["f"][allowed]
            if not apart <= limit:
                return f"off by {apart:.1e}, more than {limit:.0e}"
        elif not np.array_equal(a, b):
            return "differs"
    return None


def distance(a: Array, b: Array) -> float:
    """The greatest |a - b| / (|b| + rms(b)), in pieces that fit the cache."""
    a, b = a.reshape(-1), b.reshape(-1)
    if not a.size:
        return 0.0
    scale = float(np.sqrt(np.mean(np.square(b[:: max(1, b.size // 10_000)])))) or 1e-300
    worst = 0.0
    for start in range(0, a.size, 1 << 18):
        x, y = a[start : start + (1 << 18)], b[start : start + (1 << 18)]
        with np.errstate(invalid="ignore"):
            off = np.abs(x - y) / (np.abs(y) + scale)
        off[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
        worst = max(worst, float(np.max(off))) if not np.isnan(off).any() else float("nan")
        if np.isnan(worst):
            break
    return worst


def chosen(cases: Iterable[Case], patterns: Sequence[str], quick: bool) -> list[Case]:
    """Cases whose name, group or family matches a pattern (all without patterns). A quick run takes
    those meant for it, and without patterns one of each family and the products of one dtype."""
    found = [
        c for c in cases
        if (not patterns and c.group != "probes")
        or any(fnmatch.fnmatch(n, p) for p in patterns for n in (c.name, c.group, c.family))
    ]  # fmt: skip
    if not quick:
        return found
    found = [c for c in found if c.quick]
    if patterns:
        return found
    first: dict[str, Case] = {}
    for case in found:
        first.setdefault(case.name if "product f32" in case.name else case.family, case)
    return list(first.values())
