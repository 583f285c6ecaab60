"""A network that learns exclusive or: two inputs, two hidden units, one output, all sigmoid.

    python -m examples.xor

Each call of the compiled function is one step of gradient descent for one of the four samples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.tensor import Variable

Array = NDArray[Any]

#: The truth table.
INPUTS = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
TARGETS = np.array([1, 1, 0, 0])
LEARNING_RATE = 0.1
SEED = 1


def layer(x: Variable, w: Variable) -> Variable:
    """sigmoid(w.T [x 1]): the last row of w holds the biases."""
    bias = np.array([1], dtype=jg.config.floatX)
    return T.nnet.sigmoid(T.dot(w.T, T.concatenate([x, bias])))


def descend(cost: Variable, w: Variable, learning_rate: float) -> Variable:
    """w after one step of gradient descent."""
    lower: Variable = w - learning_rate * T.grad(cost, wrt=w)
    return lower


def initial_weights(seed: int = SEED) -> tuple[Array, Array]:
    """Uniform random weights w1[3, 2] and w2[3, 1], in [0, 1)."""
    random = np.random.default_rng(seed)
    return random.random((3, 2)), random.random((3, 1))


class Network:
    """The network with its two compiled functions.

    step(x, y) gives the squared error of one sample and moves the weights; predict(x) gives the
    output.
    """

    def __init__(self, w1: Array, w2: Array, learning_rate: float = LEARNING_RATE) -> None:
        x, y = T.vector("x"), T.scalar("y")
        self.w1 = jg.shared(w1.astype(jg.config.floatX), name="w1")
        self.w2 = jg.shared(w2.astype(jg.config.floatX), name="w2")
        out = T.sum(layer(layer(x, self.w1), self.w2))
        cost = (out - y) ** 2
        self.step = jg.function(
            [x, y],
            cost,
            updates=[(w, descend(cost, w, learning_rate)) for w in (self.w1, self.w2)],
        )
        self.predict = jg.function([x], out)


def step() -> Any:
    """The training step, for `python -m jitgraph.dump examples.xor:step`."""
    return Network(*initial_weights()).step


@dataclass(frozen=True, slots=True)
class Result:
    """costs[rounds, 4]: of each sample in each round over the truth table."""

    costs: Array
    outputs: Array
    seconds: float


def train(network: Network, calls: int = 40_000) -> Result:
    """Train one sample a call, the four samples in turn."""
    inputs = list(INPUTS.astype(network.w1.dtype))
    samples = list(zip(inputs, TARGETS.tolist(), strict=True))
    started = time.perf_counter()
    costs = [[network.step(x, y) for x, y in samples] for _ in range(calls // len(samples))]
    seconds = time.perf_counter() - started
    return Result(np.array(costs), np.array([network.predict(x) for x in inputs]), seconds)


def main(argv: Sequence[str] | None = None) -> None:
    """Train and print the truth table that was learned."""
    parser = argparse.ArgumentParser(description="A network that learns exclusive or.")
    parser.add_argument("--calls", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)
    result = train(Network(*initial_weights(options.seed)), options.calls)
    for at in range(0, len(result.costs), max(len(result.costs) // 10, 1)):
        print(f"round {at:6,}   cost {result.costs[at].mean():.5f}")
    for x, y, output in zip(INPUTS, TARGETS, result.outputs, strict=True):
        print(f"{x[0]} xor {x[1]} = {y}   learned {output:.4f}")
    print(f"{options.calls:,} calls, {1e6 * result.seconds / options.calls:.2f} µs each")


if __name__ == "__main__":
    main()
