"""What the suites use of pytest and Hypothesis, for machines that have neither.

`install` puts the two modules where `import` finds them. Examples are drawn by a generator that is
seeded with the test's name and the example's number, so a failure comes again; nothing is shrunk.
"""

from __future__ import annotations

import inspect
import random
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from types import SimpleNamespace
from typing import Any, NoReturn

#: Stands for the examples that a test asks for, where the runner wants fewer.
most_examples: int | None = None
#: An example may be refused (`assume`) so many times as often as one is taken.
_PATIENCE = 20


class Skipped(Exception):  # noqa: N818
    """A test that cannot be run here, and why."""


class Refused(Exception):  # noqa: N818
    """An example that a test does not take."""


def install() -> None:
    """Let `import pytest` and `import hypothesis` find what is here."""
    made = types.ModuleType("hypothesis")
    made.__dict__.update(
        given=given, settings=Settings, assume=assume, HealthCheck=_Anything(), strategies=st
    )
    sys.modules["hypothesis"] = made
    sys.modules["hypothesis.strategies"] = st
    sys.modules["pytest"] = _pytest()


# --- pytest --------------------------------------------------------------------------------------
def _pytest() -> Any:
    made: Any = types.ModuleType("pytest")
    made.mark, made.raises, made.fail, made.skip = _Mark(), raises, fail, skip
    made.fixture = lambda function=None, **_: function or (lambda f: f)
    made.importorskip = _importorskip
    made.param = lambda *values, id=None: values
    return made


class _Mark:
    """`pytest.mark`: parameters are kept at the function, other marks change nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **_: (lambda function: function)

    def parametrize(self, names: Any, values: Iterable[Any], ids: Any = None) -> Any:
        names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
        values = list(values)
        if ids is None or callable(ids):
            labels = [_label(v, k, ids) for k, v in enumerate(values)]
        else:
            labels = [str(label) for label in ids]

        def marked(function: Any) -> Any:
            given = [(label, dict(zip(names, value if len(names) > 1 else (value,), strict=True)))
                     for label, value in zip(labels, values, strict=True)]  # fmt: skip
            function.parameters = [*getattr(function, "parameters", []), given]
            return function

        return marked


def _label(value: Any, number: int, ids: Any) -> str:
    if ids is not None:
        return str(ids(value))
    plain = value if isinstance(value, tuple | list) else (value,)
    simple = all(isinstance(v, str | int | float) for v in plain)
    return "-".join(map(str, plain)) if simple else str(number)


@contextmanager
def raises(kind: Any, match: str | None = None) -> Iterator[SimpleNamespace]:
    """As pytest's."""
    caught = SimpleNamespace(value=None)
    try:
        yield caught
    except kind as error:
        caught.value = error
    if caught.value is None:
        raise AssertionError(f"nothing raised {kind}")
    if match is not None and not re.search(match, str(caught.value)):
        raise AssertionError(f"{match!r} is not in {caught.value}")


def fail(message: str = "") -> NoReturn:
    """As pytest's."""
    raise AssertionError(message)


def skip(reason: str = "", **_: Any) -> NoReturn:
    """As pytest's."""
    raise Skipped(reason)


def _importorskip(name: str, **_: Any) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise Skipped(f"needs {name}") from error


def fixtures(function: Any) -> set[str]:
    """Parameters of a test function that pytest alone would know a value for."""
    given = {name for found in getattr(function, "parameters", []) for _, values in found
             for name in values}  # fmt: skip
    own = inspect.signature(function).parameters
    return set(own) - given - set(getattr(function, "drawn", ()))


