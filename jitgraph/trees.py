"""Trees: containers of arrays, taken apart into their leaves and put together again.

Dicts, lists, tuples, named tuples and dataclasses are nodes, None is a node without children, and
everything else is a leaf. `register` makes nodes of other classes. What remains of a tree without
its leaves, its *structure*, is hashable: functions are traced once for each.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from jitgraph.errors import InputError

#: The class of a node, what else than its children tells it, the structures of its children; or
#: LEAF, or None.
Structure: TypeAlias = "Node | str | None"
LEAF = "*"


class Node(NamedTuple):
    """A container: its class, its keys or field names, and its children."""

    kind: type
    keys: Any
    children: tuple[Structure, ...]


#: Makes a node of its three parts, sooner than the class does.
_node: Callable[[tuple[Any, Any, Any]], Node] = partial(tuple.__new__, Node)
#: Classes of leaves, which need no second look.
_leaves: set[type] = set()
Parts = tuple[Iterable[Any], Any]
_registered: dict[type, tuple[Callable[[Any], Parts], Callable[[Any, Sequence[Any]], Any]]] = {}


def register(
    kind: type,
    parts: Callable[[Any], Parts],
    build: Callable[[Any, Sequence[Any]], Any],
) -> type:
    """Make nodes of a class: `parts(x)` gives its children and what else tells it (hashable), and
    `build(rest, children)` puts it together again."""
    _registered[kind] = parts, build
    _leaves.discard(kind)
    return kind


# --- apart ---------------------------------------------------------------------------------------
def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree, and its structure."""
    leaves: list[Any] = []
    return leaves, _structure(tree, leaves)


def _structure(tree: Any, leaves: list[Any]) -> Structure:
    if tree is None:
        return None
    kind = type(tree)
    if kind in _leaves:
        leaves.append(tree)
        return LEAF
    if kind is tuple or kind is list:
        return _node((kind, None, tuple([_structure(child, leaves) for child in tree])))
    if kind is dict or kind is OrderedDict:
        children = tuple([_structure(child, leaves) for child in tree.values()])
        return _node((kind, tuple(tree), children))
    parts = _parts_of(kind)
    if parts is None:
        _leaves.add(kind)
        leaves.append(tree)
        return LEAF
    found, keys = parts(tree)
    return _node((kind, keys, tuple([_structure(child, leaves) for child in found])))


def leaves_like(structure: Structure, tree: Any) -> list[Any] | None:
    """The leaves of a tree in the order of a structure, or None where it has another one. Dicts may
    have their keys in another order."""
    leaves, own = flatten(tree)
    if own != structure:
        leaves, own = flatten(_ordered(structure, tree))
    return leaves if own == structure else None


def _ordered(structure: Structure, tree: Any) -> Any:
    """The tree with the keys of its dicts in the order of the structure."""
    found: Any = type(tree)
    if not isinstance(structure, Node) or found is not structure.kind:
        return tree
    kind, keys, children = structure
    if kind is dict and set(tree) == set(keys):
        return {k: _ordered(child, tree[k]) for k, child in zip(keys, children, strict=True)}
    if kind in (tuple, list) and len(tree) == len(children):
        return kind(_ordered(child, x) for child, x in zip(children, tree, strict=True))
    return tree


def _parts_of(kind: type) -> Callable[[Any], Parts] | None:
    """How to take apart an instance of a class, or None for a leaf."""
    if kind in _registered:
        return _registered[kind][0]
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda tree: (tree, None)
    if dataclasses.is_dataclass(kind):
        return _fields
    return None


def _fields(instance: Any) -> Parts:
    """Fields of a dataclass; those with `metadata={"static": True}` belong to the structure."""
    own = dataclasses.fields(instance)
    static = tuple((f.name, getattr(instance, f.name)) for f in own if f.metadata.get("static"))
    names = tuple(f.name for f in own if not f.metadata.get("static"))
    return [getattr(instance, name) for name in names], (names, static)


# --- together ------------------------------------------------------------------------------------
def unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """The tree of a structure with these leaves."""
    return _built(structure, iter(leaves))


def _built(structure: Structure, leaves: Iterator[Any]) -> Any:
    if structure is None:
        return None
    if not isinstance(structure, Node):
        return next(leaves)
    kind, keys, children = structure
    made: list[Any] = [_built(child, leaves) for child in children]
    if kind is tuple or kind is list:
        return kind(made)
    if kind is dict or kind is OrderedDict:
        return kind(zip(keys, made, strict=True))
    if kind in _registered:
        return _registered[kind][1](keys, made)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, keys, made)
    return kind(*made)


def _dataclass(kind: type, keys: Any, values: Sequence[Any]) -> Any:
    names, static = keys
    made: Any = object.__new__(kind)  # as a copy is made: __post_init__ has run already
    for name, value in (*zip(names, values, strict=True), *static):
        object.__setattr__(made, name, value)
    return made


# --- several trees, and names --------------------------------------------------------------------
def spread(prefix: Any, structure: Structure, role: str) -> list[Any]:
    """One entry of `prefix` per leaf: what stands where the tree has a node counts for all below.

    None counts as an entry. Raises InputError where the two do not fit.
    """
    if isinstance(structure, Node) and type(prefix) is structure.kind and _is_node(prefix):
        entries = _entries(prefix, structure)
        if entries is None:
            raise InputError(f"{role} {prefix!r} does not fit the tree it is given for")
        pairs = zip(entries, structure.children, strict=True)
        return [entry for part, child in pairs for entry in spread(part, child, role)]
    if isinstance(prefix, list | tuple | dict):
        raise InputError(f"{role} {prefix!r} does not fit the tree it is given for")
    return [prefix] * count(structure)


def _is_node(tree: Any) -> bool:
    return isinstance(tree, list | tuple | dict) or _parts_of(type(tree)) is not None


def _entries(prefix: Any, structure: Node) -> list[Any] | None:
    if isinstance(prefix, dict):
        same = set(prefix) == set(structure.keys)
        return [prefix[key] for key in structure.keys] if same else None
    parts = _parts_of(type(prefix))
    found = list(prefix if parts is None else parts(prefix)[0])
    return found if len(found) == len(structure.children) else None


def count(structure: Structure) -> int:
    """The number of leaves."""
    if isinstance(structure, Node):
        return sum(map(count, structure.children))
    return 0 if structure is None else 1


def leaf_names(structure: Structure, name: str) -> Iterator[str]:
    """A name for each leaf, by the way that leads to it: `w`, `w.0`, `w.bias`."""
    if not isinstance(structure, Node):
        if structure is not None:
            yield name
        return
    keys: Any = structure.keys
    if dataclasses.is_dataclass(structure.kind):
        keys = keys[0]
    elif hasattr(structure.kind, "_fields"):
        keys = structure.kind._fields
    if not isinstance(keys, tuple) or len(keys) != len(structure.children):
        keys = range(len(structure.children))
    for key, child in zip(keys, structure.children, strict=True):
        yield from leaf_names(child, f"{name}.{key}")
