"""NumPy's functions of variables: values, dtypes, shapes and gradients are NumPy's."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph import coverage
from jitgraph.errors import DTypeError
from jitgraph.tensor.refusals import METHODS, OUTSIDE, REFUSED
from tests.tensor.helpers import evaluate
from tests.tensor.numpy_examples import ARRAYS, CALLS, SMOOTH

PAGE = Path(__file__).resolve().parents[2] / "docs" / "numpy.md"
ELEMENTWISE = set(T.FUNCTIONS)  # tried by their tables
#: Calls that need a known length.
PLAIN = ("methods", "reduce", "accumulate", "ufunc.outer", "dtype")  # no functions of ours
STATIC = ("unstack", "tril_indices_from", "triu_indices_from", "poly", "roots")


def leaves(result: Any) -> list[Any]:
    """What a call returned, as a flat list."""
    return [x for r in result for x in leaves(r)] if isinstance(result, list | tuple) else [result]


def results(call: str, arrays: dict[str, Any], module: Any = np) -> list[Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [x for part in call.split(" | ") for x in leaves(eval(part, {"np": module}, arrays))]


def variables(known: bool) -> dict[str, Any]:
    return {name: T.tensor(a.dtype, a.shape if known else (None,) * a.ndim, name)
            for name, a in ARRAYS.items()}  # fmt: skip


def assert_numpys(name: str, got: list[Any], want: list[Any]) -> None:
    assert len(got) == len(want), name
    for k, (one, other) in enumerate(zip(got, want, strict=True)):
        told, other = f"{CALLS[name]}: result {k}", np.asarray(other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), told
        bound = 2e-6 if other.dtype == np.float32 else 1e-9
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound * 1e-3, err_msg=told)


@pytest.mark.parametrize("name", CALLS)
def test_numpys_function_of_variables(name: str) -> None:
    """Called through NumPy on unknown extents, and as our own function on known ones."""
    want = results(CALLS[name], ARRAYS)
    for known, module in ((False, np), (True, T)):
        if name in (PLAIN if known else STATIC):
            continue
        symbols = variables(known)
        made = [T.as_tensor(x) for x in results(CALLS[name], symbols, module)]
        assert_numpys(name, evaluate(made, {symbols[n]: a for n, a in ARRAYS.items()}), want)


@pytest.mark.parametrize("part", range(3))
def test_natively(part: int) -> None:
    """Many calls share one compiled function."""
    names, symbols = [n for n in CALLS if n not in STATIC][part::3], variables(False)
    made = {n: [T.as_tensor(x) for x in results(CALLS[n], symbols)] for n in names}
    f = jg.function(list(symbols.values()), [x for m in made.values() for x in m],
                    on_unused_input="ignore")  # fmt: skip
    found = iter(f(*ARRAYS.values()))
    for name, parts in made.items():
        assert_numpys(name, [next(found) for _ in parts], results(CALLS[name], ARRAYS))


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_gradients() -> None:
    """Along a random direction, against differences of NumPy's own results."""
    symbols, rng = variables(True), np.random.default_rng(3)
    moving = {n: a for n, a in ARRAYS.items() if a.dtype.kind in "fc" and n not in "xsn"}
    steps = {n: rng.normal(size=a.shape) + (1j * rng.normal(size=a.shape) if n == "c" else 0)
             for n, a in moving.items()}  # fmt: skip
    found, wanted = [], []
    for name in SMOOTH:
        for call in CALLS[name].split(" | "):
            made = results(call, symbols)
            costs = [_weighted(T, x) for x in made if T.as_tensor(x).dtype.kind in "fc"]
            if not costs or "float32" in call:
                continue
            slopes = T.grad(sum(costs), [symbols[n] for n in moving], None, "ignore")
            found.append(sum((T.real(T.conj(g)) * steps[n].real - T.imag(T.conj(g)) * steps[n].imag)
                             .sum() for n, g in zip(moving, slopes, strict=True)))  # fmt: skip
            ends = [sum(_weighted(np, x) for x in results(call, ARRAYS | {
                n: a + by * steps[n] for n, a in moving.items()})
                if np.asarray(x).dtype.kind in "fc") for by in (1e-6, -1e-6)]  # fmt: skip
            wanted.append((call, (ends[0] - ends[1]) / 2e-6))
    got = evaluate(found, {symbols[n]: a for n, a in ARRAYS.items()})
    for one, (call, other) in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=call)


def _weighted(module: Any, x: Any) -> Any:
    """A number that depends on every element of x in its own way."""
    part = module.real(x) + 0.3 * module.imag(x)
    return (part * module.cos(module.arange(module.size(part)).reshape(part.shape))).sum()


# --- the page ------------------------------------------------------------------------------------
def test_the_page_is_up_to_date() -> None:
    told = "run: python -m jitgraph.coverage > docs/numpy.md"
    assert PAGE.read_text() == coverage.page(), told


def test_every_compiled_function_is_tried() -> None:
    compiled = {n for n in coverage.functions(np) if coverage.status(np, n)[0] == coverage.COMPILED}
    assert compiled <= set(CALLS) | ELEMENTWISE


def test_reasons_are_of_functions_numpy_has() -> None:
    public = set(coverage.functions(np))
    assert set(REFUSED) - public <= {"fill_diagonal"}
    assert set(OUTSIDE) <= public
    assert all(hasattr(np.ndarray, name) for name in METHODS)


# --- refusals ------------------------------------------------------------------------------------
x = T.dmatrix("x")
REFUSALS = {
    "np.save cannot take x, which is symbolic": lambda: np.save("file", x),
    "np.sum with out= cannot take x": lambda: np.sum(x, out=np.zeros(3)),
    "np.add.at cannot take x": lambda: np.add.at(x, [0], 1),
    "np.add with where= cannot take x": lambda: np.add(x, 1, where=np.ones(3, bool)),
    "np.copyto cannot take x": lambda: np.copyto(x, 1),
    "np.put_along_axis cannot take x": lambda: np.put_along_axis(x, [[0]], 1, 0),
    "it cannot change": lambda: x.__setitem__(0, 1),
    "it has no number yet": lambda: x.item(),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals_name_the_function_and_the_line(message: str) -> None:
    with pytest.raises(DTypeError) as caught:
        REFUSALS[message]()
    assert message in str(caught.value)
    assert "test_numpy.py:" in str(caught.value)


def test_our_functions_take_numpys_names_of_arguments() -> None:
    """Wherever both have an argument of one name, `np.f` of a variable hands it on."""
    for name in ("sum", "mean", "roll", "tile", "pad", "diff", "linspace", "histogram"):
        ours = inspect.signature(getattr(T, name)).parameters
        assert set(ours) <= set(inspect.signature(getattr(np, name)).parameters) | {"x"}, name
