"""Digits told apart by softmax regression, trained by stochastic gradient descent on minibatches.

    python -m examples.logistic_regression --epochs 20 --data PATH_OF_MNIST

The data are shared variables: a training call takes nothing but the minibatch's first row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import jitgraph as jg
import jitgraph.tensor as T
from examples import datasets
from jitgraph.tensor import Variable

BATCH = 20
LEARNING_RATE = 0.13


class LogisticRegression:
    """p(class | x) = softmax(x W + b), for a symbolic x[n, pixels]."""

    def __init__(self, x: Variable, pixels: int, classes: int) -> None:
        self.x = x
        zeros = np.zeros((pixels, classes), dtype=jg.config.floatX)
        self.W = jg.shared(zeros, name="W", borrow=True)
        self.b = jg.shared(np.zeros(classes, dtype=jg.config.floatX), name="b", borrow=True)
        self.params = [self.W, self.b]
        self.p = T.nnet.softmax(T.dot(x, self.W) + self.b)
        self.prediction = T.argmax(self.p, axis=1)

    def negative_log_likelihood(self, y: Variable) -> Variable:
        """The mean of -log p(y), for labels y[n]."""
        cost: Variable = -T.mean(T.log(self.p)[T.arange(y.shape[0]), y])
        return cost

    def error_rate(self, y: Variable) -> Variable:
        """The part of the rows whose likeliest class is not y."""
        return T.mean(T.neq(self.prediction, y))


class Trainer:
    """The model and the data, with the compiled functions.

    step(start) trains on the minibatch at row start and gives its cost before the step;
    error_rate(images, labels) judges the model as it is now.
    """

    def __init__(
        self,
        data: datasets.Dataset,
        batch: int = BATCH,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        x, y, start = T.matrix("x"), T.lvector("y"), T.lscalar("start")
        images = data.train.images.astype(jg.config.floatX)
        self.images = jg.shared(images, name="images", borrow=True)
        self.labels = jg.shared(data.train.labels, name="labels", borrow=True)
        self.model = LogisticRegression(x, data.pixels, data.classes)
        self.starts = range(0, len(data.train), batch)
        cost = self.model.negative_log_likelihood(y)
        gradients = T.grad(cost, self.model.params)
        started = time.perf_counter()
        self.step = jg.function(
            [start],
            cost,
            updates=[
                (param, param - learning_rate * gradient)
                for param, gradient in zip(self.model.params, gradients, strict=True)
            ],
            givens={
                x: self.images[start : start + batch, :],
                y: self.labels[start : start + batch],
            },
        )
        self.compile_seconds = time.perf_counter() - started
        self.error_rate = jg.function([x, y], self.model.error_rate(y))


def step() -> Any:
    """The training step, for `python -m jitgraph.dump examples.logistic_regression:step`."""
    return Trainer(datasets.load(dtype=jg.config.floatX)).step


@dataclass(slots=True)
class Result:
    """The mean training cost and the validation error of each epoch, and the final test error."""

    costs: list[float] = field(default_factory=list)
    valid_errors: list[float] = field(default_factory=list)
    test_error: float = 1.0


def train(trainer: Trainer, data: datasets.Dataset, epochs: int = 20) -> Result:
    """Go epochs times over the training images."""
    result = Result()
    valid = data.valid.images.astype(jg.config.floatX)
    test = data.test.images.astype(jg.config.floatX)
    for _ in range(epochs):
        result.costs.append(float(np.mean([trainer.step(start) for start in trainer.starts])))
        result.valid_errors.append(float(trainer.error_rate(valid, data.valid.labels)))
    result.test_error = float(trainer.error_rate(test, data.test.labels))
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Train and print what each epoch brought."""
    parser = argparse.ArgumentParser(description="Softmax regression on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--data", help="folder of MNIST's idx files, or mnist.pkl.gz")
    parser.add_argument("--seed", type=int, default=0, help="of the split of the data")
    options = parser.parse_args(argv)
    data = datasets.load(options.data, seed=options.seed, dtype=jg.config.floatX)
    trainer = Trainer(data, options.batch, options.learning_rate)
    print(data)
    print(f"compiled in {1e3 * trainer.compile_seconds:.0f} ms")
    result = train(trainer, data, options.epochs)
    for epoch, (cost, error) in enumerate(
        zip(result.costs, result.valid_errors, strict=True), start=1
    ):
        print(f"epoch {epoch:3}   cost {cost:.4f}   validation error {100 * error:.2f} %")
    print(f"test error {100 * result.test_error:.2f} %")


if __name__ == "__main__":
    main()
