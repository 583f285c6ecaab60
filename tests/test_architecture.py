"""Imports point downward only, and no file grows past what a reader can hold."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "jitgraph"
#: Rooms by floor. A room may import from floors below it and from itself.
FLOORS = [
    {"errors", "location", "cpus", "config", "store", "trees"},
    {"ir"},
    {"passes", "codegen"},
    {"runtime"},
    {"device_array"},
    {"driver"},
    {"profiling"},
    {"tensor"},
    {"inputs", "modes", "calls"},
    {"plan"},
    {"transfer"},
    {"compiled"},
    {"function"},
    {"tracing", "conversions"},
    {"jit"},
    {"transforms"},
    {"lax"},
    {"__init__"},
    {"theano"},
    {"dump", "reference", "coverage", "cache"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(PACKAGE.rglob("*.py"))
LARGEST_FILE = 600


#: NumPy takes bfloat16 for a void, so `dtype.kind` does not find all floats.
FLOATS_BY_KIND = re.compile(r"""\.kind (==|!=|in|not in) ["'][a-z]*f""")


def room_of(module: str) -> str:
    """`ir` for jitgraph.ir.types, `config` for jitgraph.config, `__init__` for jitgraph itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> list[tuple[str, int, bool]]:
    """(module, line, inside a function) for every import of our own in a file."""
    found: list[tuple[str, int, bool]] = []

    def visit(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.ImportFrom) and (child.module or "").startswith("jitgraph"):
                for alias in child.names:
                    module = f"{child.module}.{alias.name}"
                    whole = PACKAGE.parent / Path(*module.split("."))
                    known = whole.with_suffix(".py").exists() or whole.is_dir()
                    found.append((module if known else str(child.module), child.lineno, inside))
            elif isinstance(child, ast.Import):
                found.extend((a.name, child.lineno, inside) for a in child.names
                             if a.name.startswith("jitgraph"))  # fmt: skip
            visit(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(ast.parse(path.read_text()), False)
    return found


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downward(path: Path) -> None:
    here = room_of(name_of(path))
    for module, line, _ in imports(path):
        there = room_of(module)
        ground = FLOOR[there] == FLOOR[here] == 0
        allowed = there == here or ground or FLOOR[there] < FLOOR[here]
        assert allowed, f"{path.name}:{line} imports {module}: {here} is not above {there}"


def test_no_import_cycles_between_files() -> None:
    edges = {name_of(p): {m for m, _, _ in imports(p)} - {name_of(p)} for p in MODULES}
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert state.get(module) != 1, "import cycle: " + " -> ".join((*path, module))
        if state.get(module) == 2:
            return
        state[module] = 1
        for target in sorted(edges.get(module, ())):
            visit(target, (*path, module))
        state[module] = 2

    for module in sorted(edges):
        visit(module, ())


def test_floats_are_told_by_kind_of() -> None:
    """The math library never sees bfloat16."""
    for path in MODULES:
        if path.parent.name != "mathlib":
            found = FLOATS_BY_KIND.findall(path.read_text())
            assert not found, f"{path.name} asks for dtype.kind: ask kind_of(dtype) (ir.types)"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LARGEST_FILE
