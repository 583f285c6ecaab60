"""Settings, as one object: `jitgraph.config.floatX = "float32"`.

Each setting is checked when it is assigned, and can be given in the environment as
`JITGRAPH_<NAME>`. `with config.override(floatX="float32"):` sets one for a while.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jitgraph.errors import OptionError

_CHOICES: dict[str, tuple[Any, ...]] = {
    "floatX": ("float64", "float32", "float16"),
    "algebra": ("real", "ieee"),
    "on_unused_input": ("raise", "warn", "ignore"),
    "cache": (True, False),
}
#: Values as the environment gives them, where they are not the text itself.
_SPELLED = {"cache": {"1": True, "0": False}}


class Config:
    """The settings of this process.

    floatX: dtype of `T.scalar()`, `T.vector()`, `T.matrix()` and friends.
    algebra: "real" lets rewrites treat variables as real numbers (each rewrite declares what it
        assumes); "ieee" keeps every bit, NaN and infinity.
    on_unused_input: what `function` does with an input that no output needs.
    cache: whether compiled code is kept on disk and found there (`python -m jitgraph.cache`).
    """

    floatX: str = "float64"  # noqa: N815  (Theano's spelling)
    algebra: str = "real"
    on_unused_input: str = "raise"
    cache: bool = True

    def __init__(self) -> None:
        for name in _CHOICES:
            if (value := os.environ.get(f"JITGRAPH_{name.upper()}")) is not None:
                setattr(self, name, _SPELLED.get(name, {}).get(value, value))

    def __setattr__(self, name: str, value: Any) -> None:
        choices = _CHOICES.get(name)
        if choices is None:
            raise OptionError(
                f"there is no setting {name!r}", hint=f"settings: {', '.join(_CHOICES)}"
            )
        if value not in choices:
            raise OptionError(
                f"{name} cannot be {value!r}", hint=f"one of: {', '.join(map(repr, choices))}"
            )
        object.__setattr__(self, name, value)

    @contextmanager
    def override(self, **settings: Any) -> Iterator[None]:
        """Change settings inside a `with` block."""
        before = {name: getattr(self, name, None) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                if value is not None:
                    object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return "\n".join(f"{name} = {getattr(self, name)!r}" for name in _CHOICES)


config = Config()
