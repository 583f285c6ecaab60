"""The call of a convolution from a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jitgraph.codegen.convolution.geometry import GIVEN

if TYPE_CHECKING:
    from jitgraph.codegen.calls import Operands

_PARAMETERS = ", ".join(["ptr"] * 5)


def emit_convolution(o: Operands) -> None:
    """Tell the routine the sizes, give it memory, and call it for each element of the batch."""
    f, step = o.f, o.step
    dtype = f"f{8 * step.outputs[0].buffer.dtype.itemsize}"
    name = f"convolution_{dtype}.{step.routine.symbols[0]}"
    f.module.use(f"convolution_{dtype}", name, f"declare i64 @{name}({_PARAMETERS})")
    geometry = f.record([f"i64 {word}" for word in _words(o)])
    asked = f.emit(f"call i64 @{name}(ptr {geometry}, ptr null, ptr null, ptr null, ptr null)")
    memory = o.p.borrow(asked)
    o.for_each(len(o.batch), lambda starts: f.do(
        f"call i64 @{name}(ptr {geometry}, {', '.join(f'ptr {s}' for s in starts)}, ptr {memory})"
    ))  # fmt: skip
    f.do(f"call void @pool_give(ptr {memory})")


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
    assert len(words) == len(GIVEN)
    return words
