"""First steps: expressions, gradients and broadcasting, each a function that returns its value.

    python -m examples.exercises
"""

from __future__ import annotations

from typing import Any

import numpy as np

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.tensor import Variable


def linear(x: float = 1, y: float = 2) -> Any:
    """3x + 4y + 5."""
    a, b = T.dscalars("x", "y")
    f = jg.function([a, b], 3 * a + 4 * b + 5)
    return f(x, y)


def linear_gradients(x: float = 1, y: float = 2) -> Any:
    """The derivatives of 3x + 4y + 5 by x and by y: constants, so the arguments go unused."""
    a, b = T.dscalars("x", "y")
    gradients = T.grad(3 * a + 4 * b + 5, [a, b])
    return jg.function([a, b], gradients, on_unused_input="ignore")(x, y)


def derivative_of_square(x: float = 3) -> Any:
    """2x."""
    a = T.dscalar("x")
    return jg.function([a], T.grad(a**2, a))(x)


def derivative_of_log(x: float = 4) -> Any:
    """1 / x."""
    a = T.dscalar("x")
    return jg.function([a], T.grad(T.log(a), a))(x)


def derivative_of_reciprocal(x: float = 2) -> Any:
    """-1 / x²."""
    a = T.dscalar("x")
    return jg.function([a], T.grad(1 / a, a))(x)


def sigmoid_gradients(x: float = -1, y: float = 0.5) -> Any:
    """The derivatives of s = sigmoid(3x + 4y + 5) by x and by y: 3 s (1 - s) and 4 s (1 - s)."""
    a, b = T.dscalars("x", "y")
    s = T.nnet.sigmoid(3 * a + 4 * b + 5)
    return jg.function([a, b], T.grad(s, [a, b]))(x, y)


def exp_of_sin_of_square(x: float = 10) -> Any:
    """exp(sin(x²)) and its derivative."""
    a = T.dscalar("x")
    value = T.exp(T.sin(a**2))
    return jg.function([a], [value, T.grad(value, wrt=a)])(x)


def power(base: Variable, exponent: int) -> Variable:
    """base to a positive integer power: a Python loop that builds an expression."""
    result = base
    for _ in range(exponent - 1):
        result = result * base
    return result


def tenth_power(x: float = 2) -> Any:
    """x to the tenth."""
    a = T.dscalar("x")
    return jg.function([a], power(a, 10))(x)


def squares(values: Any = (1, 2, 3)) -> Any:
    """The squares of a vector, without a function: `eval` compiles, calls and forgets."""
    v = T.vector("v")
    return (v**2).eval({v: list(values)})


def matrix_times_vector() -> Any:
    """A matrix of ones times (1, 2); the list becomes a float64 vector."""
    a, v = T.dmatrix("A"), T.dvector("v")
    return jg.function([a, v], [T.dot(a, v)])(np.ones((2, 2)), [1, 2])


def gradient_of_dot() -> Any:
    """The gradient of v·w by w is v."""
    v, w = T.dvector("v"), T.dvector("w")
    return T.grad(T.dot(v, w), w).eval({w: [0, 0], v: [1, 2]})


def broadcast_constants() -> Any:
    """np.array([1, 2]) + ones((3, 1)): shape (3, 2), worked out while the expression is built."""
    total: Any = np.array([1, 2]) + T.ones((3, 1))
    return total.eval()


def broadcast_known() -> Any:
    """The same for inputs whose dimensions are known."""
    row, column = T.dvector("row", shape=(2,)), T.dmatrix("column", shape=(3, 1))
    return jg.function([row, column], row + column)(np.array([1.0, 2.0]), np.ones((3, 1)))


def broadcast_unknown() -> Any:
    """The same for unknown dimensions: that one of them is 1 shows at the call."""
    row, column = T.dvector("row"), T.dmatrix("column")
    return jg.function([row, column], row + column)(np.array([1.0, 2.0]), np.ones((3, 1)))


EXERCISES = (
    linear,
    linear_gradients,
    derivative_of_square,
    derivative_of_log,
    derivative_of_reciprocal,
    sigmoid_gradients,
    exp_of_sin_of_square,
    tenth_power,
    squares,
    matrix_times_vector,
    gradient_of_dot,
    broadcast_constants,
    broadcast_known,
    broadcast_unknown,
)


def main() -> None:
    """Print every exercise and its value."""
    for exercise in EXERCISES:
        value = exercise()
        text = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
        print(f"{exercise.__name__:<25} {text.replace(chr(10), ' ')}")


if __name__ == "__main__":
    main()
