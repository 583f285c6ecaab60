"""`f.profile` on a device: launches and bytes on the simulated one, times by a driver's events."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.gpu.ptx import assemble, ptx
from jitgraph.codegen.gpu.streams import STREAMS, streams
from jitgraph.codegen.gpu.target import device_target
from jitgraph.driver import Compilation
from jitgraph.errors import DTypeError, MissingPackageError, OptionError, ShapeError
from jitgraph.profiling import Level, Limits, Profile, measure
from jitgraph.runtime import devices
from jitgraph.runtime.device_limits import device_limits


def network(device: str) -> jg.CompiledFunction:
    x, w = T.fmatrix("x"), jg.shared(np.ones((40, 50), np.float32), "w")
    cost = T.sum(T.tanh(x @ w))
    return jg.function([x], cost, updates=[(w, w - T.grad(cost, w))], device=device, name="net")


def test_launches_and_bytes() -> None:
    f = network("simulated")
    report = f.profile(np.ones((30, 40), np.float32))
    on_cpu = network("cpu").profile(np.ones((30, 40), np.float32))
    assert not report.timed
    assert report.device == "simulated"
    assert [s.bytes for s in report.steps] == [s.bytes for s in on_cpu.steps]
    assert [s.flops for s in report.steps] == [s.flops for s in on_cpu.steps]
    assert all(s.launches > 0 for s in report.steps if s.kind != "zero")
    assert not any(s.launches for s in on_cpu.steps)
    text = str(report)
    assert "no clock" in text
    assert "launches" in text
    assert "GB/s" not in text
    assert Profile.from_json(report.to_json()) == report
    assert "Infinity" not in report.to_json()
    with pytest.raises(OptionError, match="simulated"):
        report.plot()


def test_functions_under_jit(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are profiled like others, and as precisely as they compute."""
    made = []

    def compilation(*args: Any, **kwargs: Any) -> Compilation:
        made.append(Compilation(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(measure, "Compilation", compilation)
    f = jg.jit(lambda tree: tree["a"] @ tree["b"], device="simulated", precision="tf32")
    report = f.profile({"a": np.ones((3, 4), "f4"), "b": np.ones((4, 5), "f4")})
    assert [s.kind for s in report.steps] == ["product"]
    assert [m.products.precision for m in made] == ["tf32"]
    assert jg.jit(np.exp).profile(np.ones(3)).timed


def test_loops_are_one_step() -> None:
    x = T.dvector("x")
    states = jg.scan(lambda h: T.tanh(h) * x, outputs_info=[x], n_steps=5)[0]
    report = jg.function([x], states[-1], device="simulated").profile(np.ones(9))
    (loop,) = (s for s in report.steps if s.kind == "loop")
    assert loop.launches >= 5


def test_shared_variables_stay_as_they_are() -> None:
    w = jg.shared(np.arange(3.0), "w")
    n = jg.shared(np.array(2.0), "n")
    f = jg.function([], updates=[(w, w * n), (n, n + 1)], device="simulated")
    f.profile()
    np.testing.assert_array_equal(w.get_value(), np.arange(3.0))
    f()
    np.testing.assert_array_equal(w.get_value(), 2 * np.arange(3.0))


def test_wrong_inputs_are_refused_as_in_a_call() -> None:
    a, b = T.dvectors("a", "b")
    f = jg.function([a, b], a + b, device="simulated")
    with pytest.raises(ShapeError):
        f.profile(np.ones(3), np.ones(4))
    with pytest.raises(DTypeError):
        f.profile(np.ones(3, complex), np.ones(3))
    given = jg.device_put(np.ones(3), "simulated")
    assert f.profile(given, given).steps


class Clock:
    """A timer whose events are recorded by a Python function: each a millisecond after another."""

    def __init__(self, count: int) -> None:
        self.seen: list[int] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._kept = kind(lambda event, stream: self.seen.append(event) or 0)
        self.function = ctypes.cast(self._kept, ctypes.c_void_p).value or 0
        self.handles = [100 + k for k in range(count)]

    def seconds(self, first: int, last: int) -> float:
        latest = self.seen[-len(self.handles) :]
        return 1e-3 * (latest.index(self.handles[last]) - latest.index(self.handles[first]))


def test_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event is recorded once in each run, those of the steps between those of the program."""
    clocks: list[Clock] = []

    def timer(count: int) -> Clock:
        clocks.append(Clock(count))
        return clocks[-1]

    known = Limits(0, (Level("memory", math.inf, 4e12, 5e12),), math.inf, math.inf)
    monkeypatch.setattr(devices.device("simulated"), "timer", timer)
    monkeypatch.setattr("jitgraph.profiling.on_device.device_limits", lambda device: known)
    monkeypatch.setattr("jitgraph.profiling.measure._ENOUGH", 0.0)
    report = network("simulated").profile(np.ones((30, 40), np.float32))
    assert report.timed
    assert report.runs >= 3
    (clock,) = clocks
    count = len(clock.handles)
    first = clock.seen[:count]
    assert sorted(first) == clock.handles
    assert (first[0], first[-1]) == (100, 101)
    assert all(s.seconds == pytest.approx(1e-3) for s in report.steps)
    assert report.seconds == pytest.approx(1e-3 * (count - 1))
    for step in report.steps:
        assert report.fraction(step) == pytest.approx(
            known.levels[0].seconds(step.read, step.written) / 1e-3)
    assert "GB/s" in str(report)
    assert "arithmetic" not in str(report)
    assert Profile.from_json(report.to_json()) == report


def test_limits_are_measured() -> None:
    device = devices.device("simulated")
    assert device is not None
    found = device_limits(device, fresh=True, moved=1 << 16)
    (level,) = found.levels
    assert 0 < level.copy < math.inf
    assert level.read >= level.copy


@pytest.mark.parametrize("arch", ["sm_75", "sm_90"])
def test_streams_have_several_loads_on_the_way(arch: str) -> None:
    target = device_target(arch)
    text = ptx(streams(target).text(), target)
    for part in text.split(".entry")[1:]:
        body = part.splitlines()
        loads = [k for k, line in enumerate(body) if "ld.global.v4" in line][:4]
        between = "".join(body[loads[0] : loads[-1]])
        assert len(loads) == 4
        assert not any(used in between for used in ("st.global", "xor", "bra"))
    try:
        _, reports = assemble(text, arch)
    except MissingPackageError:
        return
    assert set(reports) == set(STREAMS)
    assert not any(r.spill_stores for r in reports.values())
