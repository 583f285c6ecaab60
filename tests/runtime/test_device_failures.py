"""What a user meets when something is wrong with a device: a typed error that says what and what to
do, values as they were, and other functions that go on."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu import record
from jitgraph.config import config
from jitgraph.device_array import DeviceArray
from jitgraph.errors import (
    DeviceError,
    DeviceMemoryError,
    DriverError,
    DTypeError,
    JitgraphError,
    NoDeviceError,
    OptionError,
)
from jitgraph.runtime import devices
from jitgraph.runtime.cuda import CudaDevice
from tests.runtime.fake_device import FakeDevice, c_function
from tests.runtime.fake_driver import FakeDriver

OUT_OF_MEMORY, ILLEGAL_ADDRESS = 2, 700
SIMULATED = devices.device("simulated")
assert SIMULATED is not None


class Trouble:
    """Makes a function of the device's driver fail: in one call, or from that call on."""

    def __init__(self, name: str, status: int, at: int, *, lasting: bool = False) -> None:
        self.calls = 0
        self.place = record.WORDS.index(name)
        self.name = name
        self.right = SIMULATED._words[self.place], SIMULATED._calls[name]
        real = SIMULATED._calls[name]

        def run(*arguments: int) -> int:
            self.calls += 1
            failing = self.calls > at if lasting else self.calls == at + 1
            return status if failing else int(real(*arguments))

        self.function = c_function(name, run)

    def __enter__(self) -> Trouble:
        address = ctypes.cast(self.function, ctypes.c_void_p).value
        SIMULATED._words[self.place], SIMULATED._calls[self.name] = address, self.function
        return self

    def __exit__(self, *_: object) -> None:
        SIMULATED._words[self.place], SIMULATED._calls[self.name] = self.right


def step() -> tuple[Any, list[Any], list[np.ndarray]]:
    """A training step, its shared variables, and what these are."""
    rng = np.random.default_rng(0)
    x = T.dmatrix("x")
    w, v = (jg.shared(rng.normal(size=(4, 3)), name) for name in "wv")
    cost = T.sum(T.tanh(x @ w) ** 2)
    slope = T.grad(cost, w)
    made = jg.function([x], cost, updates=[(v, 0.9 * v - slope), (w, w + v - slope)],
                       device="simulated")  # fmt: skip
    return made, [w, v], [w.get_value(), v.get_value()]


X = np.linspace(-1, 1, 20).reshape(5, 4)


# --- no such device ----------------------------------------------------------------------------
@contextmanager
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("jitgraph.runtime.cuda._bindings", lambda: FakeDriver(gpus=0))
        patch.setattr(devices, "_found", {"simulated": SIMULATED})
        yield


