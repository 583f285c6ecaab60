"""`python -m jitgraph.theano [--py2] program.py [arguments]`: run a program of Theano's era."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

from jitgraph.theano import python2
from jitgraph.theano.finder import install


class _Loader2(SourceFileLoader):
    """Loads modules beside a Python 2 program, which are Python 2 as well."""

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return python2.compiled(self.get_data(path).decode("utf-8", "replace"), path)

    def exec_module(self, module: Any) -> None:
        module.__dict__.update(python2.prepare())
        exec(self.get_code(module.__name__), module.__dict__)


class _Finder2(MetaPathFinder):
    """Finds the modules beside a Python 2 program."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, [self.folder] if path is None else path)
        origin = (spec.origin if spec is not None else None) or ""
        if spec is None or not origin.endswith(".py") or not _is_below(origin, self.folder):
            return None
        spec.loader = _Loader2(fullname, origin)
        return spec


def _is_below(path: str, folder: str) -> bool:
    return os.path.abspath(path).startswith(os.path.abspath(folder) + os.sep)


def run_python2(program: str) -> dict[str, Any]:
    """Run a Python 2 program as `__main__`; gives its names."""
    with open(program, encoding="utf-8", errors="replace") as handle:
        source = handle.read()
    finder = _Finder2(os.path.dirname(os.path.abspath(program)))
    sys.meta_path.insert(0, finder)
    before, module = sys.modules["__main__"], ModuleType("__main__")
    module.__dict__.update(__file__=program, **python2.prepare())
    sys.modules["__main__"] = module
    try:
        exec(python2.compiled(source, program), module.__dict__)
    finally:
        sys.modules["__main__"] = before
        sys.meta_path.remove(finder)
    return module.__dict__


def main(arguments: list[str]) -> None:
    """Run the program that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m jitgraph.theano", description=__doc__)
    parser.add_argument("--py2", action="store_true", help="the program is written in Python 2")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    install(era=True)
    sys.argv = [chosen.program, *chosen.arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(chosen.program)))
    if chosen.py2:
        run_python2(chosen.program)
    else:
        runpy.run_path(chosen.program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
