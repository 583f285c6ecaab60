"""The autoencoder: it learns, takes the same steps as NumPy, and draws what it learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import jitgraph as jg
import jitgraph.tensor as T
from examples import datasets, numpy_twins
from examples.autoencoder import (
    BATCH,
    HIDDEN,
    LEARNING_RATE,
    AutoEncoder,
    draw_features,
    grid,
    main,
)


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
    return datasets.load()


def test_cost_falls(data: datasets.Dataset) -> None:
    model = AutoEncoder(data.train.images)
    costs = model.train(epochs=5, progress=False)
    # The first minibatch costs 50; in the fifth epoch NumPy is at 16.91.
    assert costs == sorted(costs, reverse=True)
    assert 16.8 < costs[-1] < 17


def test_reconstructions_resemble_the_images(data: datasets.Dataset) -> None:
    model = AutoEncoder(data.train.images)
    images = data.test.images
    model.train(epochs=3, progress=False)
    copies = model.reconstruct(images)
    assert copies.shape == images.shape
    guess = np.abs(images - data.train.images.mean(axis=0)).mean()
    assert np.abs(images - copies).mean() < 0.5 * guess


def test_first_steps_equal_those_of_numpy(data: datasets.Dataset) -> None:
    model = AutoEncoder(data.train.images)
    assert model.W.get_value().shape == (64, HIDDEN)
    twin = numpy_twins.AutoEncoder(data.train.images, model.W.get_value(), BATCH, LEARNING_RATE)
    step = model.compile_step()
    starts = [*range(0, 20 * BATCH, BATCH), model.count // BATCH * BATCH]
    assert 0 < model.count - starts[-1] < BATCH
    for start in starts:
        np.testing.assert_allclose(step(start), twin.step(start), rtol=1e-6)
    for mine, theirs in zip(model.params, (twin.W, twin.b1, twin.b2), strict=True):
        np.testing.assert_allclose(mine.get_value(), theirs, rtol=1e-6, atol=1e-10)


def test_float32_is_honoured(data: datasets.Dataset) -> None:
    with jg.config.override(floatX="float32"):
        model = AutoEncoder(data.train.images, hidden=50)
        twin = numpy_twins.AutoEncoder(
            data.train.images.astype("float32"), model.W.get_value(), BATCH, LEARNING_RATE
        )
        step = model.compile_step()
        for start in range(0, 10 * BATCH, BATCH):
            cost = step(start)
            assert cost.dtype == np.float32
            np.testing.assert_allclose(cost, twin.step(start), rtol=1e-4)
    assert {param.get_value().dtype for param in model.params} == {np.dtype("float32")}


def test_another_activation(data: datasets.Dataset) -> None:
    model = AutoEncoder(data.train.images, hidden=30, activation=T.tanh)
    costs = model.train(epochs=3, progress=False)
    assert costs[-1] < costs[0]


def test_grid_places_tiles_in_rows() -> None:
    tiles = np.arange(3 * 4).reshape(3, 4)
    picture = grid(tiles, (2, 2), columns=2)
    assert picture.shape == (5, 5)
    np.testing.assert_allclose(picture[:2, :2], np.arange(4).reshape(2, 2) / 3)
    np.testing.assert_allclose(picture[3:, :2], np.arange(4).reshape(2, 2) / 3)
    assert np.isnan(picture[2]).all()
    assert np.isnan(picture[3:, 3:]).all()


def test_picture_of_features(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = draw_features(random.random((64, 20)), (8, 8), tmp_path / "new" / "features.png")
    image = imread(path)
    assert min(image.shape[:2]) > 100
    assert image[..., :3].std() > 0.1


def test_main_writes_the_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--epochs", "1", "--hidden", "40", "--out", str(tmp_path)])
    captured = capsys.readouterr()
    assert "epoch   1   cost" in captured.out
    assert "cost=" in captured.err, "the progress bar shows the cost"
    assert (tmp_path / "features.png").stat().st_size > 1000
    assert (tmp_path / "reconstructions.png").stat().st_size > 1000
