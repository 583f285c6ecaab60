"""`theano.printing`: expressions as text and pictures, and values as they are computed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from typing import Any

from jitgraph.errors import MissingPackageError
from jitgraph.ir.values import Value, topological
from jitgraph.tensor import opaque as operators
from jitgraph.tensor.shared import SharedVariable
from jitgraph.theano.variables import Shape, as_tensor_variable, spoken

#: Ops that are written between or in front of their operands, by how tightly they bind.
_BETWEEN = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//",
    "remainder": "%", "power": "**", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "equal": "==", "not_equal": "!=", "matmul": "\\dot",
}  # fmt: skip
_IN_FRONT = {"negative": "-", "invert": "~"}


# --- in one line -------------------------------------------------------------------------------
def pp(*args: Any) -> str:
    """An expression in one line."""
    return ", ".join(_line(_root(a), {}) for a in args)


def _root(given: Any) -> Any:
    if isinstance(given, Shape):
        return given.vector()
    return given


def _line(root: Any, known: dict[Value, str]) -> str:
    if not isinstance(root, Value):
        return str(root)
    for value in topological([root]):
        known[value] = _term(value, known)
    return known[root]


def _term(value: Value, known: dict[Value, str]) -> str:
    op = value.op
    if value.literal is not None:
        return _number(value)
    if op is None:
        return value.name or f"<{value.type!r}>"
    operands = [known[a] for a in op.args]
    if op.name in _BETWEEN and len(operands) == 2:
        return f"({operands[0]} {_BETWEEN[op.name]} {operands[1]})"
    if op.name in _IN_FRONT:
        return f"({_IN_FRONT[op.name]}{operands[0]})"
    if op.name == "transpose" and len(operands) == 1:
        return f"{operands[0]}.T"
    return f"{op.name}({', '.join(operands)})"


def _number(value: Value) -> str:
    assert value.literal is not None
    array = value.literal.array
    if array.size == 1:
        return f"TensorConstant{{{array.reshape(())}}}"
    return f"TensorConstant of shape {array.shape}"


# --- as a tree ---------------------------------------------------------------------------------
def debugprint(
    obj: Any, depth: int = -1, print_type: bool = False, file: Any = None, ids: str = "CHAR",
    stop_on_name: bool = False, done: Any = None, print_storage: bool = False,
    print_clients: bool = False, used_ids: Any = None,
) -> Any:  # fmt: skip
    """Print an expression, several of them, or a compiled function as a tree; file="str" gives the
    text instead."""
    lines: list[str] = []
    names: dict[Value, str] = {}
    for root in _roots(obj):
        _tree(root, "", "", depth, print_type, ids, stop_on_name, names, lines)
    text = "\n".join(lines)
    if file == "str":
        return text + "\n"
    print(text, file=file or sys.stdout)
    return file


def _roots(obj: Any) -> list[Value]:
    if isinstance(obj, list | tuple) and not isinstance(obj, Shape):
        return [root for item in obj for root in _roots(item)]
    if hasattr(obj, "compilation"):
        return list(obj.compilation.optimised.results)
    if hasattr(obj, "outputs"):
        return list(obj.outputs)
    return [_root(obj)]


def _tree(
    value: Value, prefix: str, below: str, depth: int, types: bool, ids: str, stop_on_name: bool,
    names: dict[Value, str], lines: list[str],
) -> None:  # fmt: skip
    pending = [(value, prefix, below, depth)]
    while pending:
        value, prefix, below, left = pending.pop()
        again = value in names
        mark = names.setdefault(value, _letters(len(names)))
        shown = f" [id {mark}]" if ids == "CHAR" else ""
        lines.append(f"{prefix}{_label(value)}{shown}{f' <{value.type!r}>' * types}"
                     f"{_named(value)}")  # fmt: skip
        if value.op is None or value.literal is not None or left == 1:
            continue
        if again or (stop_on_name and value.name):
            continue
        operands = value.op.args
        for k, operand in reversed(list(enumerate(operands))):
            last = k == len(operands) - 1
            pending.append((operand, below + " |", below + ("  " if last else " |"), left - 1))


def _label(value: Value) -> str:
    if value.literal is not None:
        return _number(value)
    if value.op is None:
        return value.name or f"<{value.type!r}>"
    return str(value.op.name)


def _named(value: Value) -> str:
    named = value.op is not None and value.literal is None and value.name
    return f" '{value.name}'" if named else ""


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def min_informative_str(obj: Any, indent_level: int = 0, _prev_obs: Any = None,
                        _tag_generator: Any = None) -> str:  # fmt: skip
    """An expression as a tree with letters."""
    return str(debugprint(obj, file="str")).rstrip()


def var_descriptor(obj: Any, _prev_obs: Any = None, _tag_generator: Any = None) -> str:
    """A text that tells expressions apart."""
    return min_informative_str(obj)


def hex_digest(x: Any) -> str:
    """A hash of an array."""
    return hashlib.sha256(x.tobytes()).hexdigest() + f"|strides={x.strides}|shape={x.shape}"


# --- as a picture ------------------------------------------------------------------------------
def dot_text(roots: Iterable[Value]) -> str:
    """The graph in Graphviz's language."""
    roots = list(roots)
    order = topological(roots)
    number = {value: k for k, value in enumerate(order)}
    lines = ["digraph {", "  node [fontname=Helvetica]"]
    for value in order:
        leaf = value.op is None or value.literal is not None
        colour = ("cyan" if isinstance(value, SharedVariable) else "green" if value.op is None
                  else "pink" if leaf else "lightgrey")  # fmt: skip
        shape = "box" if leaf else "ellipse"
        label = f"{_label(value)}{_named(value)}\\n{value.type!r}".replace('"', "'")
        colour = "blue, fontcolor=white" if value in roots else colour
        lines.append(f'  n{number[value]} [label="{label}", shape={shape}, style=filled, '
                     f"fillcolor={colour}]")  # fmt: skip
        operands = () if leaf or value.op is None else value.op.args
        lines += [f"  n{number[a]} -> n{number[value]}" for a in operands]
    return "\n".join([*lines, "}"])


