"""`python -m jitgraph.dump`: every stage of a compilation, readable.

    python -m jitgraph.dump examples/model.py              functions and expressions of a file
    python -m jitgraph.dump package.module:step            one of them
    python -m jitgraph.dump program.jg                     functions in text form
    python -m jitgraph.dump -e "exp(x)*y" x:f64[n] y:f64[n]
    python -m jitgraph.dump -e "exp(x)*y" x:f64[n] y:f64[n] --arch sm_90 --stage ptx
"""

from __future__ import annotations

import argparse
import importlib
import runpy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches, unified_diff
from pathlib import Path
from typing import Any

import jitgraph.tensor as T
from jitgraph.compiled import DEVICE_STAGES, STAGES, CompiledFunction, dump_stage
from jitgraph.config import Products, config
from jitgraph.driver import Compilation, Interface, default_layout
from jitgraph.errors import InputError, JitgraphError
from jitgraph.function import place
from jitgraph.ir.builder import Rewritten
from jitgraph.ir.function import Function
from jitgraph.ir.parser import parse_module
from jitgraph.ir.types import parse_type
from jitgraph.ir.values import Value, topological
from jitgraph.tensor.shared import SharedVariable
from jitgraph.tensor.variable import Variable

#: The GPU that code is shown for where nothing is said of one.
_ARCH = "sm_90"


