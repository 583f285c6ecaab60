"""`scan` in Theano's manner, against Python loops over its whole argument space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import InputError, OptionError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)


def by_python(
    x: Array, taps: Sequence[int], start: Array, former: Sequence[int], steps: int | None,
    backwards: bool,
) -> tuple[list[float], list[float]]:  # fmt: skip
    """What the step of `scanned` gives, step by step."""
    low, high = min(0, *taps), max(0, *taps)
    count = len(x) - (high - low) if steps is None else steps
    order = range(-low, len(x) - high)
    places = list(order)[::-1][:count] if backwards else list(order)[:count]
    states, sums = list(start), []
    for at in places:
        rows = [x[at + t] for t in taps]
        back = [states[t] for t in former]
        sums.append(sum((k + 1) * r for k, r in enumerate(rows)))
        states.append(0.5 * sum((k + 1) * b for k, b in enumerate(back)) + sums[-1])
    return states[len(start) :], sums


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_taps_steps_and_directions(data: st.DataObject) -> None:
    taps = data.draw(st.lists(st.integers(-2, 2), min_size=1, max_size=3, unique=True))
    former = data.draw(st.lists(st.integers(-3, -1), min_size=1, max_size=2, unique=True))
    length = data.draw(st.integers(6, 9))
    steps = data.draw(st.one_of(st.none(), st.integers(1, 2)))
    backwards = data.draw(st.booleans())
    x, start = T.dvector("x"), T.dvector("start")

    def step(*given: Any) -> Any:
        rows, back = given[: len(taps)], given[len(taps) :]
        total = sum((k + 1) * r for k, r in enumerate(rows))
        return 0.5 * sum((k + 1) * b for k, b in enumerate(back)) + total, total

    outputs, updates = T.scan(
        step, sequences={"input": x, "taps": taps},
        outputs_info=[{"initial": start[0] if former == [-1] else start, "taps": former}, None],
        n_steps=steps,
        go_backwards=backwards,
    )  # fmt: skip
    assert not updates
    values, first = RNG.normal(size=length), RNG.normal(size=-min(former))
    found = jg.function([x, start], outputs)(values, first)
    want = by_python(values, taps, first, former, steps, backwards)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("ends", ["counted", "reverse", "until"])
@pytest.mark.parametrize("most", [1, 3, 6, 9])
def test_truncated_gradients(most: int, ends: str) -> None:
    """As if what was carried into the last steps, and their rows and weights alone, mattered."""
    x, w, h0 = T.dvector("x"), T.dscalar("w"), T.dscalar("h0")
    last = 5

    def step(i: Any, row: Any, h: Any, w: Any) -> Any:
        h = T.tanh(w * h + row * (i + 1))
        return (h, T.until(i >= last)) if ends == "until" else h

    backwards = ends == "reverse"
    rows, _ = T.scan(step, [T.arange(x.shape[0]), x], h0, w, truncate_gradient=most,
                     go_backwards=backwards)  # fmt: skip
    f = jg.function([x, w, h0], T.grad((rows * rows).sum(), [x, w, h0]))
    values = RNG.normal(size=9 if ends == "until" else 6)
    found = f(values, 0.7, 0.3)
    walked = list(range(6))[::-1] if backwards else list(range(6))
    states = [0.3]
    for i in walked:
        states.append(np.tanh(0.7 * states[-1] + values[i] * (i + 1)))
    slope, for_x, for_w = 0.0, np.zeros(len(values)), 0.0
    for k in range(5, max(5 - most, -1), -1):
        slope = (slope + 2 * states[k + 1]) * (1 - states[k + 1] ** 2)
        for_x[walked[k]] = slope * (walked[k] + 1)
        for_w += slope * states[k]
        slope *= 0.7
    for got, want in zip(found, [for_x, for_w, slope if most >= 6 else 0.0], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-14)


def test_truncation_is_part_of_second_derivatives_and_maps() -> None:
    x, h0 = T.dvector("x"), T.dscalar("h0")
    rows, _ = T.scan(lambda r, h: T.sin(h + r), x, h0, truncate_gradient=2)
    slope = T.grad(rows[-1], x)
    curve = T.grad(slope.sum(), x)
    a, b = jg.function([x, h0], [slope, curve])(np.array([0.1, 0.2, 0.3, 0.4]), 0.5)
    h = np.sin(np.sin(0.5 + 0.1) + 0.2) + 0.3
    z = np.sin(h) + 0.4
    np.testing.assert_allclose(a, [0, 0, np.cos(z) * np.cos(h), np.cos(z)], rtol=1e-12)
    assert np.isfinite(b).all()
    many, _ = T.map(lambda r: r**2, x, truncate_gradient=2)
    np.testing.assert_array_equal(
        jg.function([x], T.grad(many.sum(), x))(np.ones(4)), [0, 0, 2, 2]
    )
    with pytest.raises(OptionError, match="truncate_gradient=0"):
        T.scan(lambda r: r, x, truncate_gradient=0)


def test_strict_scans_take_what_they_are_given() -> None:
    w, x = jg.shared(2.0, "w"), T.dvector("x")
    with pytest.raises(InputError, match="strict"):
        T.scan(lambda r: r * w, x, strict=True)
    rows, _ = T.scan(lambda r, w: r * w, x, non_sequences=w, strict=True)
    np.testing.assert_array_equal(jg.function([x], rows)(np.ones(2)), [2, 2])


def test_updates_are_a_mapping() -> None:
    streams, x = T.random.RandomStreams(3), T.dvector("x")
    rows, updates = T.scan(lambda r: r + streams.uniform(()), x)
    _, none = T.scan(lambda r: r, x)
    assert not none
    none.update(updates)
    f = jg.function([x], rows, updates=none)
    assert not np.array_equal(f(np.zeros(4)), f(np.zeros(4)))


@pytest.mark.parametrize("fold", ["foldl", "foldr", "reduce"])
def test_folds_of_several_states(fold: str) -> None:
    x, y = T.dvector("x"), T.dvector("y")
    (a, b), _ = getattr(T, fold)(
        lambda r, s, a, b, c: [a * c + r, b - s * r], [x, y], [np.float64(0), np.float64(1)], 0.5,
    )  # fmt: skip
    values = RNG.normal(size=(2, 5))
    want = [0.0, 1.0]
    for r, s in values.T[:: -1 if fold == "foldr" else 1]:
        want = [want[0] * 0.5 + r, want[1] - s * r]
    np.testing.assert_allclose(jg.function([x, y], [a, b])(*values), want, rtol=1e-12)
