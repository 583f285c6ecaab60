"""`import theano` finds jitgraph: modules whose names are looked up in the tables of `names`."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.errors import JitgraphError
from jitgraph.ir.values import Value
from jitgraph.theano import names
from jitgraph.theano.variables import spoken

ROOT = "theano"


class RefusedNameError(JitgraphError, ImportError):
    """A name of Theano's that jitgraph does not have."""


class TheanoModule(ModuleType):
    """A module of Theano's. Attributes are looked up when they are first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return public_names(self.__name__)
        home = names.ALIASES.get(self.__name__, self.__name__)
        if name.startswith("__") and name not in names.TABLE[home]:
            raise AttributeError(name)
        found = resolve(self.__name__, name)
        setattr(self, name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        home = names.ALIASES.get(self.__name__, self.__name__)
        if isinstance(value, ModuleType) and name in names.TABLE[home]:
            return  # a function hides the module of its name, as it did
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *public_names(self.__name__)})


def public_names(module: str) -> list[str]:
    """The names a module of Theano's has here, its submodules included."""
    table = names.TABLE[names.ALIASES.get(module, module)]
    prefix = module + "."
    inner = (m[len(prefix):] for m in modules() if m.startswith(prefix))
    return sorted({*table, *(m for m in inner if "." not in m)})


def modules() -> list[str]:
    """All modules of Theano's that can be imported."""
    return sorted({*names.TABLE, *names.ALIASES})


def resolve(module: str, name: str) -> Any:
    """What a name means; raises AttributeError, or RefusedNameError for one that is known and
    missing."""
    whole, home = f"{module}.{name}", names.ALIASES.get(module, module)
    target = names.TABLE[home].get(name)
    if target is not None:
        return _loaded(target)
    if whole in names.TABLE or whole in names.ALIASES:
        return importlib.import_module(whole)
    if f"{home}.{name}" in names.REFUSED:
        raise RefusedNameError(f"{whole} is not there: {names.REFUSED[f'{home}.{name}']}")
    if home == "theano.tensor" and name in jt.__all__:
        return _spoken(getattr(jt, name))
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def _loaded(target: Any) -> Any:
    if not isinstance(target, str):
        return target
    place, _, name = target.partition(":")
    if not name:
        return importlib.import_module(place)
    found: Any = importlib.import_module(place)
    for part in name.split("."):
        found = getattr(found, part)
    return _spoken(found) if not place.startswith("jitgraph.theano") else found


def _spoken(found: Any) -> Any:
    return _in_single(spoken(found)) if isinstance(found, FunctionType) else found


def _in_single(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; of bools and bytes (as small constants are) it makes float32, as Theano's did,
    where NumPy's makes float16."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        if getattr(getattr(made, "type", None), "dtype", None) != np.float16:
            return made
        asked = "dtype" in kwargs or any(isinstance(a, str | np.dtype | type) for a in args)
        dtypes = [a.type.dtype for a in args if isinstance(a, Value)]
        if asked or any(d.kind not in "biu" for d in dtypes):
            return made
        return function(*(jt.cast(a, "float32") if isinstance(a, Value) else a for a in args),
                        **kwargs)  # fmt: skip

    return call


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return TheanoModule(spec.name, f"jitgraph under the name of {spec.name}")

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == ROOT:
            module.__dict__[ROOT] = module  # `from theano import theano` was possible
            importlib.import_module(f"{ROOT}.tensor")


class TheanoFinder(MetaPathFinder):
    """Serves `theano` and what is below it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ROOT and not fullname.startswith(ROOT + "."):
            return None
        if fullname in names.REFUSED:
            raise RefusedNameError(f"{fullname} is not there: {names.REFUSED[fullname]}")
        if fullname not in names.TABLE and fullname not in names.ALIASES:
            return None
        return ModuleSpec(fullname, _Loader(), is_package=True)


_FINDER = TheanoFinder()


def install(era: bool = False) -> None:
    """Let `import theano` mean jitgraph, in this process. With `era`, names that NumPy and Python
    have dropped since (`numpy.float`, `inspect.getargspec`) are put back, for everybody in it."""
    if era:
        from jitgraph.theano.era import restore

        restore()
    if _FINDER not in sys.meta_path:
        uninstall()
        sys.meta_path.insert(0, _FINDER)


def uninstall() -> None:
    """Let `import theano` mean again what it did."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
    for name in [n for n in sys.modules if n == ROOT or n.startswith(ROOT + ".")]:
        del sys.modules[name]