def instances(function: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """The tests that a test function stands for, by the labels of their parameters."""
    found: list[tuple[str, dict[str, Any]]] = [("", {})]
    for given in reversed(getattr(function, "parameters", [])):
        found = [(f"{label}-{more}" if label else more, {**values, **others})
                 for label, values in found for more, others in given]  # fmt: skip
    for label, values in found:
        yield label, lambda values=values: _quietly(function, values)


def _quietly(function: Any, values: dict[str, Any]) -> None:
    """As the marks of the suites ask for: warnings are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(**values)


# --- Hypothesis ----------------------------------------------------------------------------------
class Strategy:
    """Something to draw from a generator."""

    def __init__(self, draw: Callable[[random.Random], Any]) -> None:
        self.draw = draw

    def __class_getitem__(cls, of: Any) -> Any:
        return cls

    def map(self, function: Callable[[Any], Any]) -> Strategy:
        return Strategy(lambda rng: function(self.draw(rng)))


class _Strategies(types.ModuleType):
    """`hypothesis.strategies`. Small numbers and the first of a list come up most often."""

    SearchStrategy = Strategy
    DataObject = Any

    @staticmethod
    def integers(low: int, high: int) -> Strategy:
        return Strategy(lambda rng: rng.randint(low, high))

    @staticmethod
    def booleans() -> Strategy:
        return Strategy(lambda rng: rng.random() < 0.5)

    @staticmethod
    def just(value: Any) -> Strategy:
        return Strategy(lambda rng: value)

    @staticmethod
    def sampled_from(values: Sequence[Any]) -> Strategy:
        values = list(values)
        return Strategy(lambda rng: rng.choice(values))

    @staticmethod
    def one_of(*several: Strategy) -> Strategy:
        return Strategy(lambda rng: rng.choice(several).draw(rng))

    @staticmethod
    def tuples(*several: Strategy) -> Strategy:
        return Strategy(lambda rng: tuple(s.draw(rng) for s in several))

    @staticmethod
    def permutations(values: Sequence[Any]) -> Strategy:
        values = list(values)
        return Strategy(lambda rng: rng.sample(values, len(values)))

    @staticmethod
    def lists(of: Strategy, min_size: int = 0, max_size: int | None = None) -> Strategy:
        most = min_size + 4 if max_size is None else max_size

        def draw(rng: random.Random) -> list[Any]:
            return [of.draw(rng) for _ in range(rng.randint(min_size, most))]

        return Strategy(draw)

    @staticmethod
    def sets(of: Strategy, min_size: int = 0) -> Strategy:
        def draw(rng: random.Random) -> set[Any]:
            found = {of.draw(rng) for _ in range(rng.randint(min_size, min_size + 3))}
            while len(found) < min_size:
                found.add(of.draw(rng))
            return found

        return Strategy(draw)

    @staticmethod
    def data() -> Strategy:
        return Strategy(lambda rng: SimpleNamespace(draw=lambda strategy: strategy.draw(rng)))

    @staticmethod
    def composite(function: Callable[..., Any]) -> Callable[..., Strategy]:
        def made(*args: Any, **kwargs: Any) -> Strategy:
            return Strategy(lambda rng: function(lambda s: s.draw(rng), *args, **kwargs))

        return made


class _Anything:
    """Has every attribute."""

    def __getattr__(self, name: str) -> str:
        return name


class Settings:
    """How many examples there are; what else Hypothesis can be told changes nothing."""

    def __init__(self, base: Settings | None = None, *, max_examples: int | None = None, **_: Any):
        self.examples = max_examples or (base.examples if base is not None else 100)

    def __call__(self, function: Any) -> Any:
        function.examples = self.examples
        return function


def assume(condition: Any) -> None:
    """As Hypothesis'."""
    if not condition:
        raise Refused


def given(*strategies: Strategy) -> Callable[[Any], Any]:
    """Run the test with examples; the first that fails ends it, and is told."""

    def marked(function: Any) -> Any:
        drawn = list(inspect.signature(function).parameters)[-len(strategies) :]

        @wraps(function)
        def run(**fixed: Any) -> None:
            wanted: int = getattr(run, "examples", 100)  # type: ignore[attr-defined]
            wanted = min(wanted, most_examples or wanted)
            taken = number = 0
            while taken < wanted and number < _PATIENCE * wanted:
                rng = random.Random(f"{function.__name__} {number}")
                number += 1
                try:
                    values = [s.draw(rng) for s in strategies]
                    function(**fixed, **dict(zip(drawn, values, strict=True)))
                    taken += 1
                except Refused:
                    continue
                except Exception as error:
                    error.add_note(f"example {number - 1} of {function.__name__}")
                    raise

        run.drawn = drawn  # type: ignore[attr-defined]
        return run

    return marked


st = _Strategies("hypothesis.strategies")
