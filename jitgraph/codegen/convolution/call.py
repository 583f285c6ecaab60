"""The call of a convolution from a program, and the row nest that goes on from it, image by image.

    conv(..., f.images, context)    f.images(context, copy, image, number, first, last):
                                        f(arguments from context, number, number + 1, first, last)

The routine calls `f.images` for the channels of an image that are final. What all images add up
(the totals) each `copy` has memory of its own for; the copies are joined in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jitgraph.codegen.convolution.geometry import GIVEN, MOST_CHUNKS
from jitgraph.codegen.launch import Launcher, cost, totals_of
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import NestFunction, emit_nest, streamed_stores
from jitgraph.ir.kernel import ImageEpilogue

if TYPE_CHECKING:
    from jitgraph.codegen.calls import Operands
    from jitgraph.codegen.program import ProgramEmitter

_PARAMETERS = ", ".join(["ptr"] * 7)
_HOOK = ("ptr %context", "i64 %copy", "ptr %image", "i64 %number", "i64 %first", "i64 %last")


def emit_convolution(o: Operands) -> None:
    """The call, with what follows on the images."""
    epilogue = o.step.epilogue
    if epilogue is None:
        _run(o, "0", "ptr null, ptr null")
    else:
        _emit_with_epilogue(o, epilogue)


def _run(o: Operands, after: str, epilogue: str) -> None:
    """Tell the routine the sizes, give it memory, and call it for each element of the batch. The
    `epilogue` is a function and its context, for an element worth `after` multiplications."""
    f, step = o.f, o.step
    dtype = f"f{8 * step.outputs[0].buffer.dtype.itemsize}"
    name = f"convolution_{dtype}.{step.routine.symbols[0]}"
    f.module.use(f"convolution_{dtype}", name, f"declare i64 @{name}({_PARAMETERS})")
    geometry = f.record([f"i64 {word}" for word in (*_words(o), after)])
    asking = f"ptr {geometry}, ptr null, ptr null, ptr {o.starts[-1]}, ptr null"
    asked = f.emit(f"call i64 @{name}({asking}, {epilogue})")
    memory = o.p.borrow(asked)
    o.for_each(len(o.batch), lambda starts: f.do(
        f"call i64 @{name}(ptr {geometry}, {', '.join(f'ptr {s}' for s in starts)}, ptr {memory}, "
        f"{epilogue})"
    ))  # fmt: skip
    f.do(f"call void @pool_give(ptr {memory})")


# --- epilogues ----------------------------------------------------------------------------------
def _emit_with_epilogue(o: Operands, item: ImageEpilogue) -> None:
    """Emit the function for the epilogue, and the code that runs the convolution with it."""
    p, f, rows, copies = o.p, o.f, item.rows, str(MOST_CHUNKS)
    launcher = Launcher(p)
    streams = launcher.past_caches(rows, streamed_stores(rows, p.memory))
    made = emit_nest(
        p.module, rows, o.name, p.memory, split=(0, 1), streams=bool(streams), contract=p.contract
    )  # fmt: skip
    totals = totals_of(rows, 0)
    own = launcher.locals_of(rows, copies) | launcher.copies_of(totals, copies)
    for buffer, total in totals.items():
        launcher.fill(total, own[p.memory.key(buffer)], copies)
    places = {key: memory.base for key, memory in own.items()}
    if item.image is not None:
        places[p.memory.key(item.image)] = "null"
    arguments = launcher.arguments(made, places)
    keys = [p.memory.key(buffer) for buffer in made.buffers]
    moving = {k: own[key].size for k, key in enumerate(keys) if key in own}
    context = f.record([*arguments, *(f"i64 {size}" for size in moving.values()), *streams])
    hook = _hook(p, made, item, arguments, list(moving), len(streams))
    vector_bytes = p.module.target.vector_bytes
    lanes = vector_bytes // o.step.outputs[0].buffer.dtype.itemsize
    price = sum(cost(kernel, vector_bytes) for kernel in rows.kernels)
    _run(o, str(price * lanes // 8), f"ptr {hook}, ptr {context}")
    for buffer, total in totals.items():
        launcher.join(total, buffer, own[p.memory.key(buffer)], copies)


def _hook(
    p: ProgramEmitter,
    made: NestFunction,
    item: ImageEpilogue,
    arguments: Sequence[str],
    moving: Sequence[int],
    flags: int,
) -> str:
    """The function that the routine calls. `moving` are the arguments of which every copy has its
    own."""
    f = FunctionBuilder(
        p.module, f"{made.step}.images", list(_HOOK), internal=True, passes=p.f.passes
    )  # fmt: skip
    types = [argument.rsplit(" ", 1)[0] for argument in arguments]
    cells = f.unpack("%context", [*types, *["i64"] * len(moving), *["i1"] * flags])
    registers, sizes = cells[: len(types)], cells[len(types) : len(cells) - flags]
    for at, size in zip(moving, sizes, strict=True):
        registers[at] = f.offset(registers[at], f.emit(f"mul i64 %copy, {size}"))
    if item.image is not None:
        keys = [p.memory.key(buffer) for buffer in made.buffers]
        registers[keys.index(p.memory.key(item.image))] = "%image"
    given = [f"{t} {r}" for t, r in zip(types, registers, strict=True)]
    bounds = ["%number", f.emit("add i64 %number, 1"), "%first", "%last"]
    given += [f"i64 {bound}" for bound in bounds]
    given += [f"i1 {flag}" for flag in cells[len(cells) - flags :]]
    f.do(f"call void {made.name}({', '.join(given)})")
    f.do("ret void")
    return p.module.merged(f).name


# --- sizes --------------------------------------------------------------------------------------
def _words(o: Operands) -> list[str]:
    """What `GIVEN` names, in registers."""
    f, attrs, routine = o.f, o.step.attrs, o.step.routine
    letters = dict.fromkeys("".join((*(c or "" for c in routine.operands), *routine.results)))
    size = dict(zip(letters, o.core, strict=True))
    groups = attrs["groups"]
    filters = f.emit(f"udiv i64 {size['o']}, {groups}")
    words = [size["n"], str(groups), size["e"], filters]
    words += [size[k] for k in "zyxkjirqp"]
    words += map(str, attrs["strides"])
    padding = attrs["padding"]
    for axis, k in enumerate("kji"):
        if not isinstance(padding, str):
            words.append(str(padding[2 * axis]))
            continue
        less = f.emit(f"sub i64 {size[k]}, 1")
        reach = f.emit(f"mul i64 {less}, {attrs['dilation'][axis]}")
        half = f.emit(f"lshr i64 {f.emit(f'add i64 {reach}, 1')}, 1")
        words.append(half if padding == "half" else reach)
    words += map(str, attrs["dilation"])
    assert len(words) == len(GIVEN) - 1
    return words
