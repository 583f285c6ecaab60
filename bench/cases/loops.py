"""Programs with loops in them: recurrent nets, iterations until converged, counted scalar loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.case import Case, Inputs
from bench.cases.elementwise import uniform

STEPS, HIDDEN, BATCH = 200, 64, 32
TERMS = 10**6
NEAR = 1e-13
#: Whose loops over scalars do not cost an interpreter's step each: a million of those take minutes
#: to verify.
SCALAR_LOOPS = ("jitgraph", "baseline", "numpy", "numba", "jax", "pytensor-numba")


# --- a recurrent net: of a sequence of vectors, or of matrices (a batch of them) -----------------
def recurrent_cost(xp: Any, w: Any, u: Any, b: Any, start: Any, x: Any) -> Any:
    """The mean square of all states."""

    def step(state: Any, row: Any) -> Any:
        state = xp.tanh(row + xp.matmul(state, u))
        return state, state

    _, states = xp.scan(step, start, xp.matmul(x, w) + b)
    return xp.mean(states * states)


def _states(w: Any, u: Any, b: Any, start: Any, x: Any) -> Any:
    """The states of every step, the one before the first as well."""
    states = np.empty((len(x) + 1, *start.shape), x.dtype)
    states[0] = start
    for k, row in enumerate(x @ w + b):
        np.tanh(row + states[k] @ u, out=states[k + 1])
    return states


def recurrent_by_hand(xp: Any, w: Any, u: Any, b: Any, start: Any, x: Any) -> Any:
    """The cost."""
    states = _states(w, u, b, start, x)[1:]
    return np.mean(states * states)


def recurrent_slopes(xp: Any, w: Any, u: Any, b: Any, start: Any, x: Any) -> Any:
    """Back through time, then one product for each matrix."""
    states = _states(w, u, b, start, x)
    after = states[1:]
    slopes = 2 / after.size * after
    bend = 1 - after * after
    back = u.T
    slopes[-1] *= bend[-1]
    for k in range(len(x) - 2, -1, -1):
        slopes[k] += slopes[k + 1] @ back
        slopes[k] *= bend[k]
    flat = slopes.reshape(-1, slopes.shape[-1])
    before = states[:-1].reshape(flat.shape)
    return x.reshape(-1, x.shape[-1]).T @ flat, before.T @ flat, flat.sum(axis=0)


def network(*batch: int) -> Inputs:
    """Weights, a start of zeros, and a sequence."""

    def inputs(random: np.random.Generator) -> Sequence[Any]:
        bound = np.sqrt(3 / HIDDEN)
        drawn = [random.uniform(-bound, bound, shape).astype(np.float32)
                 for shape in ((HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN,))]  # fmt: skip
        start = np.zeros((*batch, HIDDEN), np.float32)
        return [*drawn, start, random.normal(size=(STEPS, *batch, HIDDEN)).astype(np.float32)]

    return inputs


# --- iterations and counted loops ----------------------------------------------------------------
def newton_roots(xp: Any, a: Any) -> Any:
    """Square roots, all improved until the worst is near."""
    return xp.while_loop(
        lambda x: xp.any(xp.abs(x * x - a) > NEAR * a),
        lambda x: 0.5 * (x + a / x),
        0.5 * (a + 1),
    )


def term_sum(xp: Any, n: Any, start: Any) -> Any:
    """Of 1 / i²: the terms do not depend on each other."""
    return xp.fori_loop(0, n, lambda i, s: s + 1.0 / ((i + 1.0) * (i + 1.0)), start)


def term_sum_by_hand(xp: Any, n: Any, start: Any) -> Any:
    """Nobody loops over scalars in NumPy."""
    i = np.arange(1.0, n + 1)
    return start + np.sum(1.0 / (i * i))


def recurrence(xp: Any, n: Any, start: Any) -> Any:
    """Each term needs the one before."""
    return xp.fori_loop(0, n, lambda i, x: 0.75 * x + i, start)


def cases() -> Iterator[Case]:
    """All of them."""
    for name, batch in (("vector", ()), (f"batch {BATCH}", (BATCH,))):
        products = 2 * 2 * STEPS * HIDDEN**2 * (batch[0] if batch else 1)
        title = f"recurrent net f32, {STEPS} steps of {HIDDEN}, {name}"
        yield Case(
            name=title, group="loops", family="recurrent net", inputs=network(*batch),
            expression=recurrent_cost, by_hand=recurrent_by_hand, tolerance=20, quick=True,
            flops=products,
        )  # fmt: skip
        yield Case(
            name=f"{title}, gradient", group="loops", family="recurrent net gradient",
            inputs=network(*batch), expression=recurrent_cost, by_hand=recurrent_slopes,
            wrt=(0, 1, 2), tolerance=20, quick=True, flops=2.5 * products,
        )  # fmt: skip
    yield Case(
        name="Newton's square roots f64 1e4", group="loops", family="Newton roots",
        inputs=uniform(np.float64, (10**4,), low=0.1, high=100), expression=newton_roots,
    )  # fmt: skip
    yield Case(
        name="sum of 1e6 terms in a loop", group="loops", family="term sum",
        inputs=lambda random: [TERMS, 0.0], expression=term_sum, by_hand=term_sum_by_hand,
        only=SCALAR_LOOPS,
    )  # fmt: skip
    yield Case(
        name="recurrence of 1e6 steps", group="loops", family="recurrence",
        inputs=lambda random: [TERMS, 0.0], expression=recurrence, only=SCALAR_LOOPS,
    )  # fmt: skip
