"""An autoencoder with tied weights that learns features of handwritten digits.

    python -m examples.autoencoder --epochs 20 --data PATH_OF_MNIST

Encoder and decoder use one matrix: hidden = f(x W + b1), output = g(hidden Wᵀ + b2). The cost is
the cross-entropy of the output and the image itself. A training step, from the slice of the
images to the new W, is one call of one native function.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

import jitgraph as jg
import jitgraph.tensor as T
from examples import datasets
from jitgraph.tensor import Variable

Array = NDArray[Any]
Activation = Callable[[Any], Variable]

HIDDEN = 500
BATCH = 20
LEARNING_RATE = 0.1
PICTURES = Path("out")


def initial_weights(pixels: int, hidden: int, seed: int = 0) -> Array:
    """W[pixels, hidden], uniform within ±√(6 / (pixels + hidden)), the bound of Glorot and Bengio
    (2010), "Understanding the difficulty of training deep feedforward neural networks". The dtype
    is floatX."""
    bound = math.sqrt(6 / (pixels + hidden))
    random = np.random.default_rng(seed)
    return random.uniform(-bound, bound, (pixels, hidden)).astype(jg.config.floatX)


class AutoEncoder:
    """images[n, pixels] in [0, 1], and the parameters W[pixels, hidden], b1[hidden], b2[pixels]."""

    def __init__(
        self,
        images: Array,
        hidden: int = HIDDEN,
        activation: Activation = T.nnet.sigmoid,
        output: Activation = T.nnet.sigmoid,
        seed: int = 0,
    ) -> None:
        float_x = jg.config.floatX
        self.activation, self.output = activation, output
        self.count, pixels = images.shape
        self.images = jg.shared(images.astype(float_x), name="images", borrow=True)
        self.W = jg.shared(initial_weights(pixels, hidden, seed), name="W", borrow=True)
        self.b1 = jg.shared(np.zeros(hidden, dtype=float_x), name="b1", borrow=True)
        self.b2 = jg.shared(np.zeros(pixels, dtype=float_x), name="b2", borrow=True)
        self.params = [self.W, self.b1, self.b2]

    def encoded(self, x: Variable) -> Variable:
        """The hidden units of x[n, pixels]."""
        return self.activation(T.dot(x, self.W) + self.b1)

    def decoded(self, hidden: Variable) -> Variable:
        """The images of hidden[n, hidden]."""
        return self.output(T.dot(hidden, T.transpose(self.W)) + self.b2)

    def cost(self, x: Variable) -> Variable:
        """The mean cross-entropy of the rows of x and what becomes of them."""
        out = self.decoded(self.encoded(x))
        cross_entropy: Variable = -T.sum(x * T.log(out) + (1 - x) * T.log(1 - out), axis=1)
        return cross_entropy.mean()

    def compile_step(self, batch: int = BATCH, learning_rate: float = LEARNING_RATE) -> Any:
        """A function of a minibatch's first row: one step down the gradient, and the cost before
        it."""
        x, start = T.matrix("x"), T.lscalar("start")
        cost = self.cost(x)
        gradients = T.grad(cost, self.params)
        return jg.function(
            [start],
            cost,
            updates=[
                (param, param - learning_rate * gradient)
                for param, gradient in zip(self.params, gradients, strict=True)
            ],
            givens={x: self.images[start : start + batch, :]},
        )

    def train(
        self,
        epochs: int,
        batch: int = BATCH,
        learning_rate: float = LEARNING_RATE,
        progress: bool = True,
    ) -> list[float]:
        """Go epochs times over the images; the mean cost of each epoch."""
        step = self.compile_step(batch, learning_rate)
        costs: list[float] = []
        with tqdm(total=epochs * self.count, unit=" images", disable=not progress) as bar:
            for _ in range(epochs):
                total = 0.0
                for start in range(0, self.count, batch):
                    size = min(batch, self.count - start)
                    total += size * float(step(start))
                    bar.update(size)
                costs.append(total / self.count)
                bar.set_postfix(epoch=len(costs), cost=f"{costs[-1]:.3f}")
        return costs

    def reconstruct(self, images: Array) -> Array:
        """What the autoencoder makes of images[n, pixels]."""
        x = T.matrix("x")
        compiled = jg.function([x], self.decoded(self.encoded(x)))
        result: Array = compiled(images.astype(jg.config.floatX))
        return result


def step() -> Any:
    """The training step, for `python -m jitgraph.dump examples.autoencoder:step`."""
    return AutoEncoder(datasets.load().train.images).compile_step()


def grid(tiles: Array, size: tuple[int, int], columns: int) -> Array:
    """tiles[n, height * width] laid out in rows, a blank line between, each from 0 to 1."""
    height, width = size
    rows = -(-len(tiles) // columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for at, tile in enumerate(tiles):
        top, left = at // columns * (height + 1), at % columns * (width + 1)
        low, high = tile.min(), tile.max()
        scaled = (tile - low) / (high - low or 1)
        picture[top : top + height, left : left + width] = scaled.reshape(size)
    return picture


def draw(picture: Array, title: str, path: str | os.PathLike[str]) -> Path:
    """Write a picture of grey levels to path, whose folder is made if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = picture.shape
    figure = Figure(figsize=(8, 8 * height / width + 0.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(picture, cmap="gray", interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()
    figure.savefig(path, dpi=120)
    return path


def draw_features(
    weights: Array, size: tuple[int, int], path: str | os.PathLike[str], count: int = 100
) -> Path:
    """The strongest features as images: the columns of weights[pixels, hidden] of greatest norm."""
    strongest = np.argsort(-np.linalg.norm(weights, axis=0))[:count]
    columns = math.isqrt(max(len(strongest) - 1, 0)) + 1
    tiles = weights[:, strongest].T
    return draw(grid(tiles, size, columns), "what the hidden units look for", path)


def draw_reconstructions(
    images: Array, reconstructed: Array, size: tuple[int, int], path: str | os.PathLike[str]
) -> Path:
    """A row of images above a row of what became of them."""
    tiles = np.concatenate([images, reconstructed])
    return draw(grid(tiles, size, len(images)), "digits, and the autoencoder's copies", path)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print the cost of each epoch, and write the pictures."""
    parser = argparse.ArgumentParser(description="An autoencoder with tied weights.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=HIDDEN)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--data", help="folder of MNIST's idx files, or mnist.pkl.gz")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the weights")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures")
    options = parser.parse_args(argv)
    data = datasets.load(options.data, seed=options.seed, dtype=jg.config.floatX)
    print(data)
    model = AutoEncoder(data.train.images, options.hidden, seed=options.seed)
    started = time.perf_counter()
    costs = model.train(options.epochs, options.batch, options.learning_rate)
    print(f"trained in {time.perf_counter() - started:.1f} s")
    for epoch, cost in enumerate(costs, start=1):
        print(f"epoch {epoch:3}   cost {cost:.3f}")
    shown = data.test.images[:12]
    print(draw_features(model.W.get_value(), data.size, options.out / "features.png"))
    print(draw_reconstructions(
        shown, model.reconstruct(shown), data.size, options.out / "reconstructions.png"
    ))  # fmt: skip


if __name__ == "__main__":
    main()