def pydotprint(
    fct: Any, outfile: Any = None, compact: bool = True, format: str = "png",
    with_ids: bool = False, high_contrast: bool = True, cond_highlight: Any = None,
    colorCodes: Any = None, max_label_size: int = 70, scan_graphs: bool = False,  # noqa: N803
    var_with_name_simple: bool = False, print_output_file: bool = True,
    return_image: bool = False,
) -> Any:  # fmt: skip
    """Draw a graph to a file, by the program `dot` of Graphviz; `.dot` files need no program."""
    import shutil
    import subprocess

    text = dot_text(_roots(fct))
    path = str(outfile or f"theano.pydotprint.{format}")
    kind = path.rpartition(".")[2] if "." in path else format
    if kind == "dot" and not return_image:
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
    else:
        program = shutil.which("dot")
        if program is None:
            raise MissingPackageError("pydotprint draws by Graphviz, which is not installed",
                                      hint='outfile="graph.dot" writes the text')  # fmt: skip
        run = subprocess.run([program, f"-T{kind}"], input=text.encode(), stdout=subprocess.PIPE,
                             check=True)  # fmt: skip
        if return_image:
            return run.stdout
        with open(path, "wb") as handle:
            handle.write(run.stdout)
    if print_output_file:
        print("The output file is available at", path)
    return None


def pydotprint_html(fct: Any, outfile: str, **options: Any) -> None:
    """The graph as a page with a picture in SVG."""
    image = pydotprint(fct, outfile + ".svg", return_image=True)
    with open(outfile, "wb") as handle:
        handle.write(b"<!doctype html>\n" + image)


# --- values ------------------------------------------------------------------------------------
class Print(operators.Print):
    """`Print("message")(x)` is x, and prints it whenever it is computed."""

    def __init__(self, message: str = "", attrs: Any = ("__str__",),
                 global_fn: Any = operators.print_attributes) -> None:  # fmt: skip
        super().__init__(message, attrs, global_fn)

    @spoken
    def __call__(self, x: Any) -> Any:
        return super().__call__(as_tensor_variable(x))
