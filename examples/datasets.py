"""Handwritten digits as float images in [0, 1] and integer labels.

`load()` gives scikit-learn's bundled digits (1,797 images of 8 x 8). `load(path)`, or the variable
JITGRAPH_MNIST in the environment, gives MNIST (28 x 28) from either

* a folder with the idx files, plain or gzipped: both halves, or one of them, or
* `mnist.pkl.gz`, the three sets of the Deep Learning Tutorials.

Everything is permuted with a seed before it is split, since neither source is well mixed.
"""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.datasets import load_digits

Array = NDArray[Any]

#: Names the variable in the environment that holds the path of MNIST.
VARIABLE = "JITGRAPH_MNIST"
#: Parts of all images that become the validation and the test set, where the source has no sets.
VALID, TEST = 0.15, 0.15
#: Part of the training half that becomes the validation set, where the source has a test set.
VALID_OF_TRAIN = 1 / 6
#: The first four bytes of an idx file: unsigned bytes in three dimensions, or in one.
IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801


class DatasetError(ValueError):
    """A file that does not hold what its place says it holds."""


@dataclass(frozen=True, slots=True)
class Examples:
    """images[n, height * width] in [0, 1], and their labels[n] as int64."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three disjoint sets of images of one size."""

    name: str
    size: tuple[int, int]
    train: Examples
    valid: Examples
    test: Examples

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def classes(self) -> int:
        return int(self.train.labels.max()) + 1

    def __str__(self) -> str:
        height, width = self.size
        sets = f"{len(self.train):,} + {len(self.valid):,} + {len(self.test):,}"
        return f"{self.name}: {sets} images (train + valid + test) of {height} x {width}"


def load(
    source: str | os.PathLike[str] | None = None, *, seed: int = 0, dtype: DTypeLike = "float64"
) -> Dataset:
    """The data at source, or at JITGRAPH_MNIST, or scikit-learn's digits.

    dtype: of the images. Raises FileNotFoundError, or DatasetError for a damaged file.
    """
    random = np.random.default_rng(seed)
    source = source or os.environ.get(VARIABLE)
    if not source:
        return _bundled(random, np.dtype(dtype))
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no data set at {path}")
    if path.is_file():
        return _pickled(path, random, np.dtype(dtype))
    if halves := {half: files for half in ("train", "t10k") if (files := _idx_files(path, half))}:
        return _idx_folder(halves, random, np.dtype(dtype))
    for pickled in (path / "mnist.pkl.gz", path / "mnist.pkl"):
        if pickled.exists():
            return _pickled(pickled, random, np.dtype(dtype))
    raise FileNotFoundError(
        f"{path} holds neither t10k-images-idx3-ubyte nor train-images-idx3-ubyte "
        "(with or without .gz), nor mnist.pkl.gz"
    )


# --- sources -------------------------------------------------------------------------------------
def _bundled(random: np.random.Generator, dtype: np.dtype[Any]) -> Dataset:
    images, labels = load_digits(return_X_y=True)
    everything = _examples(images, labels, 16.0, random, dtype)
    return Dataset("scikit-learn digits", (8, 8), *_in_three(everything))


def _idx_folder(
    halves: dict[str, tuple[Path, Path]], random: np.random.Generator, dtype: np.dtype[Any]
) -> Dataset:
    sets, sizes = [], []
    for images_at, labels_at in halves.values():
        images, labels = read_idx(images_at, IMAGES_MAGIC), read_idx(labels_at, LABELS_MAGIC)
        if len(images) != len(labels):
            raise DatasetError(
                f"{images_at} holds {len(images)} images, but {labels_at} {len(labels)} labels"
            )
        sizes.append(images.shape[1:])
        flat = images.reshape(len(images), -1)
        sets.append(_examples(flat, labels, 255.0, random, dtype))
    if len(set(sizes)) != 1:
        raise DatasetError(f"the two halves have images of different sizes: {sizes}")
    height, width = sizes[0]
    if len(sets) == 1:
        return Dataset(f"MNIST ({next(iter(halves))} half)", (height, width), *_in_three(sets[0]))
    train, test = sets
    cut = len(train) - round(VALID_OF_TRAIN * len(train))
    return Dataset("MNIST", (height, width), *_cut(train, cut), test)


