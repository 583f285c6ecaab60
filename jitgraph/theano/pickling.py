"""`theano.misc.pkl_utils`: objects that hold graphs and shared variables, in files."""

from __future__ import annotations

import pickle
from typing import Any

StripPickler = pickle.Pickler


class PersistentNdarrayID:
    """A way of writing arrays apart; pickles hold them anyway."""

    def __init__(self, *args: Any) -> None:
        self.args = args


def dump(obj: Any, file_handler: Any, protocol: int = pickle.HIGHEST_PROTOCOL,
         persistent_id: Any = None) -> None:  # fmt: skip
    """Write an object to a file."""
    pickle.dump(obj, file_handler, protocol)


def load(f: Any, persistent_load: Any = None) -> Any:
    """What `dump` wrote. Only open what you trust: a pickle can run any code."""
    return pickle.load(f)
