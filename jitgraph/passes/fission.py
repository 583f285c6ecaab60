"""Loop fission: matrix products that need not be inside a loop are one product outside it.

    before   h' = tanh(x @ w + h @ u)  for rows x of xs   =>   xs @ w, once; h' = tanh(xw + h @ u)
             g' = d @ u.T                                 =>   u turned in memory, once
    after    y = d @ w, an output                         =>   d, an output; ys = ds @ w
             total' = total + outer(x, d), a running sum  =>   d, an output; total + xs.T @ ds

A product of many rows is faster than as many products of few. Running sums of products of matrices
stay: what they take is in the caches, and a product over all steps reads it from memory. What is
done after a loop needs an array that the loop would not have written: only where one of its
operands is there row by row anyway, so that memory grows by a constant factor at most.

Source: Appleyard, Kocisky and Blunsom, "Optimizing Performance of Recurrent Neural Networks on
GPUs" (2016), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitgraph.errors import BatchingError
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import AsWritten, Size, apply_op, building_with
from jitgraph.ir.ops.bundles import ITEM, items
from jitgraph.ir.ops.control import LOOP, LoopParts, loop
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.movement import dims, reshape, transpose
from jitgraph.ir.substitution import substituted
from jitgraph.ir.types import Type
from jitgraph.ir.values import Op, Value, topological
from jitgraph.passes.batching import batched

#: What a value of a body depends on, at most: nothing that changes, rows, what is carried.
_STEADY, _ROWS, _STATE = range(3)


def fissioned(fn: Function, *, reorders: bool) -> Function:
    """`fn` with products moved out of its loops; itself where there are none. `reorders`: sums may
    be taken in another order."""
    new: dict[Value, Value] = {p: p for p in fn.params}
    parted: dict[Value, list[Value]] = {}
    with building_with(AsWritten()):
        for old in fn.ops:
            op = old.op
            assert op is not None
            if op.definition is ITEM and op.args[0] in parted:
                new[old] = parted[op.args[0]][op.attrs["index"]]
                continue
            args = tuple(new[a] for a in op.args)
            if op.definition is LOOP:
                fission = _Fission(op, args, reorders=reorders)
                if fission.helps():
                    parted[old] = fission.items()
            same = all(a is b for a, b in zip(args, op.args, strict=True))
            new[old] = old if same else apply_op(op.definition, args, op.attrs, op.location)
    if not parted:
        return fn
    results, checks = ([new[v] for v in own] for own in (fn.results, fn.checks))
    return Function(fn.params, results, checks=checks, name=fn.name)


@dataclass(frozen=True, slots=True)
class _After:
    """A product of every step, `left @ right`: an output of its own where the right operand is
    `steady`, else the outer one of two vectors, added up."""

    left: Value
    right: Value
    steady: bool


class _Fission:
    """One loop, and the products that can leave it."""

    def __init__(self, op: Op, args: tuple[Value, ...], *, reorders: bool) -> None:
        self.args, self.attrs = args, op.attrs
        self.parts = parts = LoopParts.of(len(args), op.attrs)
        self.body: Function = op.attrs["body"]
        params, self.results = self.body.params, self.body.results
        first, rows = 1 + len(parts.carried), 1 + len(parts.carried) + len(parts.sequences)
        self.carried, self.rows, self.captured = params[1:first], params[first:rows], params[rows:]
        self._level = dict.fromkeys(params[:first], _STATE) | dict.fromkeys(self.rows, _ROWS)
        self.users: dict[Value, list[Value]] = {}
        for value in self.body.ops:
            for arg in value.op.args if value.op is not None else ():
                self._level[value] = max(self.level(value), self.level(arg))
                self.users.setdefault(arg, []).append(value)
        self.before = {} if op.attrs["condition"] is not None else self._find_before()
        self.collected = {*self.results[len(self.carried) :], *self.rows}
        self.sums = self._find_sums() if reorders else {}
        for after in self.sums.values():
            self.collected |= {after.left, after.right}
        self.outputs = self._find_outputs()
        self.turned = self._find_turned()

    def level(self, value: Value) -> int:
        return self._level.get(value, _STEADY)

    def helps(self) -> bool:
        return bool(self.before or self.sums or self.outputs or self.turned)

    # --- what can leave --------------------------------------------------------------------------
    def _find_before(self) -> dict[Value, Value]:
        """Products of rows alone, and what they are for all steps."""
        found: dict[Value, Value] = {}
        for value in self.body.ops:
            if value.is_op("matmul") and self.level(value) == _ROWS:
                assert value.op is not None
                a, b = value.op.args
                vector = b.ndim == 1 and a.ndim == 2
                left, right = (b, transpose(a, (1, 0))) if vector else (a, b)
                if right.ndim == 2 and left.ndim <= 2 and self._is_steady(right):
                    try:
                        found[value] = self._product(left, right)
                    except BatchingError:
                        continue
        return found

    def _is_steady(self, value: Value) -> bool:
        """Also of a view that was made here, which the body does not know."""
        base = value.op.args[0] if value.is_op("transpose") and value.op is not None else value
        return self.level(base) == _STEADY

    def _product(self, left: Value, right: Value) -> Value:
        """A product with a steady matrix, for the rows of all steps."""
        of = dict(zip(self.rows, (self.args[k] for k in self.parts.sequences), strict=True))
        (rows, _), (matrix, _) = batched([left, right], of, self.steps(), self._same())
        return _of_rows(rows, matrix)

    def _same(self) -> dict[Value, Value]:
        return dict(zip(self.captured, (self.args[k] for k in self.parts.captured), strict=True))

    def steps(self) -> Size:
        return self.args[0] if self.parts.bound is not None else self.attrs["steps"]

    def _find_sums(self) -> dict[int, _After]:
        """What is carried only to add products up, of which one operand is collected anyway."""
        found: dict[int, _After] = {}
        for k, (param, result) in enumerate(zip(self.carried, self.results, strict=False)):
            added = self._added(param, result)
            if added is None or self._is_read(param, result) or self._is_read(result, None, k):
                continue
            after = _outer(added)
            if after is not None and not self.collected.isdisjoint((after.left, after.right)):
                found[k] = after
        return found

    def _added(self, param: Value, result: Value) -> Value | None:
        """What a step adds to a running sum."""
        if not result.is_op("add") or result.op is None or param not in result.op.args:
            return None
        a, b = result.op.args
        other = b if a is param else a
        return None if other is param or self.users.get(other, ()) != [result] else other

    def _is_read(self, value: Value, by: Value | None, position: int | None = None) -> bool:
        """Whether anything but `by`, and the result at `position`, needs the value."""
        users = [u for u in self.users.get(value, ()) if u is not by and not u.is_op("dim")]
        results = [k for k, r in enumerate(self.results) if r is value and k != position]
        condition: Function | None = self.attrs["condition"]
        if condition is None or value not in self.carried:
            return bool(users or results)
        param = condition.params[1 + self.carried.index(value)]
        return bool(users or results) or param in topological(condition.results)

    def _find_outputs(self) -> dict[int, _After]:
        """Outputs that are products of what is collected anyway with a matrix."""
        found: dict[int, _After] = {}
        for k in range(len(self.carried), len(self.results)):
            value = _unsqueezed(self.results[k])
            if not value.is_op("matmul") or value.op is None:
                continue
            left, right = value.op.args
            left = _unsqueezed(left) if self.results[k].ndim == 1 else left
            fits = left.ndim == self.results[k].ndim and right.ndim == 2
            fits = fits and not self._is_read(self.results[k], None, k)
            if fits and self.level(right) == _STEADY and left in self.collected:
                found[k] = _After(left, right, steady=True)
        return found

    def _find_turned(self) -> dict[Value, Value]:
        """Captured matrices that products want transposed, and what they are in that order."""
        same = self._same()
        return {
            v: transpose(same[v.op.args[0]], (1, 0)) for v in self.body.ops
            if v.is_op("transpose") and v.op is not None and v.ndim == 2 and v.op.args[0] in same
            and all(u.is_op("matmul") and self.level(u) == _STATE for u in self.users.get(v, ()))
        }  # fmt: skip

    # --- the loop without them -------------------------------------------------------------------
    def items(self) -> list[Value]:
        """What the results of the loop are now."""
        count = len(self.carried)
        state = [k for k in range(count) if k not in self.sums]
        kept = [k for k in range(count, len(self.results)) if k not in self.outputs]
        wanted = [v for a in (*self.sums.values(), *self.outputs.values())
                  for v in ((a.left,) if a.steady else (a.left, a.right)) if v not in self.rows]
        outputs = list(dict.fromkeys([*(self.results[k] for k in kept), *wanted]))
        rows = {v: _param(v, "product") for v in self.before}
        turned = {v: _param(v, "turned") for v in self.turned}
        #: Initial values of sums, of which checks may want to know the extents.
        starts = {self.carried[k]: _param(self.carried[k], "start") for k in self.sums}
        results = substituted([*(self.results[k] for k in state), *outputs, *self.body.checks],
                              rows | turned | starts)  # fmt: skip
        split = len(state) + len(outputs)
        params = [self.body.params[0], *(self.carried[k] for k in state), *self.rows,
                  *rows.values(), *self.captured, *turned.values(), *starts.values()]  # fmt: skip
        body = Function(params, results[:split], checks=results[split:], name=self.body.name)
        sequences = [self.args[k] for k in self.parts.sequences]
        made = items(loop(
            body, [self.args[self.parts.carried[k]] for k in state],
            [*sequences, *self.before.values()],
            [*(self.args[k] for k in self.parts.captured), *self.turned.values(),
             *(self.args[self.parts.carried[k]] for k in self.sums)],
            self.steps(), condition=self._condition(state), reverse=self.attrs["reverse"],
            truncate=self.attrs["truncate"],
        ))  # fmt: skip
        self.found: dict[Value, Value] = dict(zip(self.rows, sequences, strict=True))
        self.found.update(zip(outputs, made[len(state) : -1], strict=True))
        now: dict[int, Value] = dict(zip(state, made, strict=False))
        now.update((k, made[len(state) + outputs.index(self.results[k])]) for k in kept)
        now.update((k, self._sum(k, after)) for k, after in self.sums.items())
        now.update((k, self._output(after)) for k, after in self.outputs.items())
        return [*(now[k] for k in range(len(self.results))), made[-1]]

    def _condition(self, state: Sequence[int]) -> Function | None:
        fn: Function | None = self.attrs["condition"]
        if fn is None:
            return None
        others = fn.params[1 + len(self.carried) :]
        unread = [*self.turned, *(self.carried[k] for k in self.sums)]
        params = [fn.params[0], *(fn.params[1 + k] for k in state), *others,
                  *(_param(v, "unread") for v in unread)]  # fmt: skip
        return Function(params, fn.results, checks=fn.checks, name=fn.name)

    def _sum(self, k: int, after: _After) -> Value:
        left, right = self.found[after.left], self.found[after.right]
        total: Value = self.args[self.parts.carried[k]] + matmul(transpose(left, (1, 0)), right)
        return total

    def _output(self, after: _After) -> Value:
        ((matrix, _),) = batched([after.right], {}, self.steps(), self._same())
        return _of_rows(self.found[after.left], matrix)


def _param(like: Value, name: str) -> Value:
    """A parameter for values of this kind."""
    return Value(Type(like.dtype, (None,) * like.ndim), name=name)


def _outer(added: Value) -> _After | None:
    """The vectors of a product of a column with a row."""
    if not added.is_op("matmul") or added.op is None:
        return None
    left, right = added.op.args
    if left.ndim != 2 or right.ndim != 2:
        return None
    column, row = (_unexpanded(v, axis) for v, axis in ((left, 1), (right, 0)))
    return None if column is None or row is None else _After(column, row, steady=False)


def _unexpanded(value: Value, axis: int) -> Value | None:
    """What an axis of extent 1 was added to."""
    if value.is_op("expand_dims") and value.op is not None and value.op.attrs["axes"] == (axis,):
        return value.op.args[0]
    return None


def _unsqueezed(value: Value) -> Value:
    """What an axis of extent 1 was taken from, or added to."""
    if value.op is not None and value.op.name in ("squeeze", "expand_dims"):
        return value.op.args[0] if value.op.attrs["axes"] == (0,) else value
    return value


def _flat(rows: Value) -> Value:
    """The rows of all steps, one below the other."""
    if rows.ndim < 3:
        return rows
    steps, each, length = dims(rows)
    return reshape(rows, (steps * each, length))


def _of_rows(rows: Value, matrix: Value) -> Value:
    """The product of the rows of all steps with a matrix."""
    if rows.ndim < 3:
        return matmul(rows, matrix)
    return reshape(matmul(_flat(rows), matrix), (*dims(rows)[:2], dims(matrix)[1]))
