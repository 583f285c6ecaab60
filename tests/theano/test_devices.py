"""Theano's names of devices, and its programs on one: the simulated device stands for a GPU."""

# ruff: noqa: N803  (T is a fixture)

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jitgraph.config import config as own
from jitgraph.errors import NoDeviceError, OptionError
from jitgraph.runtime import cuda, devices

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture(autouse=True)
def settings(theano: Any) -> Iterator[None]:
    said, kept = theano.config._values["device"], own.device
    yield
    theano.config._values["device"] = said
    own.device = kept


@pytest.fixture
def theano() -> Any:
    import theano
    import theano.gpuarray
    import theano.sandbox.cuda

    return theano


@pytest.mark.parametrize(("said", "meant"), [
    ("cpu", "cpu"), ("gpu", "cuda"), ("gpu0", "cuda:0"), ("gpu1", "cuda:1"), ("cuda", "cuda"),
    ("cuda0", "cuda:0"), ("cuda3", "cuda:3"), ("cuda:1", "cuda:1"), ("simulated", "simulated"),
])  # fmt: skip
def test_spellings(theano: Any, said: str, meant: str) -> None:
    """The setting is ours, and reads as it was written."""
    theano.config.device = said
    assert own.device == meant
    assert theano.config.device == said
    with theano.config.change_flags(device="cpu"):
        assert own.device == "cpu"
    assert own.device == meant
    assert theano.config.device == said


def test_other_spellings(theano: Any) -> None:
    own.device = "cuda:2"
    assert theano.config.device == "cuda2"
    assert "device = 'cuda2'" in str(theano.config)
    for wrong in ("opencl0:0", "tpu", "gpu-1", 3):
        with pytest.raises(OptionError, match="device cannot be"):
            theano.config.device = wrong
    assert own.device == "cuda:2"


@pytest.mark.parametrize("flags", [
    "device=gpu1,force_device=True", "init_gpu_device=gpu0,device=cuda1,gpuarray.preallocate=0.9",
])  # fmt: skip
def test_flags(flags: str) -> None:
    code = ("from jitgraph.theano import install; install(); import theano;"
            "from jitgraph.config import config;"
            "print(config.device, theano.config.device)")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "THEANO_FLAGS": flags, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout.split()[0] == "cuda:1"
    assert done.stdout.split()[1] in ("gpu1", "cuda1")


def test_use(theano: Any) -> None:
    theano.sandbox.cuda.use("gpu1")
    assert own.device == "cuda:1"
    theano.gpuarray.use("cpu", force=True)
    assert own.device == "cpu"


def test_no_gpu(theano: Any, T: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, where the first function is compiled; the CPU goes on."""
    monkeypatch.setattr(devices, "_found", {})

    def none(ordinal: int, *, stream: int = 0) -> None:
        raise NoDeviceError("there is no NVIDIA driver on this machine")

    monkeypatch.setattr(cuda, "CudaDevice", none)
    x = T.dvector("x")
    theano.config.device = "gpu"
    with pytest.raises(NoDeviceError, match="no NVIDIA driver"):
        theano.function([x], x + 1)
    theano.config.device = "cpu"
    np.testing.assert_array_equal(theano.function([x], x + 1)([1.0]), [2.0])


def is_plain(value: object) -> bool:
    return type(value) is np.ndarray


def test_results_are_arrays_of_numpy(theano: Any, T: Any) -> None:
    theano.config.device = "simulated"
    x = T.dvector("x")
    w = theano.shared(np.arange(3.0), "w")
    one = theano.function([x], x * w, updates=[(w, w + x)])
    assert is_plain(one([1.0, 2.0, 3.0]))
    assert w.device == "simulated"
    assert is_plain(w.get_value(borrow=True))
    np.testing.assert_array_equal(w.get_value(), [1.0, 3.0, 5.0])
    w.set_value(np.zeros(3))
    several = theano.function([x], [x + w, T.sum(x)])
    assert all(map(is_plain, several(np.ones(3))))
    assert all(map(is_plain, several(np.ones(3), output_subset=[1])))
    named = theano.function([x], {"a": x + w, "b": x})
    assert all(map(is_plain, named(np.ones(3)).values()))
    assert theano.function([x], updates=[(w, x)])(np.ones(3)) in (None, [])
    np.testing.assert_array_equal(one.copy()(np.ones(3)), np.ones(3))
    assert is_plain((x + 1).eval({x: [1.0]}))
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert is_plain(again(np.ones(3)))


def test_logistic_regression(theano: Any, T: Any) -> None:
    """The program of Theano's tutorial, on the device as on the CPU."""
    found = []
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 6)), rng.integers(0, 2, 40)
    for device in ("cpu", "simulated"):
        theano.config.device = device
        x, y = T.dmatrix("x"), T.lvector("y")
        w, b = theano.shared(np.zeros(6), "w"), theano.shared(0.0, "b")
        p = 1 / (1 + T.exp(-T.dot(x, w) - b))
        cost = T.nnet.binary_crossentropy(p, y).mean() + 0.01 * (w**2).sum()
        gw, gb = T.grad(cost, [w, b])
        train = theano.function([x, y], [p > 0.5, cost], updates=((w, w - gw), (b, b - gb)))
        costs = [float(train(features, labels)[1]) for _ in range(5)]
        found.append([*costs, *w.get_value(), b.get_value()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


@pytest.mark.parametrize("mode", ["DebugMode", "NanGuardMode", "FAST_COMPILE"])
def test_modes(theano: Any, T: Any, mode: str) -> None:
    theano.config.device = "simulated"
    x = T.dvector("x")
    f = theano.function([x], T.exp(x) * 2, mode=mode)
    np.testing.assert_allclose(f([0.0, 1.0]), [2.0, 2 * np.e])