def _pickled(path: Path, random: np.random.Generator, dtype: np.dtype[Any]) -> Dataset:
    try:
        loaded = _ArraysOnly(BytesIO(_read(path)), encoding="latin1").load()
        sets = [(np.asarray(images), np.asarray(labels)) for images, labels in loaded]
    except (pickle.UnpicklingError, EOFError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not mnist.pkl.gz: {error}") from error
    side = round(float(sets[0][0].shape[-1]) ** 0.5) if sets and sets[0][0].ndim == 2 else 0
    if len(sets) != 3 or any(
        images.ndim != 2 or images.shape[1] != side**2 or labels.shape != images.shape[:1]
        for images, labels in sets
    ):
        raise DatasetError(
            f"{path} does not hold three pairs of square images[n, pixels] and labels[n]"
        )
    train, valid, test = (_examples(*each, 1.0, random, dtype) for each in sets)
    return Dataset("MNIST", (side, side), train, valid, test)


# --- idx files -----------------------------------------------------------------------------------
def _idx_files(folder: Path, half: str) -> tuple[Path, Path] | None:
    """The images and the labels of one half; None if neither file is there."""
    spellings = [
        list(_spellings(folder, f"{half}-{what}", rank))
        for what, rank in (("images", 3), ("labels", 1))
    ]
    images, labels = (next(filter(Path.exists, paths), None) for paths in spellings)
    if images is not None and labels is not None:
        return images, labels
    if images is None and labels is None:
        return None
    missing = spellings[images is not None][0]
    raise FileNotFoundError(f"{images or labels} is there, but {missing} is not")


def _spellings(folder: Path, stem: str, rank: int) -> Iterator[Path]:
    for separator in "-.":
        for suffix in ("", ".gz"):
            yield folder / f"{stem}{separator}idx{rank}-ubyte{suffix}"


def read_idx(path: str | os.PathLike[str], magic: int) -> Array:
    """The unsigned bytes in an idx file, plain or gzipped, that must start with magic.

    Its last byte is the rank: `magic`, then one extent per axis, big-endian, then the bytes in C
    order (http://yann.lecun.com/exdb/mnist/). Raises DatasetError.
    """
    data = _read(Path(path))
    rank = magic & 0xFF
    start = 4 * (1 + rank)
    if len(data) < start:
        raise DatasetError(f"{path} ends inside its header of {start} bytes")
    found, *shape = struct.unpack_from(f">{1 + rank}I", data)
    if found != magic:
        raise DatasetError(f"{path} starts with {found:08x}, not with {magic:08x}")
    expected = start + int(np.prod(shape))
    if len(data) != expected:
        raise DatasetError(f"{path} has {len(data)} bytes, but its header promises {expected}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read(path: Path) -> bytes:
    """The bytes of a file, unpacked if they are gzipped, whatever its name says."""
    data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} is a damaged gzip file: {error}") from error


# --- pickles -------------------------------------------------------------------------------------
class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and nothing else: a pickle from the network may name any function."""

    _ALLOWED = frozenset({
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer"),
    })  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


# --- sets ----------------------------------------------------------------------------------------
def _examples(
    images: Array,
    labels: Array,
    white: float,
    random: np.random.Generator,
    dtype: np.dtype[Any],
) -> Examples:
    """Scaled so that white is 1, in random order."""
    order = random.permutation(len(labels))
    return Examples((images[order] / white).astype(dtype), labels[order].astype(np.int64))


def _cut(examples: Examples, at: int) -> tuple[Examples, Examples]:
    images, labels = examples.images, examples.labels
    return Examples(images[:at], labels[:at]), Examples(images[at:], labels[at:])


def _in_three(everything: Examples) -> tuple[Examples, Examples, Examples]:
    count = len(everything)
    rest, test = _cut(everything, count - round(TEST * count))
    train, valid = _cut(rest, len(rest) - round(VALID * count))
    return train, valid, test
