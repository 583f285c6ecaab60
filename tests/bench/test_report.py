"""Ratios, shares, verdicts and the text of the report, from made-up numbers."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from bench import goals, report
from bench.cases import CASES
from bench.fresh import Probe
from bench.measure import Effort, Outcome, fitting
from bench.record import Record, against, best_rival, geometric_mean, ratio


def outcomes(**times: float | str) -> dict[str, Outcome]:
    """Outcomes of three rounds around a median, or a word."""
    return {
        peer.replace("_", "-"): Outcome(word=t, why="because") if isinstance(t, str)
        else Outcome([2 * t, t, 0.9 * t])
        for peer, t in times.items()
    }  # fmt: skip


def record(**more: object) -> Record:
    """A run of three cases and a probe."""
    names = ("call, 2 vectors of 4", "arithmetic f64 1e8", "product f32 1024³")
    made = Record(
        machine={"processor": "a processor", "threads": 2, "caches": {"L3": 1 << 20}},
        versions={"numpy": "2"}, limits={"copy": 40e9, "read": 50e9, "fma_f32": 400e9},
        cases=tuple(CASES[n] for n in names), probes=(Probe("import", ("import",)),),
        outcomes={
            names[0]: outcomes(jitgraph=90e-9, numpy=200e-9, jax="failed"),
            names[1]: outcomes(jitgraph=0.08, numpy=0.2, torch=0.064),
            names[2]: outcomes(jitgraph=2 * 1024**3 / 300e9, numpy="wrong"),
            "import": outcomes(jitgraph=0.1, numpy=0.05),
        },
        seconds=12.0, date="2026-01-01", quick=True,
    )  # fmt: skip
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def test_ratios() -> None:
    row = outcomes(jitgraph=2.0, baseline=0.5, numpy=6.0, jax=4.0, torch="crashed")
    assert best_rival(row) == "jax"
    assert ratio(row) == 2
    assert against(row, "numpy") == 3
    assert math.isnan(against(row, "torch"))
    assert math.isnan(ratio(outcomes(jitgraph="failed", numpy=1.0)))
    assert math.isnan(ratio(outcomes(jitgraph=1.0)))
    assert geometric_mean([1.0, math.nan, 4.0]) == pytest.approx(2)
    assert math.isnan(geometric_mean([]))


def test_limits_are_what_anybody_reached() -> None:
    made = record()
    arithmetic, product = made.cases[1:]
    assert made.bandwidth(arithmetic) == pytest.approx(3.2e9 / 0.064)
    assert made.share(arithmetic) == pytest.approx(0.064 / 0.08)
    assert made.share(product) == pytest.approx(0.75)
    assert math.isnan(made.share(made.cases[0]))


def test_goals_follow_the_numbers() -> None:
    found = {v.goal: v for v in goals.verdicts(record())}
    met = {goal.split(":")[0]: v.met for goal, v in found.items()}
    assert met["a call with two vectors of 4"] is True
    assert met["every case"] is False
    assert met["products of 1024³"] is False
    assert met["import"] is True
    assert met["functions in cache"] is None


def test_report_has_every_case_word_and_reason(tmp_path: Path) -> None:
    made = record()
    path = report.write(made, tmp_path, ["cases.png"])
    text = path.read_text(encoding="utf-8")
    for case in made.cases:
        assert f"| {case.name} |" in text
    assert "wrong" in text
    assert "because" in text
    assert "**64.0 ms**" in text
    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cases"]
    assert [r["name"] for r in rows] == [*(c.name for c in made.cases), "import"]
    assert rows[0]["peers"]["numpy"]["median"] == 2e-7
    assert rows[0]["peers"]["jax"]["word"] == "failed"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.0, "1.00 s"), (0.01234, "12.3 ms"), (1e-3, "1.00 ms"), (9.996e-4, "1.00 ms"),
     (123.4e-6, "123 µs"), (4.5e-8, "45 ns"), (math.nan, "")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert report.duration(seconds) == text


def test_rounds_are_filled_with_calls() -> None:
    effort = Effort(rounds=9, seconds=0.03, setup_timeout=1)
    for seconds in np.geomspace(1e-8, 10, 30):
        calls = effort.calls(seconds)
        assert calls >= 1
        assert calls * seconds <= max(0.045, seconds)
        assert 3 <= effort.rounds_for(seconds) <= 9


def test_large_cases_take_the_peers_that_fit() -> None:
    case, peers = CASES["arithmetic f64 1e8"], ["jitgraph", "numexpr", "numpy", "jax"]
    assert set(fitting(case, peers, 1e12)) == set(peers)
    assert fitting(case, peers, 1e6) == ["jitgraph"]
    assert fitting(case, peers, 22e9) == ["jitgraph", "numpy"]


def test_every_group_of_cases_has_a_place_in_the_report() -> None:
    assert {case.group for case in CASES.values()} - {"probes"} <= set(report.GROUPS)
