"""Every source of digits, and what is said about damaged ones."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples import datasets
from examples.datasets import DatasetError

RANDOM = np.random.default_rng(0)


def idx(array: np.ndarray[Any, Any]) -> bytes:
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_half(folder: Path, half: str, count: int, pack: bool, separator: str = "-") -> Any:
    images = RANDOM.integers(0, 256, (count, 4, 5), dtype=np.uint8)
    images[0, 0, 0] = 255
    labels = np.arange(count) % 10
    for what, array in (("images", images), ("labels", labels)):
        name = f"{half}-{what}{separator}idx{array.ndim}-ubyte"
        data = idx(array)
        (folder / (name + ".gz" * pack)).write_bytes(gzip.compress(data) if pack else data)
    return images, labels


def pixels_by_label(images: Any, labels: Any) -> list[tuple[int, float]]:
    """What stays the same under a permutation."""
    sums = images.reshape(len(labels), -1).sum(axis=1, dtype=float).round(6)
    return sorted(zip(labels.tolist(), sums.tolist(), strict=True))


def everything(data: datasets.Dataset) -> list[tuple[int, float]]:
    parts = (data.train, data.valid, data.test)
    images = np.concatenate([p.images for p in parts])
    return pixels_by_label(images, np.concatenate([p.labels for p in parts]))


# --- sources -------------------------------------------------------------------------------------
def test_bundled_digits() -> None:
    data = datasets.load()
    assert data.size == (8, 8)
    assert data.pixels == 64
    assert data.classes == 10
    assert [len(p) for p in (data.train, data.valid, data.test)] == [1257, 270, 270]
    for part in (data.train, data.valid, data.test):
        assert part.images.dtype == np.float64
        assert part.labels.dtype == np.int64
        assert part.images.min() == 0
        assert part.images.max() == 1
        assert set(part.labels.tolist()) == set(range(10))
    assert str(data).startswith("scikit-learn digits: 1,257 + 270 + 270 images")


def test_seed_and_dtype() -> None:
    first, same, other = datasets.load(), datasets.load(seed=0), datasets.load(seed=1)
    np.testing.assert_array_equal(first.train.images, same.train.images)
    assert not np.array_equal(first.train.images, other.train.images)
    assert everything(first) == everything(other)
    assert datasets.load(dtype="float32").valid.images.dtype == np.float32


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("pack", [False, True], ids=["plain", "gzipped"])
def test_one_half_is_split_in_three(tmp_path: Path, pack: bool, separator: str) -> None:
    images, labels = write_half(tmp_path, "t10k", 100, pack, separator)
    data = datasets.load(tmp_path)
    assert data.size == (4, 5)
    assert [len(p) for p in (data.train, data.valid, data.test)] == [70, 15, 15]
    assert everything(data) == pixels_by_label(images / 255.0, labels)
    assert not np.array_equal(data.train.labels, labels[:70]), "permuted before the split"


def test_both_halves_keep_the_test_set(tmp_path: Path) -> None:
    write_half(tmp_path, "train", 60, pack=False)
    images, labels = write_half(tmp_path, "t10k", 20, pack=True)
    data = datasets.load(tmp_path)
    assert [len(p) for p in (data.train, data.valid, data.test)] == [50, 10, 20]
    assert pixels_by_label(data.test.images, data.test.labels) == pixels_by_label(
        images / 255.0, labels
    )


def test_path_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_half(tmp_path, "t10k", 20, pack=False)
    monkeypatch.setenv(datasets.VARIABLE, str(tmp_path))
    assert datasets.load().size == (4, 5)


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("where", ["file", "folder"])
def test_pickled_mnist(tmp_path: Path, protocol: int, where: str) -> None:
    sets = [
        (RANDOM.random((count, 9), dtype=np.float32), np.arange(count) % 10)
        for count in (30, 20, 10)
    ]
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps(sets, protocol)))
    data = datasets.load(path if where == "file" else tmp_path)
    assert data.size == (3, 3)
    assert data.train.images.dtype == np.float64
    for part, (images, labels) in zip((data.train, data.valid, data.test), sets, strict=True):
        assert pixels_by_label(part.images, part.labels) == pixels_by_label(
            images.astype(np.float64), labels
        )


# --- damage --------------------------------------------------------------------------------------
def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no data set at .*nowhere"):
        datasets.load(tmp_path / "nowhere")


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds neither t10k-images-idx3-ubyte"):
        datasets.load(tmp_path)


@pytest.mark.parametrize("gone", ["images-idx3", "labels-idx1"])
def test_half_of_a_half(tmp_path: Path, gone: str) -> None:
    write_half(tmp_path, "t10k", 20, pack=False)
    (tmp_path / f"t10k-{gone}-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=f"is there, but .*t10k-{gone}-ubyte is not"):
        datasets.load(tmp_path)


def damage(change: Callable[[bytes], bytes], file: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / file
        path.write_bytes(change(path.read_bytes()))

    return apply


IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("change", "file", "message"),
    [
        (lambda d: b"\0\0\x08\x01" + d[4:], IMAGES, "starts with 00000801, not with 00000803"),
        (lambda d: b"\0\0\x0d\x01" + d[4:], LABELS, "starts with 00000d01, not with 00000801"),
        (lambda d: d[:10], IMAGES, "ends inside its header of 16 bytes"),
        (lambda d: d[:-1], IMAGES, "has 415 bytes, but its header promises 416"),
        (lambda d: d + b"\0", LABELS, "has 29 bytes, but its header promises 28"),
        (lambda d: gzip.compress(d)[:-9], IMAGES, "damaged gzip file"),
        (lambda d: idx(np.zeros(19)), LABELS, "holds 20 images, but .* 19 labels"),
    ],
)
def test_damaged_idx(
    tmp_path: Path, change: Callable[[bytes], bytes], file: str, message: str
) -> None:
    write_half(tmp_path, "t10k", 20, pack=False)
    damage(change, file)(tmp_path)
    with pytest.raises(DatasetError, match=message):
        datasets.load(tmp_path)


def test_halves_of_different_sizes(tmp_path: Path) -> None:
    write_half(tmp_path, "t10k", 20, pack=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 3, 3))))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(2)))
    with pytest.raises(DatasetError, match="different sizes"):
        datasets.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", "is not mnist.pkl.gz"),
        (pickle.dumps(3), "is not mnist.pkl.gz"),
        (pickle.dumps([]), "three pairs"),
        (pickle.dumps([(np.zeros((2, 9)), np.zeros(2))] * 2), "three pairs"),
        (pickle.dumps([(np.zeros((2, 9)), np.zeros(3))] * 3), "three pairs"),
        (pickle.dumps([(np.zeros((2, 8)), np.zeros(2))] * 3), "three pairs"),
    ],
)
def test_damaged_pickle(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DatasetError, match=message):
        datasets.load(path)


class Malicious:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    path, proof = tmp_path / "mnist.pkl", tmp_path / "proof"
    path.write_bytes(pickle.dumps(Malicious(proof)))
    with pytest.raises(DatasetError, match="which is no array"):
        datasets.load(path)
    assert not proof.exists()