def test_no_gpu_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, wherever a GPU is asked for; what runs elsewhere goes on."""
    x = T.dvector("x")
    with without_gpu(monkeypatch):
        for ask in (
            lambda: jg.function([x], x + 1, device="cuda"),
            lambda: jg.jit(np.sin, device="cuda:1")(np.ones(3)),
            lambda: jg.device_put(np.ones(3), "cuda"),
        ):
            with pytest.raises(NoDeviceError, match="finds no GPU"):
                ask()
        with config.override(device="cuda"), pytest.raises(NoDeviceError, match="finds no GPU"):
            jg.function([x], x + 1)
        assert jg.devices() == ["cpu", "simulated"]
        np.testing.assert_array_equal(jg.function([x], x + 1, device="simulated")([1.0]), [2.0])
        np.testing.assert_array_equal(jg.function([x], x + 1)([1.0]), [2.0])


def test_no_such_name() -> None:
    x = T.dvector("x")
    for name in ("gpu", "cuda:", "cuda:x", "", "CUDA"):
        with pytest.raises(OptionError, match="device"):
            jg.function([x], x + 1, device=name)


def test_ptx_that_the_driver_does_not_know() -> None:
    driver = FakeDriver()
    gpu = CudaDevice(0, driver)
    driver.refuse["cuModuleLoadDataEx"] = 222
    with pytest.raises(DriverError, match="UNSUPPORTED_PTX_VERSION") as caught:
        gpu.load(b"", ["kernel0"])
    assert "install a newer driver" in str(caught.value)
    assert not caught.value.sticky


# --- whatever it is, the rest goes on ----------------------------------------------------------
def _foreign(**said: Any) -> SimpleNamespace:
    """An array of another library: what it says in its `__cuda_array_interface__`."""
    plain = {"version": 3, "shape": (3,), "typestr": "<f8", "strides": None, "stream": None}
    return SimpleNamespace(__cuda_array_interface__=plain | said)


def _without_driver(flags: int) -> Any:
    raise RuntimeError("Failed to dlopen libcuda.so.1")


def _no_package() -> Any:
    raise NoDeviceError("a GPU needs the package cuda-bindings, which is not installed")


ROWS = FakeDevice("cuda:1")
x = T.dvector("x")
#: What a user may do on a machine with a GPU, or with what the driver refuses; and what is said.
BAD_INPUT: dict[str, tuple[dict[str, int], Any, type[Exception], str]] = {
    "no such device": ({}, lambda f: jg.function([x], x + 1, device="cuda:5"), NoDeviceError,
                       "no cuda:5: the driver finds"),
    "no such name": ({}, lambda f: jg.device_put(X, "gpu"), OptionError, "no device 'gpu'"),
    "no such stream": ({}, lambda f: jg.device_put(X, "cuda:0/x"), OptionError, "cuda:0/1"),
    "an array of another device": (
        {}, lambda f: f(DeviceArray(ROWS.upload(np.ones(3)), ROWS)), DeviceError,
        r"(?s)was given an array on cuda:1.*\n  move it: jitgraph.device_put\(x, 'cuda:0'\)",
    ),
    "a pointer to the host": (
        {}, lambda f: f(_foreign(data=(np.ones(3).ctypes.data, False))), DeviceError,
        r"memory of the host, not of a GPU.*\s+give it as a NumPy array",
    ),
    "not contiguous": ({}, lambda f: f(_foreign(data=(64, False), strides=(16,))), DeviceError,
                       r"does not lie in C order.*\s+make it contiguous"),
    "elements nobody knows": ({}, lambda f: f(_foreign(data=(64, False), typestr=">f8")),
                              DTypeError, "convert it before"),
    "too old for the code": (
        {"cuModuleLoadDataEx": 222}, lambda f: jg.jit(np.sinh, device="cuda:0")(X), DriverError,
        r"UNSUPPORTED_PTX_VERSION.*\s+install a newer driver",
    ),
    "code that is refused": ({"cuModuleLoadDataEx": 218},
                             lambda f: jg.jit(np.cosh, device="cuda:0")(X), DriverError,
                             "please report it"),
    "too much shared memory": ({"launch": 701}, lambda f: f(np.ones(3)), DriverError,
                               "registers or shared memory than a block can have"),
    "too much for a module": (
        {}, lambda f: f.device.load(b"", ["k"], shared={"k": 300_000}), DeviceError,
        r"k needs 300000 bytes of shared memory.*\s+compute with shorter rows",
    ),
    "no memory": ({"alloc": 2}, lambda f: f(np.ones(3)), DeviceMemoryError,
                  r"1,000 bytes of 2,000 are free\s+free arrays"),
    "no memory for an array": ({"alloc": 2}, lambda f: jg.device_put(X, "cuda"), DeviceMemoryError,
                               "cuda:0 has not enough free memory"),
    "a lost context": ({"launch": 700}, lambda f: f(np.ones(3)), DriverError,
                       r"ILLEGAL_ADDRESS.*\s+this process cannot use the device any more"),
    "a lost context, found later": ({"wait": 700}, lambda f: f(np.ones(3)).get(), DriverError,
                                    "a new process can"),
}  # fmt: skip


@cache
def others() -> tuple[Any, Any]:
    """A function of the CPU, and one of the simulated device with an update."""
    w = jg.shared(np.ones(3), "w")
    update = jg.function([], w.sum(), updates=[(w, w + 1)], device="simulated")
    return jg.function([x], x - 1, device="cpu"), update


class _OnGPU:
    """A function on the first GPU, and its device."""

    def __init__(self) -> None:
        self.call = jg.function([x], x * 2, device="cuda")
        found = devices.device("cuda")
        assert found is not None
        self.device = found

    def __call__(self, given: Any) -> Any:
        return self.call(given)


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_the_rest_goes_on(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error that says what happened and what to do; the process, other functions and, once
    the driver works again, the same function go on."""
    refused, act, error, said = BAD_INPUT[kind]
    driver = FakeDriver()
    monkeypatch.setattr("jitgraph.runtime.cuda._bindings", lambda: driver)
    monkeypatch.setattr(devices, "_found", {"simulated": SIMULATED})
    monkeypatch.setattr(driver, "pointer", lambda what, address: (1 + (address < 4096), 0)[what])
    on_cpu, update = others()
    f = _OnGPU()
    f(np.ones(3))
    for name, status in refused.items():
        (driver.memory if name in record.FUNCTIONS else driver).refuse[name] = status
    for _ in range(2):
        with pytest.raises(error, match=said) as caught:
            act(f)
        assert isinstance(caught.value, JitgraphError)
        assert caught.value.hint
        sticky = isinstance(caught.value, DriverError) and caught.value.sticky
        assert sticky == ("lost" in kind)
        np.testing.assert_array_equal(on_cpu([3.0]), [2.0])
        before = float(update())
        assert float(update()) == before + 3
    driver.refuse.clear()
    driver.memory.refuse.clear()
    if not sticky:
        assert f(np.ones(3)).get().shape == (3,)
    assert f.device._words[record.WORDS.index("error")] == 0


