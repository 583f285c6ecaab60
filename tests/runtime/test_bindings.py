"""A GPU by the real `cuda.bindings`, whose driver is a stub in C: every argument arrives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = r"""
import ctypes, gc
import numpy as np
import jitgraph as jg, jitgraph.tensor as T
from jitgraph.errors import DeviceMemoryError, DriverError
from jitgraph.runtime import devices

stub = ctypes.CDLL("libcuda.so.1")
def word(name, type_=ctypes.c_int): return type_.in_dll(stub, name).value

assert jg.devices() == ["cpu", "cuda:0", "cuda:1", "simulated"]
gpu = devices.device("cuda")
assert repr(gpu) == "<device cuda:0: Stub, sm_90, driver of CUDA 12.4>", gpu
assert (gpu.target.sms, gpu.target.shared_bytes) == (132, 232448)
assert word("stub_threshold", ctypes.c_uint64) == 2**64 - 1
for n in (0, 5, 1 << 18, 3_000_001):
    x = np.random.rand(n)
    y = jg.device_put(x, "cuda")
    np.testing.assert_array_equal(np.asarray(y), x)
np.testing.assert_array_equal(y.copy().get(), x)

loaded = gpu.load(b".version 8.0", ["k", "longer"], shared={"k": 100_000})
assert loaded.handles == {"k": 0x1001, "longer": 0x1006}
assert (stub.stub_modules(), word("stub_dynamic")) == (1, 100_000)
del loaded
gc.collect()
assert stub.stub_modules() == 0
try:
    gpu.load(b"nonsense", ["k"])
except DriverError as error:
    assert (error.code, error.name) == (218, "CUDA_ERROR_INVALID_PTX")
    assert "line 7: no such instruction" in str(error)
try:
    gpu.empty((1 << 34,), np.dtype("f8"))
except DeviceMemoryError as error:
    assert "1,000 bytes of 2,000" in str(error)

events = stub.stub_events()
start, end = gpu.mark(), gpu.mark()
assert gpu.seconds(start, end) == 2.5e-3
gpu.follow(1)
gpu.precede(2)
del start, end
assert stub.stub_events() == events
assert (gpu.whereabouts(100), gpu.whereabouts(1 << 20)) == ("cpu", "cuda:0")

class Other:
    __cuda_array_interface__ = y.__cuda_array_interface__
z = jg.device_put(Other(), "cuda")
np.testing.assert_array_equal(np.asarray(z), x)

v = T.dvector("v")
f = jg.function([v], T.exp(v), device="cuda")
result = f(y)
assert (result.shape, result.device) == (y.shape, gpu)
assert word("stub_launches") == 1
result.block_until_ready()

second, beside = devices.device("cuda:1"), devices.device("cuda:0/1")
assert (second.place, beside.place, beside.name) == ("cuda:1", "cuda:0", "cuda:0/1")
assert len({gpu.stream, second.stream, beside.stream}) == 3
there = jg.device_put(x, "cuda:1")
stub.stub_current.restype = ctypes.c_void_p
for outside in (None, 0x771, 0x770):
    stub.cuCtxSetCurrent(ctypes.c_void_p(outside))
    assert stub.stub_current() == outside
    peers = word("stub_peers")
    for source, target, copies in ((y, second, 1), (there, gpu, 1), (y, beside, 0)):
        moved = jg.device_put(source, target)
        assert word("stub_peers") - peers == copies, copies
        peers += copies
        np.testing.assert_array_equal(np.asarray(moved), x)
        assert moved.device is target
    del moved
    f(jg.device_put(x, beside)), jg.device_put(x, second).copy()
    gc.collect()
    assert stub.stub_current() == outside
assert word("stub_access") == 16  # GPU 0 may read what is on GPU 1, which was asked last
assert word("stub_wrong") == 0
jg.memory.clear()
print("all")
"""


def test_every_argument_arrives(tmp_path):
    pytest.importorskip("cuda.bindings")
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler")
    source, library = Path(__file__).parent / "stub_driver.c", tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    paths = [str(tmp_path), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("all\n", "")
