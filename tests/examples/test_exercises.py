"""The exercises against values worked out by hand or in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from examples import exercises


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


S = sigmoid(3 * -1 + 4 * 0.5 + 5)

EXPECTED: dict[Callable[..., Any], Any] = {
    exercises.linear: 16.0,
    exercises.linear_gradients: [3.0, 4.0],
    exercises.derivative_of_square: 6.0,
    exercises.derivative_of_log: 0.25,
    exercises.derivative_of_reciprocal: -0.25,
    exercises.sigmoid_gradients: [3 * S * (1 - S), 4 * S * (1 - S)],
    exercises.exp_of_sin_of_square: [
        0.602681965908778,
        20 * math.cos(100) * math.exp(math.sin(100)),
    ],
    exercises.tenth_power: 1024.0,
    exercises.squares: np.array([1.0, 4.0, 9.0]),
    exercises.matrix_times_vector: [np.array([3.0, 3.0])],
    exercises.gradient_of_dot: np.array([1.0, 2.0]),
    exercises.broadcast_constants: np.array([[2.0, 3.0]] * 3),
    exercises.broadcast_known: np.array([[2.0, 3.0]] * 3),
    exercises.broadcast_unknown: np.array([[2.0, 3.0]] * 3),
}


def test_every_exercise_has_an_expected_value() -> None:
    assert set(exercises.EXERCISES) == set(EXPECTED)


@pytest.mark.parametrize("exercise", exercises.EXERCISES, ids=lambda e: e.__name__)
def test_value(exercise: Callable[..., Any]) -> None:
    got, want = exercise(), EXPECTED[exercise]
    assert isinstance(got, list) == isinstance(want, list)
    pairs = zip(got, want, strict=True) if isinstance(want, list) else [(got, want)]
    for mine, theirs in pairs:
        assert isinstance(mine, np.ndarray)
        assert mine.dtype == np.float64
        assert mine.shape == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)


def test_known_value_of_the_gradient_of_exp_of_sin() -> None:
    np.testing.assert_allclose(
        exercises.exp_of_sin_of_square(15)[1], 4.347404090286685, rtol=1e-13
    )


def test_main_prints_every_exercise(capsys: pytest.CaptureFixture[str]) -> None:
    exercises.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [e.__name__ for e in exercises.EXERCISES]
