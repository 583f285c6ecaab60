"""T.fft against NumPy: values, dtypes, lengths, axes, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, OptionError, ShapeError
from tests.native import assert_close

RNG = np.random.default_rng(3)
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
TWO = ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn")


def example(dtype: str, *shape: int) -> np.ndarray:
    made = 9 * RNG.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        made = made + 9j * RNG.normal(size=shape)
    return made.astype(dtype)


def is_taken(name: str, dtype: str) -> bool:
    return np.dtype(dtype).kind != "c" or name not in ("rfft", "ihfft", "rfft2", "rfftn")


def every(room: Any, x: Any, dtype: str) -> list[Any]:
    """The same calls of NumPy's functions and of ours."""
    lengths = ((None, -1, None), (5, 0, "ortho"), (8, -1, "forward"), (None, 0, "backward"))
    calls = [(name, given) for name in ONE for given in lengths]
    calls += [(name, ((4, 3), (1, 0))) for name in TWO]
    return [getattr(room, name)(x, *args) for name, args in calls if is_taken(name, dtype)]


@pytest.mark.parametrize("dtype", ["float64", "complex64", "int64"])
def test_transforms(dtype: str) -> None:
    x = T.tensor(dtype, (None, None))
    f = jg.function([x], every(T.fft, x, dtype))
    # Lengths that the call tells, and arrays that do not lie in C order.
    wide = example(dtype, 14, 12)
    for array in (example(dtype, 4, 7), wide[::2, ::3]):
        for got, want in zip(f(array), every(np.fft, array, dtype), strict=True):
            assert_close(got, want)


def test_lengths_may_be_symbolic() -> None:
    x, n = T.dvector(), T.lscalar()
    f = jg.function([x, n], [T.fft.fft(x, n), T.fft.rfft(x, n), T.fft.irfft(x, n)])
    data = example("f8", 9)
    for count in (1, 2, 5, 8, 9, 12):
        for got, want in zip(f(data, count), [g(data, count) for g in (
            np.fft.fft, np.fft.rfft, np.fft.irfft)], strict=True):  # fmt: skip
            assert_close(got, want)
    with pytest.raises(ValueError, match=r"check|points"):
        f(data, 0)


def test_shifts_and_frequencies() -> None:
    for shape in ((4, 5), (1, 6)):
        data = example("f8", *shape)
        x = T.tensor("f8", (None, None))
        f = jg.function([x], [T.fft.fftshift(x), T.fft.ifftshift(x), T.fft.fftshift(x, 1),
                              T.fft.ifftshift(x, (0,)), T.fft.fftfreq(x.shape[1], 0.1),
                              T.fft.rfftfreq(x.shape[1])])  # fmt: skip
        n = shape[1]
        want = [np.fft.fftshift(data), np.fft.ifftshift(data), np.fft.fftshift(data, 1),
                np.fft.ifftshift(data, (0,)), np.fft.fftfreq(n, 0.1),
                np.fft.rfftfreq(n)]  # fmt: skip
        for got, one in zip(f(data), want, strict=True):
            assert_close(got, one)


def test_errors() -> None:
    x = T.dmatrix("x")
    with pytest.raises(OptionError, match="norm"):
        T.fft.fft(x, norm="unit")
    with pytest.raises(ShapeError):
        T.fft.fft(x, 0)
    with pytest.raises(DTypeError, match="real"):
        T.fft.rfft(x.astype("complex128"))
    with pytest.raises(ShapeError):
        T.fft.fftn(x, (1, 2, 3), (0, 1))


def test_gradients() -> None:
    """Linear maps of real and of complex arrays: dL/da + i dL/db of the argument a + ib."""
    x, z = T.dvector("x"), T.zvector("z")
    weights = [example("c16", 12) for _ in range(40)]

    def cost(x: Any, z: Any) -> Any:
        total = 0.0
        for k, n in enumerate((None, 4, 7, 8)):
            outs = [T.fft.fft(z, n), T.fft.ifft(z, n, norm="ortho"), T.fft.rfft(x, n),
                    T.fft.irfft(z, n), T.fft.hfft(z, n), T.fft.ihfft(x, n)]  # fmt: skip
            for m, y in enumerate(outs):
                w = T.as_tensor(weights[6 * k + m])[: y.shape[0]]
                w = w if y.dtype.kind == "c" else abs(w)
                total = total + (abs(y + w) ** 2).sum()
        return total

    made = cost(x, z)
    f = jg.function([x, z], [made, *T.grad(made, [x, z])])
    a, b = example("f8", 6), example("c16", 6)
    _, of_x, of_z = f(a, b)
    for k in range(6):
        for unit in (1.0, 1j):
            step = np.zeros(6, "c16")
            step[k] = 1e-5 * unit
            slope = (f(a, b + step)[0] - f(a, b - step)[0]) / 2e-5
            got = of_z[k].real if unit == 1.0 else of_z[k].imag
            np.testing.assert_allclose(got, slope, rtol=1e-6)
        slope = (f(a + step.imag, b)[0] - f(a - step.imag, b)[0]) / 2e-5
        np.testing.assert_allclose(of_x[k], slope, rtol=1e-6)
