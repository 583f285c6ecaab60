"""Sources in Python 2, as Python 3: fissix (lib2to3's successor) rewrites what is spelled
differently, a pass over the tree what means something else: `/` of integers rounds down, and
modules that moved are found."""

from __future__ import annotations

import ast
import copy
from typing import Any

from jitgraph.errors import MissingPackageError
from jitgraph.theano import era

#: The names under which `divided` and `divided_in_place` are known to a program.
_DIVIDE, _DIVIDE_IN_PLACE = "__divide__", "__divide_in_place__"


def translated(source: str, filename: str) -> str:
    """The source with Python 3's spelling."""
    try:
        from fissix import refactor
        from fissix.fixes import fix_imports
    except ImportError:
        raise MissingPackageError(
            "Python 2 sources are translated by fissix, which is not installed",
            hint='pip install "jitgraph[py2]"',
        ) from None
    fix_imports.MAPPING.pop("cPickle", None)  # that of `era` reads what Python 2 wrote
    fixers = refactor.get_fixers_from_package("fissix.fixes")
    left_out = {"fissix.fixes.fix_input"}  # what is asked for stays text
    tool = refactor.RefactoringTool([f for f in fixers if f not in left_out])
    return str(tool.refactor_string(source.rstrip() + "\n", filename))


def divided(a: Any, b: Any) -> Any:
    """a / b as Python 2 has it: integers round down."""
    return a // b if _whole(a, b) else a / b


def divided_in_place(a: Any, b: Any) -> Any:
    """What a is after a /= b."""
    if _whole(a, b):
        a //= b
    else:
        a /= b
    return a


def _whole(*operands: Any) -> bool:
    return all(_kind(x) in "biu" for x in operands)


def _kind(x: Any) -> str:
    dtype = getattr(x, "dtype", None)
    if dtype is not None:
        return str(getattr(dtype, "kind", "O"))
    return "i" if isinstance(x, int) else "f"


class _Divisions(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        name = ast.Name(_DIVIDE, ast.Load())
        return ast.copy_location(ast.Call(name, [node.left, node.right], []), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        old = copy.deepcopy(node.target)
        old.ctx = ast.Load()
        call = ast.Call(ast.Name(_DIVIDE_IN_PLACE, ast.Load()), [old, node.value], [])
        return ast.copy_location(ast.Assign([node.target], call), node)


def compiled(source: str, filename: str) -> Any:
    """The code of a Python 2 source."""
    true_division = "from __future__ import division" in source
    tree = ast.parse(translated(source, filename), filename)
    if not true_division:
        tree = _Divisions().visit(tree)
    return compile(ast.fix_missing_locations(tree), filename, "exec")


def prepare() -> dict[str, Any]:
    """Let modules be found that moved; gives the names a program of Python 2 takes for granted."""
    era.restore_python_2()
    return {_DIVIDE: divided, _DIVIDE_IN_PLACE: divided_in_place}
