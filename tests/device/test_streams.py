"""Streams and GPUs beside each other: the right numbers, however far the device is behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgraph as jg
from jitgraph.runtime import devices
from tests.device.conftest import DEVICE

BESIDE = f"{DEVICE}/1"
REAL = not DEVICE.startswith("simulated")
STEPS = 20
#: Enough for a GPU to be behind the host.
SIZE, ROUNDS = (1 << 22, 30) if REAL else (40, 4)


def slow(a: Any) -> Any:
    """Many steps on the device, none of which the host waits for."""
    return jg.fori_loop(0, STEPS, lambda k, b: b * 0.5 + 1.0, a)


def known(a: Any) -> Any:
    """The same."""
    return a * 0.5**STEPS + 2 * (1 - 0.5**STEPS)


def test_arrays_go_from_stream_to_stream() -> None:
    first, second = jg.jit(slow), jg.jit(lambda a, b: a - b, device=BESIDE)
    base = np.linspace(0, 1, SIZE)
    for k in range(ROUNDS):
        x = jg.device_put(base + k, DEVICE)
        y = first(x)
        z = second(y, jg.device_put(x, BESIDE))
        del x, y
        first(base)  # takes the memory that the other stream may still read
        wanted = known(base + k) - (base + k)
        np.testing.assert_allclose(np.asarray(z), wanted, rtol=1e-12, atol=1e-12)
        assert z.device.name == devices.canonical(BESIDE)


def test_batches_come_while_others_are_worked_on() -> None:
    total = jg.jit(lambda w, a: slow(w) + a.sum())
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=SIZE) for _ in range(4)]
    w = jg.device_put(np.zeros(SIZE), DEVICE)
    wanted = np.zeros(SIZE)
    coming = jg.device_put(batches[0], BESIDE)
    for k in range(len(batches)):
        batch, coming = coming, jg.device_put(batches[(k + 1) % len(batches)], BESIDE)
        w = total(w, batch)
        wanted = known(wanted) + batches[k].sum()
    np.testing.assert_allclose(np.asarray(w), wanted, rtol=1e-9)


def test_parts() -> None:
    data = np.arange(7 * 9 * 5, dtype="f4").reshape(7, 9, 5)
    x = jg.device_put(data, DEVICE)
    keys: list[Any] = [
        3, -1, slice(1, 6, 2), (slice(None), 2), (..., slice(None, None, -1)),
        (2, slice(3, 8), None, 1), (slice(6, 1, -2), slice(1, None), slice(1, 4)),
    ]  # fmt: skip
    for key in keys:
        np.testing.assert_array_equal(x[key].get(), data[key])
    np.testing.assert_array_equal(x.T.get(), data.T)
    np.testing.assert_array_equal(x.transpose(1, 0, 2).get(), data.transpose(1, 0, 2))
    np.testing.assert_array_equal(x.reshape(-1, 3)[4].get(), data.reshape(-1, 3)[4])
    np.testing.assert_array_equal(x.astype("i32").get(), data.astype("i4"))
    assert [float(row[0, 1]) for row in x] == data[:, 0, 1].tolist()
    doubled = jg.jit(lambda a: a * 2)
    for k in range(7):
        np.testing.assert_array_equal(np.asarray(doubled(x[k])), 2 * data[k])


def test_between_gpus() -> None:
    others = [name for name in jg.devices() if name.startswith("cuda")]
    if not REAL or len(others) < 2:
        pytest.skip("there is no second GPU")
    data = np.linspace(0, 1, SIZE)
    here, there = jg.jit(slow, device=others[0]), jg.jit(slow, device=others[1])
    for _ in range(ROUNDS):
        y = there(jg.device_put(here(data), others[1]))
        here(data)
        np.testing.assert_allclose(np.asarray(y), known(known(data)), rtol=1e-12)


def test_the_context_of_others() -> None:
    if not REAL:
        pytest.skip("the simulated device has no contexts")
    device: Any = devices.device(DEVICE)
    driver = device.driver
    double = jg.jit(lambda a: a * 2)
    (_, before) = driver.cuCtxGetCurrent()
    try:
        for context in (0, device.context):
            driver.cuCtxSetCurrent(context)
            x = jg.device_put(np.ones(SIZE), DEVICE)
            y = double(double(x)[1:])
            y.block_until_ready()
            del x, y
            (_, after) = driver.cuCtxGetCurrent()
            assert int(after) == context
    finally:
        driver.cuCtxSetCurrent(before)
