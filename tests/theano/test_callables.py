"""What compiled functions answer under Theano's names, and what becomes of it in copies."""

# ruff: noqa: N803  (T is a fixture)

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("installed")


COPIES: dict[str, Callable[[Any], Any]] = {
    "itself": lambda f: f,
    "copied": lambda f: f.copy(),
    "copied twice": lambda f: copy.copy(f.copy()),
    "deeply copied": copy.deepcopy,
    "pickled": lambda f: pickle.loads(pickle.dumps(f)),
}


@pytest.mark.parametrize("made", COPIES)
def test_what_a_function_says_of_itself(made: str, theano: Any, T: Any) -> None:
    x, s = T.dvector("x"), T.dscalar("s")
    w = theano.shared(np.ones(3), "w")
    f = COPIES[made](theano.function(
        [x, theano.In(s, value=2.0, update=s + 1)], [x * w * s, x.sum()], updates=[(w, w + 1)]
    ))  # fmt: skip
    assert isinstance(f, theano.compile.Function)
    assert [i.name for i in f.maker.inputs] == ["x", "s", "w"]
    assert [i.implicit for i in f.maker.inputs] == [False, False, True]
    assert [i.update is None for i in f.maker.inputs] == [True, False, False]
    assert len(f.maker.outputs) == 2
    assert [v.name for v in f.get_shared()] == ["w"]
    assert {v.name for v in f.maker.fgraph.inputs} == {"x", "w", "s"}
    assert any(isinstance(node.op, T.Elemwise) for node in f.maker.fgraph.toposort())
    assert all(v.type.ndim in (0, 1) for v in f.maker.fgraph.variables)
    results = f([1, 2, 3], output_subset=[1])
    assert [r.tolist() for r in results] == [6]
    assert f([1, 2, 3])[0].tolist() == [6 * 1, 6 * 2, 6 * 3]  # both updates were done
    assert (f["s"], f.value["s"], f.container["s"].value) == (4, 4, 4)
    f.value["s"] = 1.0
    f.container["w"].data = np.zeros(3)
    assert "w" in f
    assert "q" not in f
    assert [c.value is None for c in f.input_storage] == [True, False, False]
    assert f([1, 2, 3], output_subset=[0])[0].tolist() == [0, 0, 0]
    assert f.get_shared()[0].get_value().tolist() == [1, 1, 1]


def test_subsets_of_outputs(theano: Any, T: Any) -> None:
    x = T.dvector("x")
    for mode in ("FAST_RUN", "DebugMode", "NanGuardMode"):
        named = theano.function([x], {"a": x + 1, "b": x * 2}, mode=mode)
        assert {k: v.tolist() for k, v in named([1], output_subset=["b"]).items()} == {"b": [2]}
        alone = theano.function([x], x + 1, mode=mode)
        assert [r.tolist() for r in alone([1], output_subset=[0])] == [[2]]
        assert alone.copy()([1]).tolist() == [2]


def test_watched_copies_are_watched(theano: Any, T: Any) -> None:
    x = T.dvector("x")
    f = theano.function([x], T.log(x), mode="NanGuardMode")
    for made in (f.copy(), copy.deepcopy(f)):
        with pytest.raises(AssertionError, match="nan"):
            made([-1.0])


def test_profiles(theano: Any, T: Any, capsys: Any) -> None:
    x = T.dvector("x")
    f = theano.function([x], T.exp(x), profile=True)
    f.profile.summary()
    assert "measures" in capsys.readouterr().err
    assert callable(f.profile)


def test_many_calls(theano: Any) -> None:
    w = theano.shared(0.0)
    theano.function([], updates=[(w, w + 1)]).fn(n_calls=3)
    assert w.get_value() == 3


def test_downcasting(theano: Any, T: Any) -> None:
    i, b = T.ivector("i"), T.bscalar("b")
    f = theano.function([i, b], i * b, allow_input_downcast=True)
    assert f(np.array([1.9, -1.9]), 2.5).tolist() == [2, -2]
    assert f([1.9, 3], 258).tolist() == [2, 6]
    g = theano.function([theano.In(i, allow_downcast=True), b], i * b)
    assert g([1.9, -1.9], 2).tolist() == [2, -2]
    with pytest.raises(TypeError):
        g([1, 2], 2.5)
    h = theano.function([T.fvector("x")], [], allow_input_downcast=False, on_unused_input="ignore")
    with pytest.raises(TypeError):
        h([0.1])
