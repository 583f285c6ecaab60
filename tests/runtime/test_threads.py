"""The number of threads: where it comes from, how it is set, and what is refused."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
from jitgraph import cpus
from jitgraph.config import Config
from jitgraph.errors import OptionError


@pytest.fixture(autouse=True)
def _same_threads_after() -> Iterator[None]:
    with jg.set_num_threads(jg.get_num_threads()):
        yield


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Let only these variables speak of threads."""
    for name in ("JITGRAPH_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_set_and_get() -> None:
    for number in (1, 3, np.int32(2)):
        jg.set_num_threads(number)
        assert jg.get_num_threads() == jg.config.num_threads == number
    jg.config.num_threads = 5
    assert jg.get_num_threads() == 5
    assert "num_threads = 5" in repr(jg.config)


def test_with_block_restores() -> None:
    jg.set_num_threads(3)
    with jg.set_num_threads(1):
        assert jg.get_num_threads() == 1
        with jg.config.override(num_threads=2):
            assert jg.get_num_threads() == 2
        assert jg.get_num_threads() == 1
    assert jg.get_num_threads() == 3
    with pytest.raises(KeyError), jg.set_num_threads(1):
        raise KeyError
    assert jg.get_num_threads() == 3


def test_holds_for_all_threads() -> None:
    setter = threading.Thread(target=jg.set_num_threads, args=(7,))
    setter.start()
    setter.join()
    assert jg.get_num_threads() == 7


@pytest.mark.parametrize("bad", [0, -1, 2.0, "2", None, True, 10**6, 1 << 80], ids=repr)
def test_bad_numbers_are_refused(bad: Any) -> None:
    before = jg.get_num_threads()
    with pytest.raises(OptionError, match="num_threads cannot be") as raised:
        jg.set_num_threads(bad)
    assert "an integer from 1" in str(raised.value)
    assert jg.get_num_threads() == before


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"JITGRAPH_NUM_THREADS": "3"}, 3),
        ({"JITGRAPH_NUM_THREADS": " 3 ", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"OMP_NUM_THREADS": "0"}, cpus.usable_cpus()),
        ({"OMP_NUM_THREADS": "many"}, cpus.usable_cpus()),
        ({}, cpus.usable_cpus()),
    ],
    ids=str,
)
def test_environment(
    environment: dict[str, str], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, environment)
    assert Config().num_threads == threads


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5", ""])
def test_bad_environment_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"JITGRAPH_NUM_THREADS": value})
    with pytest.raises(OptionError, match="JITGRAPH_NUM_THREADS: num_threads cannot be") as raised:
        Config()
    assert "an integer from 1" in str(raised.value)


def test_number_is_known_and_set_without_llvm() -> None:
    program = (
        "import sys, jitgraph as jg\n"
        "print(jg.get_num_threads())\n"
        "jg.set_num_threads(2)\n"
        "assert 'llvmlite' not in sys.modules"
    )
    environment = {**os.environ, "JITGRAPH_NUM_THREADS": "3"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "3\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity cannot be set here")
def test_affinity_counts() -> None:
    def on_one_cpu() -> int:
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # of this thread
        return cpus.usable_cpus()

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(on_one_cpu).result() == 1


def quotas(root: Path, membership: str, files: dict[str, str]) -> list[float]:
    (root / "membership").write_text(membership)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return sorted(cpus._quotas(root / "membership", root))


def test_quota_of_a_control_group(tmp_path: Path) -> None:
    files = {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n", "c/cpu.max": "1 1\n"}
    assert quotas(tmp_path, "0::/a/b\n", files) == [1.5]


def test_quota_of_a_container(tmp_path: Path) -> None:
    """Its own path is that of the host, which it cannot see; its group is the root."""
    assert quotas(tmp_path, "0::/host/container\n", {"cpu.max": "50000 100000\n"}) == [0.5]


def test_quota_in_version_1(tmp_path: Path) -> None:
    limited = {"cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}
    unlimited = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    membership = "4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n"
    assert quotas(tmp_path, membership, limited | unlimited) == [3]


def test_no_control_groups(tmp_path: Path) -> None:
    assert list(cpus._quotas(tmp_path / "missing", tmp_path)) == []
    assert quotas(tmp_path, "nonsense\n0::/\n", {"cpu.max": "none at all"}) == []


@pytest.mark.parametrize(("quota", "threads"), [(0.5, 1), (1.0, 1), (1.5, 2), (1e6, None)])
def test_quota_is_rounded_up(
    quota: float, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "_quotas", lambda *_: iter([1e9, quota]))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    assert cpus.usable_cpus() == (threads or 64)
