"""Arrays to try things on."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgraph.ir.types import finfo, is_bfloat16, kind_of

#: Benign programs hold no float beyond this.
MODERATE = 100.0


def example_array(
    rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...], *, benign: bool
) -> np.ndarray:
    """Numbers in -3..3; unless benign, one in five is at an extreme of the dtype (or a NaN)."""
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        array = np.empty(shape, dtype)
        array.real = example_array(rng, part, shape, benign=benign)
        array.imag = example_array(rng, part, shape, benign=benign)
        return array
    if kind_of(dtype) == "f":
        usual = np.round(rng.uniform(-2, 2, shape) * 8) / 8
        rare = [0.0, -0.0, np.inf, -np.inf, np.nan, float(finfo(dtype).max),
                float(finfo(dtype).smallest_subnormal), 0.1]  # fmt: skip
    else:
        usual = rng.integers(0 if dtype.kind == "u" else -3, 4, shape)
        rare = [0, 1, np.iinfo(dtype).min, np.iinfo(dtype).max]
    array = np.asarray(usual).astype(dtype)
    if not benign:
        extreme = rng.random(shape) < 0.2
        array[extreme] = rng.choice(np.array(rare, dtype), int(extreme.sum()))
    return array


def comparable(array: np.ndarray) -> np.ndarray:
    """bfloat16 as float32, in which NumPy's assertions know of NaN; others as they are."""
    return array.astype(np.float32) if is_bfloat16(array.dtype) else array


def is_moderate(array: np.ndarray) -> bool:
    """Whether no float in the array is huge, infinite or a NaN."""
    return kind_of(array.dtype) not in "fc" or bool((np.abs(array) <= MODERATE).all())
