"""`python -m bench.gpu` on the simulated device: the whole way from a case to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.case import Case
from bench.gpu import __main__ as run
from bench.gpu import cases, measure, peers, report
from bench.peers.base import NotHere
from jitgraph.runtime.limits import Level, Limits

SMALL = ["--device", "simulated", "--tiny", "--rounds", "1", "--no-probes"]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--cases", "arithmetic f32", "softmax f32*", "sum all*", "tanh*f32*", "logistic*"]
    assert run.main([*SMALL, *chosen, "--out", str(tmp_path)]) == 0
    assert "arithmetic f32: jitgraph" in capsys.readouterr().out
    text = (tmp_path / "results.md").read_text()
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found["cases"]) == 5
    for case in found["cases"]:
        assert case["name"] in text
        assert case["peers"]["jitgraph"]["seconds"]["median"] > 0
    assert found["device"]
    assert found["limits"]["copy"] > 0


def test_no_such_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--device", "cuda:77"]) == 2
    assert capsys.readouterr().out.strip()
    assert run.main(["--device", "cpu"]) == 2


def test_what_it_needs() -> None:
    """Python, NumPy, llvmlite."""
    code = ("import sys, bench.gpu.__main__, bench.gpu.peers.on_jitgraph;"
            "print([m for m in ('scipy', 'rich', 'tqdm', 'matplotlib') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=run.RESULTS.parents[1])  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_full_cases_are_the_tiny_ones_larger() -> None:
    """The same programs, in the same order."""
    small, large = list(cases.cases(tiny=True)), list(cases.cases())
    assert len({c.name for c in large}) == len(large)
    assert {c.group for c in large} <= set(report.GROUPS)
    assert {c.family for c in small} == {c.family for c in large}


class _Doubled(peers.Peer):
    """Gets everything wrong by a factor."""

    def version(self) -> str:
        return "0"

    def prepare(self, case: Case, arrays: list[object]) -> peers.Running:
        wanted = measure.reference(case, arrays)  # type: ignore[arg-type]
        if self.name == "broken":
            raise RuntimeError("no more\nof this")
        if self.name == "absent":
            raise NotHere("no such thing")
        factor = 2 if self.name == "wrong" else 1
        return peers.Running(lambda: None, lambda: None, lambda: [factor * a for a in wanted])


def test_words_instead_of_numbers() -> None:
    case = next(iter(cases.cases(tiny=True)))
    rivals: dict[str, peers.Peer] = {
        name: _Doubled(name, "simulated") for name in ("right", "wrong", "broken", "absent")
    }
    found = measure.measured(case, rivals, measure.Effort(2, 1e-4))
    assert {p: o.word for p, o in found.items()} == {
        "right": "", "wrong": "wrong", "broken": "failed", "absent": "–"}  # fmt: skip
    assert len(found["right"].seconds) == 2
    assert "no more" in found["broken"].why


def test_ratios_and_shares() -> None:
    case = next(iter(cases.cases()))
    level = Level("memory", float("inf"), 4e12, 4.2e12)
    record = report.Record("a GPU", {"jitgraph": "1", "jax": "2"},
                           {"python": "3", "numpy": "2", "system": "x"},
                           Limits(0, (level,), 1.0, 1.0), "2026-01-01", [case])  # fmt: skip
    seconds = sum(case.traffic) / 2e12
    record.outcomes[case.name] = {"jitgraph": measure.Outcome([seconds], host=[5e-6]),
                                  "jax": measure.Outcome([2 * seconds])}  # fmt: skip
    assert record.share(case) == pytest.approx(0.5)
    assert record.ratio(case) == pytest.approx(2)
    assert "| 2.00 | 50% |" in report.markdown(record)
