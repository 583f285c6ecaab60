"""The text of a program: what is allocated, computed and looped over, in order.

```
program @main(%x: f64[n!] contiguous) {
  let %0 = multiply 8, %dim.0 : i64[]
  kernel for i0 < %n reads x[8*i0] writes b1[8*i0] {
    %2 = exp %x0 : f64[]
    store %2 -> b1
  }
}
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitgraph.ir.kernel import (
    Access,
    Argument,
    Branch,
    Buffer,
    Call,
    Check,
    Fetch,
    Kernel,
    Let,
    Loop,
    Product,
    Program,
    Rows,
    Step,
    Store,
    View,
    Yield,
    Zero,
)
from jitgraph.ir.opdef import Size
from jitgraph.ir.order import describe
from jitgraph.ir.printer import op_line
from jitgraph.ir.types import DTYPE_NAMES
from jitgraph.ir.values import Value


def print_program(program: Program) -> str:
    """The program as text, kernels with their loops, accesses and bodies."""
    return _Writer(program).text()


class _Writer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.names: dict[Value, str] = {}
        self.lines: list[str] = []
        self.count = 0
        for k, param in enumerate(program.params):
            self.names[param] = f"%{param.name or f'arg{k}'}"

    def text(self) -> str:
        program = self.program
        params = ", ".join(
            f"{self.names[p]}: {p.type} {describe(order)}"
            for p, order in zip(program.params, program.orders, strict=True)
        )
        self.lines.append(f"program @{program.name}({params}) {{")
        for at, step in enumerate(program.steps):
            if at == program.prologue and (program.slots or program.results):
                self._memory()
            self._step(step)
        if program.prologue >= len(program.steps):
            self._memory()
        results = ", ".join(b.name for b in program.results)
        self.lines += [f"  return {results}".rstrip(), "}"]
        return "\n".join(self.lines)

    def _memory(self) -> None:
        for slot in self.program.slots:
            late = " late" if slot.late else ""
            users = [b.name for b, k in self.program.placement.items()
                     if self.program.slots[k] is slot]  # fmt: skip
            self.lines.append(
                f"  slot {slot.name}: {self._size(slot.size)} bytes for {', '.join(users)}{late}"
            )
        for buffer in self.program.results:
            guests = [t.name for t, home in self.program.inherited.items() if home is buffer]
            first = f", first {', '.join(guests)}" if guests else ""
            self.lines.append(f"  result {buffer.name}: {self._buffer_type(buffer)}{first}")

    def _buffer_type(self, buffer: Buffer) -> str:
        return f"{DTYPE_NAMES[buffer.dtype]}[{', '.join(map(self._size, buffer.extents))}]"

    # --- names ----------------------------------------------------------------------------------
    def _name(self, value: Value) -> str:
        known = self.names.get(value)
        if known is None:
            literal, op = value.literal, value.op
            if literal is not None and value.ndim == 0:
                known = str(literal.array[()])
            elif op is not None and op.name in ("dim", "stride"):
                known = f"{self._name(op.args[0])}.{op.name}{op.attrs['axis']}"
            elif op is None:
                known = f"%{value.name}" if value.name else self._fresh()
            else:
                known = self._fresh()
            self.names[value] = known
        return known

    def _fresh(self) -> str:
        self.count += 1
        return f"%{self.count - 1}"

    def _size(self, size: Size) -> str:
        return str(size) if isinstance(size, int) else self._name(size)

    # --- steps ----------------------------------------------------------------------------------
    def _step(self, step: Step) -> None:
        match step:
            case Let():
                self._op("  let ", step.value)
            case Fetch():
                self.lines.append(
                    f"  fetch {self._name(step.value)} from {step.buffer} : {step.value.type}"
                )
            case Check():
                place = step.condition.location
                where = f"  loc({place.short})" if place is not None else ""
                self.lines.append(f"  check {self._name(step.condition)}{where}")
            case Kernel():
                self._kernel(step)
            case Rows():
                self._rows(step)
            case Product():
                self._product(step)
            case Call():
                self._call(step)
            case Loop():
                self._loop(step)
            case Branch():
                self.lines.append(f"  branch on {self._name(step.condition)} writes "
                                  f"{', '.join(b.name for b in step.results)}")
                self._regions({"then": step.then, "otherwise": step.otherwise}, step.arguments)
            case Yield():
                given = ", ".join(f"{k}: {self._name(v)}" for k, v in step.values)
                self.lines.append(f"  yield {given}")
            case Zero():
                self.lines.append(f"  zero {step.buffer} : {self._buffer_type(step.buffer)}")

    def _loop(self, loop: Loop) -> None:
        back = " reverse" if loop.reverse else ""
        carried = ", ".join(f"{s.final}/{s.other}" for s in loop.state)
        outputs = ", ".join(
            f"{b.name} grown" if b.kind == "grown" else b.name for b in loop.outputs
        )
        self.lines.append(
            f"  loop {self._size(loop.steps)} steps{back} carries [{carried}] outputs [{outputs}]"
        )
        regions = {} if loop.condition is None else {"while": loop.condition}
        self._regions({**regions, "body": loop.body}, loop.arguments)

    def _regions(
        self, regions: Mapping[str, Program], arguments: Sequence[Argument | None]
    ) -> None:
        for argument in arguments:
            if argument is not None:
                self.lines.append(f"    given {self._argument(argument)}")
        for name, program in regions.items():
            first, *rest = print_program(program).splitlines()
            self.lines.append(f"    {name} {first}")
            self.lines += [f"    {line}" for line in rest]

    def _argument(self, argument: Argument) -> str:
        if argument.scalar is not None:
            return self._name(argument.scalar)
        assert argument.view is not None
        rows = "" if argument.row == 0 else f" by rows of {self._size(argument.row)} bytes"
        return f"{self._view(argument.view)}{rows}"

    def _op(self, indent: str, value: Value) -> None:
        assert value.op is not None
        names = {a: self._name(a) for a in value.op.args}
        names[value] = self._name(value)
        self.lines.append(indent + op_line(value, names))

    def _rows(self, rows: Rows) -> None:
        self.lines.append(f"  rows for {self._loops(rows.kernels[0], 0, rows.depth)} {{")
        for buffer in rows.locals:
            self.lines.append(f"    local {buffer}: {self._buffer_type(buffer)}")
        inside = len(self.lines)
        for kernel in rows.kernels:
            self._kernel(kernel, rows.depth)
        self.lines[inside:] = [f"  {line}" for line in self.lines[inside:]]
        self.lines.append("  }")

    def _loops(self, kernel: Kernel, start: int, stop: int) -> str:
        loops = zip(kernel.iterators[start:stop], kernel.extents[start:stop], strict=True)
        return ", ".join(f"{it.name} < {self._size(extent)}" for it, extent in loops)

    def _kernel(self, kernel: Kernel, depth: int = 0) -> None:
        """A kernel, without the `depth` loops that it shares with others."""
        for it in kernel.iterators:
            self.names[it] = it.name or "i"
        loops = self._loops(kernel, depth, len(kernel.extents))
        self.lines.append(f"  kernel for {loops} {{" if loops else "  kernel {")
        for k, load in enumerate(kernel.loads):
            self.names[load.leaf] = f"%x{k}"
            self.lines.append(f"    %x{k} = load {self._access(load.access, kernel)}")
        for k, source in enumerate(kernel.sources):
            self.names[source.handle] = f"%a{k}"
            self.lines.append(f"    %a{k} = array {self._view(source.view)}")
        for value in kernel.body():
            if value.literal is None:
                self._op("    ", value)
        for store in kernel.stores:
            self.lines.append(f"    {self._store(store, kernel)}")
        self.lines.append("  }")

    def _access(self, access: Access, kernel: Kernel) -> str:
        parts = [] if access.offset == 0 else [self._size(access.offset)]
        for it, stride in zip(kernel.iterators, access.strides, strict=True):
            if not (isinstance(stride, int) and stride == 0):
                parts.append(f"{self._size(stride)}*{it.name}")
        return f"{access.buffer}[{' + '.join(parts) or '0'}]"

    def _view(self, view: View) -> str:
        strides = ", ".join(map(self._size, view.strides))
        return f"{view.buffer} offset {self._size(view.offset)} strides [{strides}]"

    def _store(self, store: Store, kernel: Kernel) -> str:
        verb = "store"
        if store.combine is not None:
            place = "in register" if store.in_register else "in memory"
            loops = ", ".join(kernel.iterators[k].name or "" for k in sorted(store.reduced))
            what = store.combine if store.places is None else f"place of {store.combine}"
            if store.running is not None:
                what, loops = f"running {what}", kernel.iterators[store.running].name or ""
            verb = f"{what} over {loops or 'nothing'} {place}"
        at = "".join(f" + {self._size(s)}*{self._name(i)}" for i, s in store.indices)
        what = self._name(store.value)
        return f"{verb} {what} -> {self._access(store.access, kernel)}{at}"

    def _product(self, step: Product) -> None:
        sizes: Sequence[Size] = (*step.batch, step.rows, step.columns, step.inner)
        self.lines.append(
            f"  product [{' x '.join(map(self._size, sizes))}] ({self._view(step.out)}) = "
            f"({self._view(step.left)}) @ ({self._view(step.right)})"
            f"{' then' if step.epilogue is not None else ''}"
        )
        if step.epilogue is not None:
            inside = len(self.lines)
            self._kernel(step.epilogue.kernel)
            self.lines[inside:] = [f"  {line}" for line in self.lines[inside:]]

    def _call(self, step: Call) -> None:
        outputs, inputs = (
            ", ".join(f"({self._view(view)})" for view in views)
            for views in (step.outputs, step.inputs)
        )
        name = "|".join(step.routine.symbols)
        if len(step.routine.symbols) > 1:
            name += f"[{self._size(step.choice)}]"
        batch, core = (" x ".join(map(self._size, sizes)) for sizes in (step.batch, step.core))
        then = " then" if step.epilogue is not None else ""
        self.lines.append(f"  call {name} [{batch}] [{core}] {outputs} = {inputs}{then}")
        if step.epilogue is not None:
            inside = len(self.lines)
            if (image := step.epilogue.image) is not None:
                self.lines.append(f"  image {image}: {self._buffer_type(image)}")
            self._rows(step.epilogue.rows)
            self.lines[inside:] = [f"  {line}" for line in self.lines[inside:]]
