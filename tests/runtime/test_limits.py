"""The limits of the machine: measured once, kept on disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import jitgraph as jg
from jitgraph.runtime import limits as module
from jitgraph.runtime.limits import Level, Limits, limits


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A cache of its own; gives the thread counts that are measured. Little memory is used."""
    monkeypatch.setenv("JITGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "_MOST", 1 << 20)
    monkeypatch.setattr(module, "_LEAST", 1 << 20)
    monkeypatch.setattr(module, "_MOVED", 1 << 20)
    measured: list[int] = []
    plain = module._Machine.limits

    def counted(machine: module._Machine) -> Limits:
        measured.append(machine.threads)
        return plain(machine)

    monkeypatch.setattr(module._Machine, "limits", counted)
    return measured


def test_measured_once_a_machine(kept: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with jg.config.override(cache=True):
        first = limits(1)
        assert limits(1) is first
        monkeypatch.setattr(module, "_known", {})  # as in another process
        assert limits(1) == first
        assert kept == [1]
        limits(1, fresh=True)
        limits(2)
        assert kept == [1, 1, 2]


def test_measured_once_a_process_without_a_cache(kept: list[int]) -> None:
    assert limits(1) is limits(1)
    assert kept == [1]


def test_what_is_measured_makes_sense(kept: list[int]) -> None:
    before = jg.get_num_threads()
    found = limits(2)
    assert jg.get_num_threads() == before
    assert found.threads == 2
    assert (found.levels[0].name, found.levels[-1].name) == ("L1", "memory")
    capacities = [level.capacity for level in found.levels]
    assert capacities == sorted(capacities)
    assert math.isinf(capacities[-1])
    # No machine is a thousand times slower or faster than those we know.
    for level in found.levels:
        assert 1e7 < level.copy / 2 <= level.read < 1e14
    assert 1e7 < found.f64 < 1e14
    assert 1e7 < found.f32 < 1e14


def test_the_number_of_threads_is_that_of_calls(kept: list[int]) -> None:
    with jg.set_num_threads(1):
        assert limits().threads == 1


def test_levels() -> None:
    small, large = Level("L1", 100, 8.0, 8.0), Level("memory", math.inf, 2.0, 1.0)
    found = Limits(1, (small, large), 1.0, 1.0)
    assert [found.level_for(n) for n in (0, 100, 101, 10**18)] == [small, small, large, large]
    assert large.seconds(6, 0) == 6
    assert small.seconds(4, 4) == 1  # a copy takes as long as copies do
    assert large.seconds(5, 5) == 5
