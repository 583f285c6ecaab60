"""The tables: every name leads somewhere, the page says what they say, refusals say why."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jitgraph.config import config as settings
from jitgraph.theano import coverage, finder, install, names, uninstall
from jitgraph.theano.config import DEFAULTS, TheanoConfig, config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "theano.md"


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()


def test_every_name_leads_somewhere() -> None:
    for module in finder.modules():
        made = importlib.import_module(module)
        for name in finder.public_names(module):
            getattr(made, name)


def test_the_page_is_up_to_date() -> None:
    told = "run: python -m jitgraph.theano.coverage docs/theano.md"
    page = PAGE.read_text()
    assert coverage.with_table(page) == page, told


def test_refused_names_say_why() -> None:
    for whole, why in names.REFUSED.items():
        module, _, name = whole.rpartition(".")
        if module in finder.modules():
            with pytest.raises(finder.RefusedNameError, match=why[:20]):
                getattr(importlib.import_module(module), name)
        with pytest.raises(ImportError):
            importlib.import_module(whole)


def test_unknown_names_are_missing() -> None:
    import theano

    assert not hasattr(theano.tensor, "there_is_no_such_name")
    with pytest.raises(ImportError):
        importlib.import_module("theano.no_such_module")


def test_uninstall() -> None:
    uninstall()
    with pytest.raises(ImportError):
        importlib.import_module("theano")


@pytest.mark.parametrize("letter", ["", *"bwilfdcz"])
def test_constructors(letter: str) -> None:
    import theano.tensor as T

    kinds = {"scalar": 0, "vector": 1, "row": 2, "col": 2, "matrix": 2,
             **{f"tensor{n}": n for n in range(3, 8)}}  # fmt: skip
    for kind, rank in kinds.items():
        x = getattr(T, letter + kind)("x")
        assert (x.ndim, x.name) == (rank, "x")
        assert x.broadcastable == {"row": (True, False), "col": (False, True)}.get(
            kind, (False,) * rank
        )
        plural = "matrices" if kind == "matrix" else kind + "s"
        a, b = getattr(T, letter + plural)("a", "b")
        assert a.type == b.type == x.type
        assert len(getattr(T, letter + plural)(3)) == 3
    assert getattr(T, letter + "scalar")().dtype == T.TensorType.__call__(x.type).dtype


def test_types_make_variables() -> None:
    import theano.tensor as T

    type_ = T.TensorType("float32", (False, True))
    x = type_("x")
    assert x.type is type_ or x.type == type_
    assert (x.dtype, x.broadcastable, x.name) == ("float32", (False, True), "x")
    assert x.type("y").type == x.type
    assert x.dtype.startswith("float")
    assert T.dmatrix().type is T.dmatrix


def test_settings() -> None:
    own = TheanoConfig()
    for name in DEFAULTS:
        group, _, rest = name.rpartition(".")
        holder = getattr(own, group) if group else own
        setattr(holder, rest, getattr(holder, rest))
    own.warn.sum_sum_bug = False
    with pytest.warns(UserWarning, match="unknown"):
        own.never_heard_of = 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own.never_heard_of = 4  # warned before
    assert own.never_heard_of == 4
    with pytest.raises(AttributeError):
        own.nor_of_this  # noqa: B018
    own.read("floatX=float32, profile=True,blas.ldflags=-lopenblas")
    try:
        assert settings.floatX == "float32"
        assert own.profile is True
        assert own.blas.ldflags == "-lopenblas"
    finally:
        settings.floatX = "float64"


def test_float_x_is_read_when_it_counts() -> None:
    import theano
    import theano.tensor as T

    with settings.override(floatX="float64"):
        before = T.matrix()
        theano.config.floatX = "float32"
        assert (before.dtype, T.matrix().dtype) == ("float64", "float32")
        assert T.zeros((2,)).dtype == T.as_tensor_variable(0.5).dtype == "float32"
        assert (T.fmatrix() * 0.5 + 1).dtype == "float32"
        streams = T.shared_randomstreams.RandomStreams(1)
        assert streams.normal((2,)).eval().dtype == np.float32
    assert config.floatX == settings.floatX