@pytest.mark.parametrize("missing", ["package", "driver", "GPU", "start"])
def test_nothing_to_compute_on(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver(gpus=0 if missing == "GPU" else 1)
    bindings: Any = lambda: driver
    if missing == "package":
        bindings = _no_package
    elif missing == "driver":
        driver = SimpleNamespace(cuInit=_without_driver)
    elif missing == "start":
        driver.refuse["cuInit"] = 803
    monkeypatch.setattr("jitgraph.runtime.cuda._bindings", bindings)
    monkeypatch.setattr(devices, "_found", {"simulated": SIMULATED})
    said = {"package": "cuda-bindings", "driver": "no NVIDIA driver", "GPU": "finds no GPU",
            "start": "does not start"}[missing]  # fmt: skip
    for name in ("cuda", "cuda:0/2"):
        for ask in (
            lambda: jg.function([x], x + 1, device=name),  # noqa: B023
            lambda: jg.jit(np.sin, device=name)(X),  # noqa: B023
            lambda: jg.device_put(X, name),  # noqa: B023
            lambda: jg.device_put(_foreign(data=(64, False)), name),  # noqa: B023
        ):
            with pytest.raises(NoDeviceError, match=said):
                ask()
    assert jg.devices() == ["cpu", "simulated"]
    np.testing.assert_array_equal(jg.function([x], x + 1, device="simulated")([1.0]), [2.0])


def test_what_a_lost_context_takes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host finds out when it waits: values on the device are lost, and say so."""
    driver = FakeDriver()
    monkeypatch.setattr("jitgraph.runtime.cuda._bindings", lambda: driver)
    monkeypatch.setattr(devices, "_found", {})
    w = jg.shared(np.ones(3), "w")
    f = jg.function([], w.sum(), updates=[(w, w + 1)], device="cuda")
    result = f()
    driver.memory.refuse.update(dict.fromkeys(("wait", "to_host", "launch", "alloc", "copy"), 700))
    for ask in (lambda: float(result), w.get_value, f, result.block_until_ready,
                lambda: w.set_value(np.ones(3)), result.copy):  # fmt: skip
        with pytest.raises(DriverError, match="ILLEGAL_ADDRESS") as caught:
            ask()
        assert caught.value.sticky
    again = jg.shared(np.ones(3), "w")
    assert float(jg.function([], again.sum(), device="cpu")()) == 3.0


# --- arrays elsewhere --------------------------------------------------------------------------
def test_an_array_on_another_device() -> None:
    other = FakeDevice("cuda:1")
    there = DeviceArray(other.upload(np.ones(3)), other)
    x = T.dvector("x")
    f = jg.function([x], x + 1, device="simulated")
    with pytest.raises(DeviceError, match=r"input x .* was given an array on cuda:1") as e:
        f(there)
    assert "device_put(x, 'simulated')" in str(e.value)
    np.testing.assert_array_equal(f(np.asarray(there)), 2 * np.ones(3))
    # A function of the host takes its numbers.
    np.testing.assert_array_equal(jg.function([x], x + 1, device="cpu")(there), 2 * np.ones(3))


def test_a_variable_shared_by_two_devices() -> None:
    w = jg.shared(np.ones(3), "w")
    first = jg.function([], w + 1, device="cpu")
    with pytest.raises(DeviceError, match=r"w .*is used by a function on cpu") as caught:
        jg.function([], w * 2, device="simulated")
    assert "give all functions that share it one device" in str(caught.value)
    np.testing.assert_array_equal(first(), 2 * np.ones(3))


# --- memory ------------------------------------------------------------------------------------
def _training() -> tuple[Any, list[Any], tuple[Any, ...]]:
    made, shared, _ = step()
    return made, shared, (X,)


def _loop() -> tuple[Any, list[Any], tuple[Any, ...]]:
    """The gradient of a scan, whose tape is written and read."""
    w, total = jg.shared(np.full(3, 0.5), "w"), jg.shared(0.0, "total")
    rows = T.dmatrix("rows")
    states, _ = jg.scan(lambda row, h: T.tanh(row + w * h), sequences=rows, outputs_info=T.zeros(3))
    cost = T.sum(states[-1] ** 2)
    updates = [(w, w - 0.1 * T.grad(cost, w)), (total, total + cost)]
    made = jg.function([rows], states, updates=updates, device="simulated")
    return made, [w, total], (X[:, :3],)


def _while_loop() -> tuple[Any, list[Any], tuple[Any, ...]]:
    """Outputs that grow, of a loop that ends by a condition which kernels compute."""
    w, v = jg.shared(np.full(3, 0.5), "w"), T.dvector("v")

    def body(h: Any) -> Any:
        more = h + v
        return more, T.until(T.sum(more) > 40.0)

    states, _ = jg.scan(body, outputs_info=w, n_steps=100)
    made = jg.function([v], states, updates=[(w, states[-1] / 8)], device="simulated")
    return made, [w], (np.ones(3),)


def _chosen() -> tuple[Any, list[Any], tuple[Any, ...]]:
    """Extents that only the device knows, and a sort."""
    w, v = jg.shared(np.arange(6.0), "w"), T.dvector("v")
    some = v[v > w[0]]
    updates = [(w, T.sort(T.concatenate([some, w])))]
    return jg.function([v], some, updates=updates, device="simulated"), [w], (np.ones(4),)


def _draws() -> tuple[Any, list[Any], tuple[Any, ...]]:
    """The state of a random generator."""
    draws = jg.tensor.random.RandomStreams(seed=1)
    state = draws.normal(size=(40,))
    made = jg.function([], T.cumsum(state), device="simulated")
    return made, list(made._state.plan.updated), ()


def _on_the_host() -> tuple[Any, list[Any], tuple[Any, ...]]:
    """A step without kernels, between copies."""
    w, m = jg.shared(np.ones(3), "w"), T.dmatrix("m")
    solved = T.linalg.solve(m, w)
    made = jg.function([m], solved.sum(), updates=[(w, solved)], device="simulated")
    return made, [w], (np.eye(3) * 2,)


@cache
def made(program: Any) -> tuple[Any, list[Any], tuple[Any, ...]]:
    """One for all tests."""
    found: tuple[Any, list[Any], tuple[Any, ...]] = program()
    return found


PROGRAMS = [_training, _loop, _while_loop, _chosen, _draws, _on_the_host]


@pytest.mark.parametrize("program", PROGRAMS)
def test_out_of_memory_changes_nothing(program: Any) -> None:
    """Whichever allocation of a call it is that fails; and what was taken is given back."""
    from jitgraph.codegen.gpu import simulator

    f, shared, given = made(program)
    with Trouble("alloc", OUT_OF_MEMORY, 10_000) as none:
        f(*given)
    assert none.calls > 0
    f(*given)
    gc.collect()
    before = len(simulator.live_allocations())
    kept = [s.get_value() for s in shared]
    failed = 0
    for at in range(none.calls):
        said = ""
        with Trouble("alloc", OUT_OF_MEMORY, at) as trouble:
            try:
                f(*given)
            except DeviceMemoryError as error:
                said = str(error)
        if not said:  # a call that reuses memory asks less often
            assert trouble.calls <= at
            kept = [s.get_value() for s in shared]
            continue
        failed += 1
        assert "not enough free memory" in said
        assert "free arrays" in said
        for s, value in zip(shared, kept, strict=True):
            np.testing.assert_array_equal(s.get_value(), value)
    assert failed
    f(*given)
    gc.collect()
    assert len(simulator.live_allocations()) <= before
    assert any(not np.array_equal(s.get_value(), v) for s, v in zip(shared, kept, strict=True))


def test_nothing_is_lost_where_memory_is_short() -> None:
    from jitgraph.codegen.gpu import simulator

    f, _, _ = step()
    with Trouble("alloc", OUT_OF_MEMORY, 10_000) as none:
        f(X)
        f(X)
    SIMULATED.wait()
    before = len(simulator.live_allocations())
    for at in range(none.calls // 2):
        with Trouble("alloc", OUT_OF_MEMORY, at, lasting=True):
            for _ in range(5):
                with contextlib.suppress(DeviceMemoryError):
                    f(X)
    gc.collect()
    assert len(simulator.live_allocations()) <= before + 2


@pytest.mark.parametrize("at", [0, 1])
def test_no_memory_for_shared_variables(at: int) -> None:
    """They are all where they were, and of use elsewhere; a new value that does not fit is none."""
    values = np.ones(3), np.arange(4.0)
    w, v = (jg.shared(value, name) for value, name in zip(values, "wv", strict=True))

    def make(device: str) -> Any:
        return jg.function([], w.sum() + v.sum(), updates=[(w, w + 1), (v, v * 2)], device=device)

    with (
        Trouble("alloc", OUT_OF_MEMORY, at),
        pytest.raises(DeviceMemoryError, match="simulated has not enough free memory"),
    ):
        make("simulated")
    assert (w.device, v.device) == ("cpu", "cpu")
    f = make(("simulated", "cpu")[at])
    assert float(f()) == 9.0
    np.testing.assert_array_equal(w.get_value(), values[0] + 1)
    if at == 0:
        with Trouble("alloc", OUT_OF_MEMORY, 0), pytest.raises(DeviceMemoryError):
            w.set_value(values[0])
        np.testing.assert_array_equal(w.get_value(), values[0] + 1)


# --- a driver that fails -----------------------------------------------------------------------
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["launch", "to_host", "to_device", "copy", "set_bytes", "wait"])
def test_a_failing_driver(name: str, program: Any) -> None:
    """Whichever call of a function it is that fails: a typed error, and values as they were; then
    all goes on."""
    f, shared, given = made(program)
    f(*given)
    with Trouble(name, ILLEGAL_ADDRESS, 10_000) as none:
        f(*given)
    some = np.unique(np.linspace(0, none.calls - 1, min(none.calls, 6)).astype(int))
    for at in some:
        kept = [s.get_value() for s in shared]
        with (
            Trouble(name, ILLEGAL_ADDRESS, int(at)) as trouble,
            contextlib.suppress(DriverError),
        ):
            f(*given)
            assert trouble.calls <= at
            continue
        SIMULATED.check()
        for s, value in zip(shared, kept, strict=True):
            np.testing.assert_array_equal(s.get_value(), value)
    f(*given)


def test_a_failing_transfer_of_a_result() -> None:
    f, _, _ = step()
    cost = f(X)
    for name in ("to_host", "wait"):
        with Trouble(name, ILLEGAL_ADDRESS, 0), pytest.raises(DriverError) as caught:
            float(cost)
        assert caught.value.code == ILLEGAL_ADDRESS
    assert np.isfinite(float(cost))


def test_a_lost_device_leaves_the_others() -> None:
    """As after a sticky error: every call fails, and functions on the CPU do not mind."""
    f, _, _ = step()
    x = T.dvector("x")
    on_cpu = jg.function([x], T.exp(x), device="cpu")
    with Trouble("launch", ILLEGAL_ADDRESS, 0, lasting=True):
        for _ in range(2):
            with pytest.raises(DriverError):
                np.asarray(f(X))
            np.testing.assert_allclose(on_cpu([0.0]), [1.0])
            np.testing.assert_allclose(jg.function([x], x * 3, device="cpu")([1.0]), [3.0])
    assert np.isfinite(np.asarray(f(X)))


# --- shared memory -----------------------------------------------------------------------------
def test_too_much_shared_memory() -> None:
    """Asked for when a kernel is loaded, found by the driver's compiler, or at the launch."""
    driver = FakeDriver()
    gpu = CudaDevice(0, driver)
    with pytest.raises(DeviceError, match=r"kernel0 needs 300000 bytes of shared memory.* 232448"):
        gpu.load(b"", ["kernel0"], shared={"kernel0": 300_000})
    driver.refuse["cuModuleLoadDataEx"] = 218
    driver.log = b"ptxas error : Entry function 'kernel0' uses too much shared data (0x12000 bytes)"
    with pytest.raises(DriverError, match="uses too much shared data"):
        gpu.load(b"", ["kernel0"])
    driver.memory.refuse["launch"] = 701
    with pytest.raises(DriverError, match="OUT_OF_RESOURCES") as caught:
        gpu.call("launch", *[0] * 11)
    assert "registers or shared memory" in str(caught.value)
