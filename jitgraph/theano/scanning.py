"""`theano.scan` and its kin."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jitgraph.tensor as jt
from jitgraph.theano.functions import OrderedUpdates
from jitgraph.theano.variables import Shape, as_tensor_variable, spoken


def until(condition: Any) -> Any:
    """Given back by the function of a scan: stop after the step in which the condition holds."""
    return jt.until(condition)


def _variable(given: Any) -> Any:
    """An initial state or a sequence, as Theano would see it."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        key = next((k for k in ("initial", "input", "membuf") if k in given), None)
        if key is None or given[key] is None:
            return None
        return {**{k: v for k, v in given.items() if k in ("taps", "inplace")},
                key: as_tensor_variable(given[key])}  # fmt: skip
    return as_tensor_variable(given)


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, list | tuple) and not isinstance(given, Shape):
        return [_variable(g) for g in given]
    return [_variable(given)]


@spoken
def scan(
    fn: Any, sequences: Any = None, outputs_info: Any = None, non_sequences: Any = None,
    n_steps: Any = None, truncate_gradient: int = -1, go_backwards: bool = False,
    mode: Any = None, name: str | None = None, profile: Any = False, allow_gc: Any = None,
    strict: bool = False, return_list: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Apply `fn` step by step; gives the outputs and the updates."""
    outputs, updates = jt.scan(
        fn, _listed(sequences), None if outputs_info is None else _listed(outputs_info),
        _listed(non_sequences), n_steps, truncate_gradient, go_backwards, None, name, profile,
        allow_gc, strict, return_list,
    )  # fmt: skip
    return outputs, OrderedUpdates(OrderedDict(updates))


def scan_checkpoints(
    fn: Any, sequences: Any = None, outputs_info: Any = None, non_sequences: Any = None,
    name: str = "checkpointscan_fn", n_steps: Any = None,
    save_every_N: int = 10, padding: bool = True,  # noqa: N803  (Theano's name)
) -> tuple[Any, Any]:  # fmt: skip
    """The outputs of every `save_every_N`-th step of a scan."""
    outputs, updates = scan(fn, sequences, outputs_info, non_sequences, n_steps, name=name)
    every = slice(save_every_N - 1, None, save_every_N)
    if isinstance(outputs, list):
        return [o[every] for o in outputs], updates
    return outputs[every], updates


def map(fn: Any, sequences: Any, non_sequences: Any = None, truncate_gradient: int = -1,
        go_backwards: bool = False, mode: Any = None, name: str | None = None) -> Any:  # fmt: skip
    """`fn` of every row; and the updates."""
    return scan(fn, sequences, None, non_sequences, None, truncate_gradient, go_backwards, mode,
                name)  # fmt: skip


def reduce(
    fn: Any, sequences: Any, outputs_info: Any, non_sequences: Any = None,
    go_backwards: bool = False, mode: Any = None, name: str | None = None,
) -> Any:  # fmt: skip
    """The last output over the rows; and the updates."""
    outputs, updates = scan(fn, sequences, outputs_info, non_sequences, None, -1, go_backwards,
                            mode, name)  # fmt: skip
    if isinstance(outputs, list):
        return [o[-1] for o in outputs], updates
    return outputs[-1], updates


def foldl(fn: Any, sequences: Any, outputs_info: Any, non_sequences: Any = None,
          mode: Any = None, name: str | None = None) -> Any:  # fmt: skip
    """`reduce` from the first row to the last."""
    return reduce(fn, sequences, outputs_info, non_sequences, False, mode, name)


def foldr(fn: Any, sequences: Any, outputs_info: Any, non_sequences: Any = None,
          mode: Any = None, name: str | None = None) -> Any:  # fmt: skip
    """`reduce` from the last row to the first."""
    return reduce(fn, sequences, outputs_info, non_sequences, True, mode, name)
