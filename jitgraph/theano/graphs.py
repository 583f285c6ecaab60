"""`theano.gof.graph`: walking over expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jitgraph.errors import InputError
from jitgraph.ir.substitution import substituted
from jitgraph.ir.values import Value, topological
from jitgraph.tensor.operands import speaking
from jitgraph.theano.types import type_as_seen
from jitgraph.theano.variables import Apply, TensorVariable


class MethodNotDefined(Exception):  # noqa: N818  (Theano's name)
    """A method that an Op does not have."""


class InconsistencyError(Exception):
    """A graph that cannot be."""


MissingInputError = InputError
none = None


def ancestors(variable_list: Iterable[Value], blockers: Any = None) -> list[Value]:
    """All that the variables are made of, themselves included."""
    return topological(list(variable_list), stop=frozenset(blockers or ()))


def inputs(variable_list: Iterable[Value], blockers: Any = None) -> list[Value]:
    """What the variables are made of that nothing made: inputs, shared variables, constants."""
    return [v for v in ancestors(variable_list, blockers) if v.op is None or v.literal is not None]


def variables(i: Iterable[Value], o: Iterable[Value]) -> list[Value]:
    """All between inputs and outputs."""
    return ancestors([*o, *i], blockers=i)


def orphans(i: Iterable[Value], o: Iterable[Value]) -> list[Value]:
    """What the outputs are made of besides the inputs."""
    given = set(i)
    return [v for v in inputs(o, given) if v not in given]


def _applies(values: Iterable[Value]) -> list[Apply]:
    return [Apply.of(v) for v in values if v.op is not None and v.literal is None]


def ops(i: Iterable[Value], o: Iterable[Value]) -> list[Apply]:
    """The applications between inputs and outputs."""
    return _applies(variables(i, o))


list_of_nodes = ops


def io_toposort(i: Iterable[Value], o: Iterable[Value], orderings: Any = None) -> list[Apply]:
    """The applications between inputs and outputs, arguments first."""
    return _applies(ancestors(o, blockers=i))


def stack_search(start: Iterable[Any], expand: Callable[[Any], Any], mode: str = "bfs",
                 build_inv: bool = False) -> list[Any]:  # fmt: skip
    """All that can be reached by `expand`."""
    pending, found = list(start), {}
    while pending:
        item = pending.pop(0 if mode == "bfs" else -1)
        if id(item) not in found:
            found[id(item)] = item
            pending += expand(item) or ()
    return list(found.values())


def clone(i: Sequence[Value], o: Sequence[Value], copy_inputs: bool = True) -> Any:
    """The graph with inputs of its own."""
    fresh = [type_as_seen(v.type)(v.name) for v in i] if copy_inputs else list(i)
    return fresh, substituted(o, dict(zip(i, fresh, strict=True)))


def view_roots(r: Value) -> list[Value]:
    """The variable itself: nothing is a view."""
    return [r]


def is_in_ancestors(l_node: Apply, f_node: Apply) -> bool:
    """Whether an application depends on another."""
    return f_node.out in ancestors([l_node.out])


def is_same_graph(var1: Value, var2: Value, givens: Any = None) -> bool:
    """Whether two expressions compute the same from the same inputs."""
    pairs = givens.items() if isinstance(givens, Mapping) else givens or ()
    replaced = dict(pairs)
    first, second = substituted([var1, var2], replaced)
    known: dict[Value, Value] = {}
    for a, b in zip(topological([first]), topological([second]), strict=False):
        same_leaf = a.op is None and a is b
        same_op = a.op is not None and b.op is not None and (
            a.op.definition is b.op.definition and a.op.attrs == b.op.attrs
            and [known.get(x, x) for x in a.op.args] == list(b.op.args)
        )  # fmt: skip
        if not (same_leaf or same_op):
            return False
        known[a] = b
    return known.get(first, first) is second


def equal_computations(xs: Sequence[Value], ys: Sequence[Value], in_xs: Sequence[Value] = (),
                       in_ys: Sequence[Value] = ()) -> bool:  # fmt: skip
    """Whether each of xs computes what its fellow of ys does, once inputs stand for each other."""
    given = dict(zip(in_xs, in_ys, strict=True))
    return len(xs) == len(ys) and all(
        is_same_graph(x, y, given) for x, y in zip(xs, ys, strict=True)
    )


def hash_from_code(text: str) -> str:
    """A hash of a text."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def as_variables(params: Sequence[Value], results: Sequence[Value]) -> tuple[list[Any], list[Any]]:
    """A program as an expression of variables with Theano's habits."""
    new: dict[Value, Value] = {}
    for value in topological([*params, *results]):
        if value.literal is not None:
            new[value] = TensorVariable.of(value.literal.array)
        elif value.op is None:
            new[value] = TensorVariable(value.type, None, value.name, value.location)
    with speaking(TensorVariable):
        return [new[p] for p in params], substituted(results, new)


class Graph:
    """Inputs, outputs, and the applications between them."""

    def __init__(self, inputs: Sequence[Value], outputs: Sequence[Value], **options: Any) -> None:
        self.inputs, self.outputs = list(inputs), list(outputs)

    def toposort(self) -> list[Apply]:
        """The applications, arguments first."""
        return io_toposort(self.inputs, self.outputs)

    @property
    def apply_nodes(self) -> set[Apply]:
        """The applications."""
        return set(self.toposort())

    @property
    def variables(self) -> set[Value]:
        """All values."""
        return set(variables(self.inputs, self.outputs))

    def __str__(self) -> str:
        return f"[{', '.join(str(o) for o in self.outputs)}]"
