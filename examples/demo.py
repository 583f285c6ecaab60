"""Trains the logistic regression and the autoencoder, each beside its twin in NumPy.

    python -m examples.demo --data PATH_OF_MNIST --out FOLDER

Both twins start from the same parameters and see the same minibatches, a few steps of one and then
of the other, so that noise of the machine hits both alike; each does its own training in full. The
tables show the cost of every epoch and the median time of a training step.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import jitgraph as jg
from examples import autoencoder, datasets, logistic_regression, numpy_twins

#: Steps of one twin before it is the other's turn.
TURN = 8
RULE = "─" * 78

Step = Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The mean cost of an epoch, how far NumPy's costs were from it (relative), and the median
    seconds of one step of each."""

    cost: float
    apart: float
    ours: float
    numpy: float


def train_epoch(ours: Step, numpy: Step, starts: Sequence[int]) -> Epoch:
    """One epoch of both, in turns."""
    costs: tuple[list[float], list[float]] = [], []
    seconds: tuple[list[float], list[float]] = [], []
    for first in range(0, len(starts), TURN):
        turn = starts[first : first + TURN]
        for which, step in enumerate((ours, numpy)):
            begin = time.perf_counter()
            got = [step(start) for start in turn]
            seconds[which].append((time.perf_counter() - begin) / len(turn))
            costs[which].extend(map(float, got))
    a, b = map(np.array, costs)
    apart = float(np.max(np.abs(a - b) / np.abs(b)))
    return Epoch(float(a.mean()), apart, *map(statistics.median, seconds))


def report(ours: Step, numpy: Step, starts: Sequence[int], epochs: int) -> list[Epoch]:
    """Train both and print a row per epoch."""
    print("  epoch         cost   jitgraph/step      NumPy/step   speed-up   costs differ by")
    done = []
    for number in range(1, epochs + 1):
        row = train_epoch(ours, numpy, starts)
        done.append(row)
        print(
            f"  {number:5}   {row.cost:10.4f}   {_time(row.ours):>13}   {_time(row.numpy):>13}"
            f"   {row.numpy / row.ours:7.2f}x   {row.apart:15.1e}"
        )
    return done


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:,.1f} µs"


def _heading(title: str, detail: str) -> None:
    print(f"\n{RULE}\n  {title}\n  {detail}\n{RULE}")


def demo_logistic_regression(data: datasets.Dataset, epochs: int) -> list[Epoch]:
    """Softmax regression: costs, speed, and the error rate on images it has not seen."""
    trainer = logistic_regression.Trainer(data)
    batch, rate = logistic_regression.BATCH, logistic_regression.LEARNING_RATE
    twin = numpy_twins.LogisticRegression(
        data.train.images, data.train.labels, data.classes, batch, rate
    )
    _heading(
        f"Logistic regression   {data.pixels} → {data.classes}, minibatches of {batch}",
        f"compiled in {1e3 * trainer.compile_seconds:.0f} ms: slice, model, gradient and update "
        "are one native call",
    )
    done = report(trainer.step, twin.step, trainer.starts, epochs)
    images, labels = data.test.images, data.test.labels
    print(
        f"\n  test error: jitgraph {100 * float(trainer.error_rate(images, labels)):.2f} %, "
        f"NumPy {100 * twin.error_rate(images, labels):.2f} %"
    )
    return done


def demo_autoencoder(data: datasets.Dataset, epochs: int, out: Path) -> list[Epoch]:
    """The autoencoder with tied weights: costs, speed, and pictures of what it learned."""
    model = autoencoder.AutoEncoder(data.train.images)
    batch, rate = autoencoder.BATCH, autoencoder.LEARNING_RATE
    twin = numpy_twins.AutoEncoder(data.train.images, model.W.get_value(), batch, rate)
    begin = time.perf_counter()
    step = model.compile_step(batch, rate)
    seconds = time.perf_counter() - begin
    _heading(
        f"Autoencoder, tied weights   {data.pixels} → {autoencoder.HIDDEN} → {data.pixels}, "
        f"minibatches of {batch}",
        f"compiled in {1e3 * seconds:.0f} ms, its gradient included",
    )
    done = report(step, twin.step, range(0, model.count, batch), epochs)
    shown = data.test.images[:12]
    pictures = (
        autoencoder.draw_features(model.W.get_value(), data.size, out / "features.png"),
        autoencoder.draw_reconstructions(
            shown, model.reconstruct(shown), data.size, out / "reconstructions.png"
        ),
    )
    print("\n  pictures: " + ", ".join(map(str, pictures)))
    return done


def main(argv: Sequence[str] | None = None) -> None:
    """Run both demonstrations."""
    parser = argparse.ArgumentParser(description="jitgraph beside NumPy on handwritten digits.")
    parser.add_argument("--data", help="folder of MNIST's idx files, or mnist.pkl.gz")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=autoencoder.PICTURES, help="for the pictures")
    parser.add_argument(
        "--blas-threads", type=int, default=1,
        help="threads of NumPy's matrix products; jitgraph uses one (default: 1)",
    )  # fmt: skip
    options = parser.parse_args(argv)
    begin = time.perf_counter()
    data = datasets.load(options.data, dtype=jg.config.floatX)
    print(f"jitgraph {jg.__version__} beside NumPy {np.__version__}, Python "
          f"{platform.python_version()}, {os.cpu_count()} cores, {jg.config.floatX}, "
          f"{options.blas_threads} BLAS thread(s)")  # fmt: skip
    print(data)
    with threadpool_limits(options.blas_threads, user_api="blas"):
        demo_logistic_regression(data, options.epochs)
        demo_autoencoder(data, options.epochs, options.out)
    print(f"\ndone in {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
