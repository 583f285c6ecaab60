"""`f.profile`: what it counts, what it leaves alone, and how it is shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.errors import DTypeError, InputError, MissingPackageError, ShapeError
from jitgraph.profiling import Level, Limits, Profile, Step
from jitgraph.profiling.report import _places
from tests.native import compiled
from tests.strategies import EVERY_DTYPE, Program, functions

THIS = Path(__file__).name


@pytest.fixture(autouse=True)
def known_limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """The machine of these tests, so that none of them waits for its measurement."""
    levels = (Level("L1", 1e5, 2e11, 1e11), Level("memory", np.inf, 2e10, 1e10))
    known = Limits(2, levels, f32=2e11, f64=1e11)
    monkeypatch.setattr("jitgraph.profiling.measure.limits", lambda: known)
    monkeypatch.setattr("jitgraph.profiling.measure._ENOUGH", 0.01)
    return known


def only(report: Profile) -> Step:
    assert len(report.steps) == 1, str(report)
    return report.steps[0]


def line() -> int:
    """The line of the caller."""
    return sys._getframe(1).f_lineno


# --- what is counted ---------------------------------------------------------------------------
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [0, 1, 7, 100_003])
def test_a_sum_of_two_vectors_moves_three(n: int, threads: int) -> None:
    x, y = T.dvectors("x", "y")
    f = jg.function([x, y], x + y)
    here = f"{THIS}:{line() - 1}"
    with jg.set_num_threads(threads):
        report = f.profile(np.ones(n), np.ones(n))
    step = only(report)
    assert (step.kind, step.loops) == ("kernel", (n,)) or n == 1
    assert (step.read, step.written) == (16 * n, 8 * n)
    assert (step.single, step.double) == (0, n)
    assert [Path(text).name for text in step.lines] == [here]
    assert report.threads == threads
    assert report.runs >= 3
    assert 0 <= step.fastest <= step.seconds


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k", "n"), [(40, 50, 60), (17, 300, 7)])
def test_a_product_is_2mnk(dtype: str, m: int, k: int, n: int) -> None:
    a, b = T.matrix("a", dtype=dtype), T.matrix("b", dtype=dtype)
    f = jg.function([a, b], T.dot(a, b))
    step = only(f.profile(np.ones((m, k), dtype), np.ones((k, n), dtype)))
    size = np.dtype(dtype).itemsize
    assert (step.kind, step.loops) == ("product", (m, n, k))
    assert (step.read, step.written) == (size * (m * k + k * n), size * m * n)
    flops = 2 * m * n * k
    assert (step.single, step.double) == ((flops, 0) if size == 4 else (0, flops))


def test_a_layer_is_one_step_that_hands_itself_the_product() -> None:
    x, w, b = T.dmatrix("x"), T.dmatrix("w"), T.dvector("b")
    f = jg.function([x, w, b], T.maximum(x @ w + b, 0))
    step = only(f.profile(np.ones((40, 50)), np.ones((50, 60)), np.ones(60)))
    assert (step.kind, step.loops) == ("product", (40, 60, 50))
    assert (step.read, step.written) == (8 * (40 * 50 + 50 * 60 + 60), 8 * 40 * 60)
    assert step.double == 2 * 40 * 50 * 60 + 2 * 40 * 60
    assert len(step.lines) == 1


def test_a_convolution_hands_its_images_on() -> None:
    """Only what the pool leaves of them is written, unless somebody wants all of it."""
    x, w, b = T.dtensor4("x"), T.dtensor4("w"), T.dvector("b")
    y = T.nnet.conv2d(x, w, filter_flip=False)
    p = T.nnet.pool_2d(y, (2, 2), ignore_border=True) + b[:, None, None]
    arrays = [np.ones((5, 3, 9, 9)), np.ones((4, 3, 2, 2)), np.ones(4)]
    given, outputs, pooled = sum(a.size for a in arrays), 5 * 4 * 8 * 8, 5 * 4 * 4 * 4
    for results, written in ((p, pooled), ([y, p], pooled + outputs)):
        f = jg.function([x, w, b], results)
        step = only(f.profile(*arrays))
        assert step.kind == "call"
        assert (step.read, step.written) == (8 * given, 8 * written)
        assert step.double == 2 * outputs * 3 * 2 * 2 + 4 * pooled


def test_a_broadcast_operand_counts_once() -> None:
    x, row = T.dmatrix("x"), T.dvector("row")
    step = only(jg.function([x, row], x * row).profile(np.ones((30, 40)), np.ones(40)))
    assert (step.read, step.written) == (8 * (30 * 40 + 40), 8 * 30 * 40)
    assert step.double == 30 * 40


def test_strided_inputs_count_what_is_read_of_them() -> None:
    x = T.dmatrix("x")
    f = jg.function([x], x * 2)
    step = only(f.profile(np.ones((60, 80))[::2, ::4]))
    assert (step.read, step.written) == (8 * 30 * 20, 8 * 30 * 20)
    assert only(f.profile(np.ones((60, 80)).T)).read == 8 * 60 * 80


def test_slices_that_overlap_count_once() -> None:
    x = T.dmatrix("x")
    step = only(jg.function([x], x[1:, :] + x[:-1, :]).profile(np.ones((30, 40))))
    assert (step.read, step.written) == (8 * 30 * 40, 8 * 29 * 40)


def test_a_row_nest_takes_memory_once() -> None:
    """The temporaries of a softmax do not count, nor its second reading of the row."""
    x = T.fmatrix("x")
    step = only(jg.function([x], T.nnet.softmax(x)).profile(np.ones((50, 70), np.float32)))
    assert (step.kind, step.loops) == ("rows", (50,))
    assert (step.read, step.written) == (4 * 50 * 70, 4 * 50 * 70)
    # At least: the maximum, its subtraction, the sum, the division; and exp.
    assert step.single > 4 * 50 * 70
    assert step.double == 0


def test_functions_count_as_their_expansion() -> None:
    x = T.dvector("x")

    def flops_of(result: Any) -> int:
        return only(jg.function([x], result).profile(np.ones(100))).flops

    assert flops_of(T.sqrt(x)) == 100
    assert flops_of(T.exp(x)) > 1000
    assert flops_of(T.exp(x) + 1) == flops_of(T.exp(x)) + 100
    assert flops_of(T.where(x > 0, x, 0)) == 0


def test_every_kind_of_step() -> None:
    x, w, i = T.dmatrix("x"), T.dmatrix("w"), T.lvector("i")
    f = jg.function([x, w, i], [
        T.dot(T.nnet.softmax(x), w),
        T.exp(w),
        T.grad(T.sum(x[i, :] ** 2), x),
        x.max(axis=0),
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    report = f.profile(rng.random((20, 30)), rng.random((30, 10)), [0, -1, 0])
    assert {step.kind for step in report.steps} == {"kernel", "rows", "product", "zero"}
    assert len({step.name for step in report.steps}) == len(report.steps)
    assert all(THIS in text for step in report.steps for text in step.lines)
    assert all(step.lines for step in report.steps), str(report)
    zero = next(step for step in report.steps if step.kind == "zero")
    assert (zero.read, zero.written, zero.loops) == (0, 8 * 20 * 30, (20, 30))


def test_scalars_are_computed_between_the_steps() -> None:
    x = T.dscalar("x")
    step = only(jg.function([x], x + 1).profile(1))
    assert (step.loops, step.bytes, step.flops) == ((), 8, 0)


def test_a_program_without_steps() -> None:
    x = T.dscalar("x")
    report = jg.function([x], [], on_unused_input="ignore").profile(1.0)
    assert report.steps == ()
    assert report.seconds == report.outside
    assert "outside" in str(report)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(functions(benign=True, dtypes=EVERY_DTYPE), st.booleans())
def test_any_program_can_be_profiled(program: Program, transposed: bool) -> None:
    """Its steps write the results, at least."""
    inputs = [a.T.copy().T for a in program.inputs()] if transposed else program.inputs()
    f = compiled(program.function)
    results = f(*inputs)
    report = f.profile(*inputs)
    assert sum(step.written for step in report.steps) >= sum(r.nbytes for r in results or [])
    for step in report.steps:
        assert min(step.read, step.written, step.single, step.double) >= 0
    assert Profile.from_json(report.to_json()) == report


@pytest.mark.parametrize("axis", [0, 1])
def test_a_running_sum_is_not_read_back(axis: int) -> None:
    x = T.dmatrix("x")
    report = jg.function([x], T.cumsum(x, axis=axis)).profile(np.ones((30, 40)))
    assert sum(step.bytes for step in report.steps) == 2 * 8 * 30 * 40


def test_a_sum_of_nothing_is_written() -> None:
    x = T.dmatrix("x")
    step = only(jg.function([x], x.sum(axis=1)).profile(np.ones((3, 0))))
    assert (step.read, step.written, step.flops) == (0, 24, 0)


# --- what is left alone ------------------------------------------------------------------------
def test_shared_variables_stay_as_they_are() -> None:
    start = np.arange(6.0).reshape(2, 3)
    w = jg.shared(start, name="w")
    x = T.dvector("x")
    step = jg.function([x], T.dot(w, x), updates=[(w, w - 0.1 * x)])
    step(np.ones(3))
    before, arrays = w.get_value(), tuple(w.slots._cells)
    report = step.profile(np.ones(3))
    assert report.runs >= 3
    np.testing.assert_array_equal(w.get_value(), before)
    assert [now is then for now, then in zip(w.slots._cells, arrays, strict=True)] == [True, True]
    step(np.ones(3))
    np.testing.assert_allclose(w.get_value(), start - 0.2)


def test_only_updates() -> None:
    w = jg.shared(np.zeros(100), name="w")
    report = jg.function([], updates=[(w, w + 1)]).profile()
    assert (only(report).read, only(report).written) == (800, 800)
    assert not w.get_value().any()


def test_a_function_keeps_its_variants() -> None:
    x = T.dmatrix("x")
    f = jg.function([x], x + 1)
    f.profile(np.ones((4, 6)).T)
    assert len(f._state.variants) == 1


# --- what is refused ---------------------------------------------------------------------------
def test_wrong_inputs_are_refused_as_in_a_call() -> None:
    x, y = T.dvectors("x", "y")
    f = jg.function([x, y], x + y)
    ones = np.ones(3)
    for error, args, kwargs in (
        (InputError, (ones,), {}),
        (InputError, (ones, ones, ones), {}),
        (InputError, (ones,), {"z": ones}),
        (DTypeError, (ones, ones * 1j), {}),
        (ShapeError, (ones, np.ones((3, 3))), {}),
        (ShapeError, (ones, np.ones(4)), {}),  # found by the program itself
    ):
        with pytest.raises(error) as called:
            f(*args, **kwargs)
        with pytest.raises(error) as profiled:
            f.profile(*args, **kwargs)
        assert profiled.value.args == called.value.args


def test_inputs_are_adapted_as_in_a_call() -> None:
    x, y = T.dvectors("x", "y")
    f = jg.function([x, y], x + y)
    assert only(f.profile([1, 2, 3], y=[4, 5, 6])).bytes == 72


# --- how it is shown ---------------------------------------------------------------------------
@pytest.fixture
def report() -> Profile:
    a, b = T.fmatrix("a"), T.fmatrix("b")
    f = jg.function([a, b], [T.tanh(T.dot(a, b)), a[::2, :]], name="layer")
    return f.profile(np.ones((300, 40), np.float32), np.ones((40, 50), np.float32))


def test_the_table_has_a_row_for_each_step(report: Profile) -> None:
    lines = str(report).splitlines()
    assert lines[0].startswith("layer: ")
    for step in report.steps:
        (row,) = (text for text in lines if text.startswith(f"{step.name} "))
        assert " x ".join(map(str, step.loops)) in row
        assert THIS in row
    assert any(text.startswith("outside ") for text in lines)
    page = report._repr_html_()
    assert page.count("<tr>") == len(report.steps) + 2
    assert all(step.name in page for step in report.steps)


def test_shares_add_up(report: Profile) -> None:
    shares = sum(map(report.share, report.steps))
    assert shares + report.outside / report.seconds == pytest.approx(1)


def test_json_has_everything(report: Profile, tmp_path: Path) -> None:
    text = report.to_json(tmp_path / "report.json")
    assert Profile.from_json(text) == report
    assert Profile.from_json((tmp_path / "report.json").read_text()) == report
    data = json.loads(text)  # and no Infinity, which JSON does not know
    assert "Infinity" not in text
    for step, fields in zip(report.steps, data["steps"], strict=True):
        assert fields["fraction"] == report.fraction(step)
        assert fields["bandwidth"] * step.seconds == pytest.approx(step.bytes)


def test_plot(report: Profile, tmp_path: Path) -> None:
    figure = report.plot(tmp_path / "roof.png")
    assert (tmp_path / "roof.png").stat().st_size > 1000
    drawn = {text.get_text() for text in figure.axes[0].texts}
    for step in report.steps:
        inside = any(text.startswith(f"{step.name} ") for text in drawn)
        assert inside or step.name in figure.axes[0].get_title()
    assert any("memory" in text for text in drawn)


def test_plot_without_matplotlib(report: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"jitgraph\[examples\]"):
        report.plot()


# --- fractions ---------------------------------------------------------------------------------
def step_of(read: int, written: int, *, double: int = 0, seconds: float = 1.0) -> Step:
    return Step("kernel0", "kernel", (1,), seconds, seconds, read, written, 0, double, ())


def test_the_limit_is_what_takes_longer(known_limits: Limits) -> None:
    def bound(step: Step) -> tuple[float, str]:
        return Profile("f", 2, 3, (step,), 0.0, known_limits).limit(step)

    # A copy at the speed of copies, a read at that of reads.
    assert bound(step_of(10**9, 10**9)) == (pytest.approx(0.1), "memory")
    assert bound(step_of(10**9, 0)) == (pytest.approx(0.1), "memory")
    assert bound(step_of(10**4, 10**4)) == (pytest.approx(1e-7), "L1")
    assert bound(step_of(10**4, 10**4, double=10**9)) == (pytest.approx(0.01), "arithmetic")


def test_too_much_is_told(known_limits: Limits) -> None:
    slow, fast = step_of(10**9, 10**9), step_of(10**9, 10**9, seconds=0.01)
    assert "fresh=True" not in str(Profile("f", 2, 3, (slow,), 0.0, known_limits))
    assert "fresh=True" in str(Profile("f", 2, 3, (fast,), 0.0, known_limits))


def test_lines_of_one_file_are_named_together() -> None:
    lines = ["/a/model.py:12", "/a/model.py:3", "/b/data.py:7", "/a/model.py:12"]
    assert _places(lines) == "model.py:3,12 data.py:7"
    assert _places([f"m.py:{n}" for n in range(100)]).endswith(",...")
    assert _places([]) == ""