@dataclass(slots=True)
class Target:
    """Something to show: a name and a compilation, with the rewrites that happen in it."""

    name: str
    compilation: Compilation
    rewrites: list[Rewritten] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 for input that cannot be shown."""
    options = _arguments(argv)
    try:
        targets = list(_targets(options))
        if not targets:
            raise InputError(f"{options.what} holds no function or expression of jitgraph")
        for target in targets:
            _show(target, options)
    except (JitgraphError, ImportError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m jitgraph.dump", description="Show what jitgraph makes of a program."
    )
    parser.add_argument("what", nargs="?", help="module:name, a .py file or a .jg file")
    parser.add_argument("inputs", nargs="*", help="with -e: inputs as name:type, x:f64[n]")
    parser.add_argument("-e", "--expression", help="an expression over the names of T")
    parser.add_argument("--stage", choices=[*STAGES, *DEVICE_STAGES, "all"],
                        help="default: all but llvm, asm, ptx and sass")
    parser.add_argument("--device", help="for which device: cpu, cuda, simulated")
    parser.add_argument("--arch", help="for which GPU, there or not: sm_75, sm_80, sm_90, ...")
    parser.add_argument("--passes", action="store_true", help="what each pass changes")
    parser.add_argument("--why", action="store_true", help="each rewrite: rule, contract, line")
    parser.add_argument("--time", action="store_true", help="milliseconds per stage and pass")
    parser.add_argument("--algebra", choices=["real", "ieee"], default="real")
    return parser.parse_args(argv)


# --- finding what to show ----------------------------------------------------------------------
def _targets(options: argparse.Namespace) -> Iterator[Target]:
    if options.expression is not None:
        inputs = [i for i in (options.what, *options.inputs) if i]
        yield _target("expression", _from_text(options.expression, inputs), options)
    elif options.what is None:
        raise InputError("nothing to show", hint="give a file, module:name, or -e EXPRESSION")
    elif options.what.endswith(".jg"):
        for name, fn in parse_module(Path(options.what).read_text()).items():
            yield _target(name, fn, options)
    elif options.what.endswith(".py"):
        namespace = runpy.run_path(options.what, run_name="__dump__")
        yield from _from_namespace(namespace, options)
    else:
        yield from _from_module(options.what, options)


def _from_text(expression: str, inputs: Sequence[str]) -> Function:
    names: dict[str, Value] = {}
    for item in inputs:
        name, colon, type_ = item.partition(":")
        if not colon or not name.isidentifier():
            raise InputError(f"{item!r} is no input", hint="write name:type, such as x:f64[n]")
        names[name] = Variable(parse_type(type_), name=name)
    try:
        code = compile(expression, "<expression>", "eval")
    except SyntaxError as error:
        raise InputError(f"{expression!r} is no expression: {error.msg}") from None
    scope = {**vars(T), "T": T, **names}
    try:
        result = eval(code, scope)
    except NameError as error:
        near = get_close_matches(str(error.name), vars(T), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            str(error), hint=f"{hint}inputs are declared after the expression: x:f64[n]"
        ) from None
    results = result if isinstance(result, list | tuple) else [result]
    used = {v for v in topological(results) if v.op is None}
    return Function([v for v in names.values() if v in used], results, name="expression")


def _from_module(what: str, options: argparse.Namespace) -> Iterator[Target]:
    module_name, _, attribute = what.partition(":")
    sys.path.insert(0, "")
    module = importlib.import_module(module_name)
    if not attribute:
        yield from _from_namespace(vars(module), options)
        return
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(f"{module_name} has no {attribute}")
        found = getattr(found, part)
    if callable(found) and not isinstance(found, CompiledFunction | Value):
        found = found()
    target = _as_target(attribute, found, options)
    if target is None:
        raise InputError(
            f"{what} is a {type(found).__name__}",
            hint="name a compiled function, an expression, or a function returning one",
        )
    yield target


def _from_namespace(namespace: dict[str, Any], options: argparse.Namespace) -> Iterator[Target]:
    for name, value in namespace.items():
        if name.startswith("_") or (isinstance(value, Value) and value.op is None):
            continue
        target = _as_target(name, value, options)
        if target is not None:
            yield target


def _as_target(name: str, value: Any, options: argparse.Namespace) -> Target | None:
    if isinstance(value, CompiledFunction):
        made = value.compilation
        return _logged(name, Compilation(
            made.function, made.layout, made.interface, made.algebra, **_device(options, made)
        ))  # fmt: skip
    if isinstance(value, Function):
        return _target(name, value, options)
    if isinstance(value, Value):
        leaves = [v for v in topological([value]) if v.op is None]
        return _target(name, Function(leaves, [value], name=name), options)
    return None


def _target(name: str, fn: Function, options: argparse.Namespace) -> Target:
    extents = [
        list(p.slots.get().shape) if isinstance(p, SharedVariable) else [None] * p.ndim
        for p in fn.params
    ]
    interface = Interface(
        (None,) * len(fn.params), (None,) * len(fn.results), len(fn.results) == 1
    )
    return _logged(name, Compilation(
        fn, default_layout(fn, extents), interface, options.algebra, **_device(options)
    ))  # fmt: skip


def _logged(name: str, compilation: Compilation) -> Target:
    target = Target(name, compilation)
    compilation.log = target.rewrites.append
    return target


def _device(options: argparse.Namespace, made: Compilation | None = None) -> dict[str, Any]:
    """What to compile for: what the options say, else what the function was made for."""
    how = Products(config.precision, config.products)
    arch = options.arch or (_ARCH if options.stage in DEVICE_STAGES and not made else None)
    if arch is not None:
        from jitgraph.codegen.gpu.target import device_target

        if how.products == "auto":  # nobody knows what such a machine has
            how = replace(how, products="own")
        return {"device": "cuda", "target": device_target(arch), "products": how}
    if options.device is not None:
        return {"device": place(options.device), "products": how}
    if made is None:
        return {}
    return {"device": made.device, "target": made.target, "products": made.products}


# --- showing -----------------------------------------------------------------------------------
def _show(target: Target, options: argparse.Namespace) -> None:
    compilation = target.compilation
    print(f"// ==== {target.name}")
    if options.passes:
        _show_passes(compilation)
    if options.why:
        _show_why(target)
    if options.time:
        _show_times(compilation)
    if options.stage is not None:
        print(dump_stage(compilation, options.stage))
    elif not (options.passes or options.why or options.time):
        for stage in ("graph", "optimised", "schedule"):
            print(f"// ---- {stage}\n{dump_stage(compilation, stage)}\n")


def _show_passes(compilation: Compilation) -> None:
    """The function as written, then after each pass the lines that changed."""
    before = str(compilation.graph)
    print(f"// ---- as written\n{before}")
    compilation.optimised  # noqa: B018  (runs the passes)
    for step, fn, _ in compilation.trace.stages:
        after = str(fn)
        print(f"// ---- after {step.name}: {step.reason}")
        if after == before:
            print("// nothing changed")
        else:
            lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
            print("\n".join(line for line in lines if not line.startswith(("---", "+++"))))
        before = after


def _show_why(target: Target) -> None:
    target.compilation.optimised  # noqa: B018  (runs the passes)
    print("// ---- rewrites")
    for line in target.rewrites:
        place = f"  {line.location.short}" if line.location is not None else ""
        print(f"{line.rule:24} {line.contract:14} {line.before} => {line.after}{place}")
    if not target.rewrites:
        print("// none")


def _show_times(compilation: Compilation) -> None:
    compilation.code  # noqa: B018  (compiles)
    print("// ---- milliseconds")
    for stage, seconds in compilation.times.items():
        print(f"{stage:24} {1e3 * seconds:8.2f}")
        if stage == "optimise":
            for step, _, spent in compilation.trace.stages:
                print(f"  {step.name:22} {1e3 * spent:8.2f}")
    print(f"{'total':24} {1e3 * sum(compilation.times.values()):8.2f}")


if __name__ == "__main__":
    sys.exit(main())
