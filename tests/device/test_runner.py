"""`python -m tests.device`: it runs without pytest and Hypothesis, and survives what groups do."""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jitgraph.codegen.gpu import ptx
from jitgraph.errors import MissingPackageError
from tests.device import __main__ as runner
from tests.device import standins


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(runner.ROOT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                          cwd=runner.ROOT, env=environment, check=False)  # fmt: skip


def test_a_group_by_itself() -> None:
    chosen = ["--device", "simulated", "--only", "ops.scalars", "--no-pytest", "--jobs", "1"]
    done = python("-m", "tests.device", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 0 failed" in done.stdout


def test_a_group_that_takes_too_long() -> None:
    given = runner.options(["--device", "simulated", "--limit", "0.1"])
    found = runner.run("ops.scalars", given)
    assert found.passed == 0
    assert "took more than" in found.failed[0][1]


def test_no_such_device() -> None:
    done = python("-m", "tests.device", "--device", "cuda:77", "--only", "ops.scalars")
    assert done.returncode == 2
    assert "NVIDIA" in done.stdout or "cuda" in done.stdout


#: What a bare machine has not.
MISSING = ("_pytest", "scipy", "mpmath", "sklearn")


def test_what_it_needs() -> None:
    done = python("-c", "from tests.device.__main__ import groups; import sys, json;"
                        "print(json.dumps([[*groups()], [*sys.modules]]))")  # fmt: skip
    names, modules = json.loads(done.stdout)
    assert len(names) > 20
    for pattern in runner.SAMPLE:
        assert fnmatch.filter(names, pattern), pattern
    assert not [m for m in modules if m.split(".")[0] in MISSING or m == "hypothesis.core"]


def test_a_sample_runs_under_the_sanitizer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ptx, "tool", lambda name: Path("/bin") / name)
    jobs = runner.sanitized(["twins.sizes", "twins.chains"])
    assert [name for name, _ in jobs] == ["twins.sizes"] * len(runner.SANITIZERS)
    assert all(before[0] == "/bin/compute-sanitizer" for _, before in jobs)

    def missing(name: str) -> Path:
        raise MissingPackageError(f"no {name}")

    monkeypatch.setattr(ptx, "tool", missing)
    assert not runner.sanitized(["twins.sizes"])
    assert "no compute-sanitizer" in capsys.readouterr().out


def lines(*said: Sequence[str]) -> str:
    return "\n".join("@@ " + json.dumps(s) for s in said)


@pytest.mark.parametrize(("text", "code", "passed", "failed"), [
    (lines(["begin", "a", ""], ["passed", "a", ""], ["end", "", ""]), 0, 1, []),
    (lines(["begin", "a", ""], ["failed", "a", "why"], ["end", "", ""]), 0, 0, [("a", "why")]),
    (lines(["begin", "a", ""], ["passed", "a", ""], ["begin", "b", ""]), None, 1,
     [("b", "took more")]),
    (lines(["begin", "a", ""]) + "\nSegmentation fault", -11, 0, [("a", "status -11\nSegm")]),
    (lines(["begin", "a", ""], ["failed", "a", "sticky"]), 1, 0,
     [("a", "sticky"), ("", "not run")]),
    (lines(["begin", "a", ""], ["passed", "a", ""], ["end", "", ""]) + "\nInvalid read", 9, 1,
     [("", "Invalid read")]),
])  # fmt: skip
def test_what_became_of_a_group(
    text: str, code: int | None, passed: int, failed: list[tuple[str, str]]
) -> None:
    found = runner._read(runner.Outcome("ops.x"), text, code, 3.0)
    assert found.passed == passed
    assert [label for label, _ in found.failed] == [label for label, _ in failed]
    for (_, said), (_, want) in zip(found.failed, failed, strict=True):
        assert want in said


def test_examples_come_again() -> None:
    def drawing() -> list[int]:
        seen: list[int] = []

        @standins.Settings(max_examples=5)
        @standins.given(standins.st.lists(standins.st.integers(0, 9)), standins.st.data())
        def drawn(numbers: list[int], data: Any) -> None:
            standins.assume(numbers)
            seen.extend([*numbers, data.draw(standins.st.sampled_from([1, 2]))])

        drawn()
        return seen

    first = drawing()
    assert first == drawing()
    assert len(first) >= 10


def test_failing_examples_are_named() -> None:
    @standins.given(standins.st.integers(0, 9))
    def small(number: int) -> None:
        assert number < 5

    with pytest.raises(AssertionError) as caught:
        small()
    assert "example" in caught.value.__notes__[0]


def test_parameters_multiply() -> None:
    mark = standins._Mark()
    seen = []

    @mark.parametrize("a", [1, 2])
    @mark.parametrize(("b", "c"), [("x", 3), ("y", 4)])
    def shown(a: int, b: str, c: int) -> None:
        seen.append((a, b, c))

    for _, run in standins.instances(shown):
        run()
    assert sorted(seen) == [(1, "x", 3), (1, "y", 4), (2, "x", 3), (2, "y", 4)]


def test_parameters_and_examples() -> None:
    seen = set()

    @standins._Mark().parametrize("name", ["x", "y"])
    @standins.given(standins.st.just(3))
    def shown(name: str, number: int) -> None:
        seen.add((name, number))

    assert not standins.fixtures(shown)
    for _, run in standins.instances(shown):
        run()
    assert seen == {("x", 3), ("y", 3)}
    assert standins.fixtures(lambda monkeypatch: None) == {"monkeypatch"}
