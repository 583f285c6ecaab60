"""Programs of Theano's era run as they are, and reach their figures."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from examples import datasets
from jitgraph.config import config
from jitgraph.theano import uninstall
from jitgraph.theano.__main__ import main

FOLDER = Path(__file__).resolve().parent / "programs"
ROOT = FOLDER.parent.parent.parent
#: What programs import from each other runs within them.
PARTS = {"digits"}
PROGRAMS = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in PARTS)
#: Those that read digits, 8 x 8 or 28 x 28.
READERS = [n for n in PROGRAMS if n != "hmc" and not n.endswith("_py2")]
#: MNIST, where the environment names it, or where a folder beside the checkout holds it.
BESIDE = sorted(ROOT.parent.glob("*/data/mnist/t10k-images-idx3-ubyte*"))
MNIST = os.environ.get(datasets.VARIABLE) or (str(BESIDE[0].parent) if BESIDE else "")
IMAGES = "2000"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Programs change settings, the path and the modules, and get what NumPy has dropped."""
    names = {module: set(vars(module)) for module in (np, collections, time)}
    with pytest.MonkeyPatch.context() as patch, config.override(floatX="float64"):
        patch.delenv(datasets.VARIABLE, raising=False)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "argv", [*sys.argv])
        yield
    for module, had in names.items():
        for name in set(vars(module)) - had:
            delattr(module, name)
    uninstall()
    for name in PROGRAMS + sorted(PARTS):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", [n for n in PROGRAMS if not n.endswith("_py2")])
def test_program(name: str) -> None:
    main([str(FOLDER / f"{name}.py")])


@pytest.mark.skipif(not MNIST, reason="there is no MNIST")
@pytest.mark.parametrize("name", READERS)
def test_program_on_mnist(name: str) -> None:
    main([str(FOLDER / f"{name}.py"), MNIST, IMAGES])


def test_python_2_from_the_command_line() -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    program = str(FOLDER / "tutorial_py2.py")
    done = subprocess.run(
        [sys.executable, "-m", "jitgraph.theano", "--py2", program, "--an", "argument"],
        env={**os.environ, "PYTHONPATH": path, "THEANO_FLAGS": "device=cpu,openmp=True"},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "openmp: True ['--an', 'argument']" in done.stdout


def test_in_single_precision() -> None:
    with config.override(floatX="float32"):
        main([str(FOLDER / "logistic_sgd.py")])
