"""`python -m jitgraph.dump` and the other ways to look inside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.compiled import STAGES
from jitgraph.dump import main
from jitgraph.errors import OptionError
from jitgraph.ir.parser import parse

MODEL = '''
import numpy as np
import jitgraph as jg
import jitgraph.tensor as T

x = T.dvector("x")
w = jg.shared(np.ones(3), name="w")
cost = T.log(1 + T.exp(x * w)).sum()
step = jg.function([x], cost, updates=[(w, w - 0.1 * T.grad(cost, w))])


def build():
    return step
'''


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "toy_model.py"
    path.write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_model", raising=False)
    return path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_an_expression_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-e", "exp(x)*y", "x:f64[n]", "y:f64[n]")
    assert "func @expression(%x: f64[n!], %y: f64[n!]) -> f64[n!]" in text
    assert "exp %x" in text
    assert "kernel for" in text


@pytest.mark.parametrize(
    "expression", ["x + (-x)", "x - x", "(x*y)/(y*x) - 1 + 0*x", "x + y - x - y"]
)
def test_what_cancels_has_no_loop(capsys: pytest.CaptureFixture[str], expression: str) -> None:
    text = shown(capsys, "-e", expression, "x:f64[n]", "y:f64[n]", "--stage", "schedule")
    assert "kernel" not in text
    assert "zero" in text


def test_a_scalar_that_cancels_is_a_constant(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-e", "x + (-x)", "x:f64[]", "--stage", "optimised")
    assert "constant 0.0" in text
    assert "add" not in text
    assert "negative" not in text


def test_nothing_cancels_under_ieee(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(
        capsys, "-e", "x + (-x)", "x:f64[n]", "--stage", "optimised", "--algebra", "ieee"
    )
    assert "subtract %x, %x" in text or "add %x" in text


@pytest.mark.parametrize("what", ["toy_model.py", "toy_model:step", "toy_model:build", "toy_model"])
def test_files_and_modules(capsys: pytest.CaptureFixture[str], model: Path, what: str) -> None:
    name = str(model) if what.endswith(".py") else what
    text = shown(capsys, name)
    assert "log" not in text.split("---- optimised")[1].split("----")[0]
    assert "softplus" in text


def test_text_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "double.jg"
    path.write_text("func @double(%x: f64[n]) -> f64[n] {\n  %0 = add %x, %x : f64[n]\n"
                    "  return %0\n}\n")  # fmt: skip
    text = shown(capsys, str(path), "--stage", "graph")
    assert parse(text.split("\n", 1)[1]).name == "double"


def test_passes_why_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "-e", "log(1 + x) + 0", "x:f64[n]", "--passes", "--why", "--time")
    assert "// ---- after simplify" in text
    assert "+  %0 = log1p %x" in text
    assert "stabilises" in text
    assert "<expression>:1" in text
    assert "milliseconds" in text
    assert "total" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "nothing to show"),
        (("-e", "x + y", "x:f64[n]"), "'y' is not defined"),
        (("-e", "x", "x"), "is no input"),
        (("-e", "x", "x:f65[n]"), "'f65' is not a dtype"),
        (("-e", "x + y", "x:f64[3]", "y:f64[4]"), "3 is not 4"),
        (("no_such_module:f",), "No module named"),
        (("missing.jg",), "No such file"),
    ],
)
def test_what_cannot_be_shown_is_one_clear_error(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_every_stage_of_a_compiled_function() -> None:
    x = T.dvector("x")
    f = jg.function([x], T.tanh(x) * 2, name="twice")
    for stage in STAGES:
        assert f.dump(stage)
    assert "func @twice" in f.dump("graph")
    assert "kernel for" in f.dump("schedule")
    assert "define" in f.dump("llvm")
    assert "run:" in f.dump("asm")
    assert f.dump().count("// ----") == len(STAGES)
    assert "tanh" in f._repr_html_()
    with pytest.raises(OptionError, match="no stage 'assembler'"):
        f.dump("assembler")
    assert parse(f.dump("optimised")) == f.compilation.optimised


def test_expressions_print() -> None:
    x = T.dvector("x")
    expression = T.exp(x) + 1
    assert repr(x) == "x: f64[?]"
    assert "exp" in expression._repr_html_()
    assert "text/html" in expression._repr_mimebundle_()
    assert "f64[?]" in repr(expression)


def test_the_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jitgraph.dump", "-e", "sin(x)", "x:f32[4]", "--stage", "graph"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "sin %x : f32[4]" in done.stdout


def test_importing_is_light() -> None:
    """LLVM is initialised, and modules of tools are loaded, only when needed."""
    code = "import sys, jitgraph; print(*(m in sys.modules for m in ('llvmlite', 'matplotlib')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
