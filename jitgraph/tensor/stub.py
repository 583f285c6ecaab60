"""Writes `__init__.pyi`, so that type checkers and editors see the functions made from tables.

`python -m jitgraph.tensor.stub` rewrites it; a test says when it is out of date.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from jitgraph.tensor.constructors import CONSTRUCTORS
from jitgraph.tensor.math import FUNCTIONS

_PACKAGE = Path(__file__).parent
_HEAD = '''"""Written by `python -m jitgraph.tensor.stub`; do not edit."""

from collections.abc import Sequence
from typing import Any, TypeAlias

'''
_ALIASES = {
    "as_tensor_variable": "as_tensor", "constant": "as_tensor", "log_softmax": "nnet.log_softmax",
    "softmax": "nnet.softmax", "gradient": "calculus.gradient",
    **dict.fromkeys(("array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray",
                     "copy"), "as_tensor"),
    "amax": "max", "amin": "min", "around": "round", "astype": "cast", "concat": "concatenate",
    "permute_dims": "transpose", "row_stack": "vstack",
}  # fmt: skip


#: What `jitgraph.transforms` puts here.
_TRANSFORMS = ("checkpoint", "custom_vjp", "value_and_grad", "verify_grad", "vmap")


def stub() -> str:
    """The text of `__init__.pyi`."""
    parts = [_HEAD, *_imports()]
    parts += (f"from jitgraph.transforms import {name} as {name}\n" for name in _TRANSFORMS)
    parts.append("\n")
    parts += (f"{alias} = {name}\n" for alias, name in _ALIASES.items())
    parts.append("inf: float\nnan: float\npi: float\nnewaxis: None\n")
    parts.append("_Name: TypeAlias = str | None\n_Shape: TypeAlias = Sequence[Any] | None\n\n")
    parts += (_elementwise(name) for name in FUNCTIONS)
    parts += (_constructor(name) for name in CONSTRUCTORS)
    parts.append("\n__all__: list[str]\n")
    return "".join(parts)


def _imports() -> Iterator[str]:
    """The names `__init__.py` takes from its modules, each re-exported."""
    tree = ast.parse((_PACKAGE / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            given = [a.name for a in node.names if a.asname is None]  # `as _name` is for ourselves
            for name in (n for n in given if n not in ("FUNCTIONS", "CONSTRUCTORS")):
                yield f"from {node.module} import {name} as {name}\n"


def _elementwise(name: str) -> str:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    listed = ", ".join(f"{p}: Any" for p in parameters)
    return f"def {name}({listed}, /) -> Variable: ...\n"


def _constructor(name: str) -> str:
    parameters = inspect.signature(CONSTRUCTORS[name]).parameters
    if "names" in parameters:
        return f"def {name}(*names: Any) -> list[Variable]: ...\n"
    types = {"name": "_Name", "dtype": "Any", "shape": "_Shape"}
    listed = ", ".join(f"{p}: {types[p]} = None" for p in parameters)
    return f"def {name}({listed}) -> Variable: ...\n"


if __name__ == "__main__":
    (_PACKAGE / "__init__.pyi").write_text(stub())
