"""What the tasks of a convolution know, and the images as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jitgraph.codegen.llvm import Module
from jitgraph.codegen.matmul.parallel import TASK
from jitgraph.codegen.matmul.tiling import ROLLED, Emitter, Tiling

#: The words that a caller gives: images, groups, channels and filters of a group, extents of the
#: input, of the filters and of the output, strides, zeros before the input, dilations; how many
#: multiplications the epilogue of an element is worth.
GIVEN = (
    "images", "groups", "c", "o", "iz", "iy", "ix", "kz", "ky", "kx", "oz", "oy", "ox",
    "sz", "sy", "sx", "pz", "py", "px", "dz", "dy", "dx", "after",
)  # fmt: skip
#: What follows from them: elements of a filter, products of an output, outputs of an image; the
#: extents that filters reach; bytes between channels, planes, rows; bytes of a copy with its zeros
#: of the channels of a group (0 where the input is read where it lies).
DERIVED = ("volume", "depth", "places", "ez", "ey", "ex", "channel", "plane", "row", "copied")
#: What the ops add to that.
MEMORY = ("slots", "slot_bytes")
TASKS = ("tasks", "chunks")
POINTERS = ("a", "b", "out", "offsets", "packed", "flags", "slot_memory", "epilogue", "context")

#: Tasks of a call are put into so many chunks at most.
MOST_CHUNKS = 32
#: Multiplications of a chunk, as a power of two.
CHUNK_BITS = 18
#: From how few images on they are cut, to make so many tasks.
ENOUGH_TASKS = 16
_LINE = 64


class Fields:
    """The registers of a record, by name."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = (*GIVEN, *DERIVED, *MEMORY, *TASKS, *POINTERS, *names)

    @staticmethod
    def type(name: str) -> str:
        return "ptr" if name in POINTERS else "i64"

    def typed(self, values: Mapping[str, str]) -> str:
        """The record's fields, as `emit_run` takes them."""
        return ", ".join(f"{self.type(n)} {values[n]}" for n in self.names)

    def unpack(self, f: Emitter) -> dict[str, str]:
        """The fields in registers."""
        types = [self.type(n) for n in self.names]
        return dict(zip(self.names, f.unpack("%record", types), strict=True))

    def emit_record(self, f: Emitter) -> str:
        """Room for the record. Not in a loop: the stack would grow."""
        return f.emit(f"alloca [{len(self.names)} x i64], align 8")


# --- plans --------------------------------------------------------------------------------------
def emit_geometry(f: Emitter) -> dict[str, str]:
    """The words of `%geometry`, and what follows from them."""
    u = dict(zip(GIVEN, f.unpack("%geometry", ["i64"] * len(GIVEN)), strict=True))
    u["volume"] = f.product(u["kz"], u["ky"], u["kx"])
    u["depth"] = f.product(u["c"], u["volume"])
    u["places"] = f.product(u["oz"], u["oy"], u["ox"])
    inside = "true"
    for axis in "zyx":
        moved = f.product(f.emit(f"sub i64 {u['o' + axis]}, 1"), u["s" + axis])
        reach = f.product(f.emit(f"sub i64 {u['k' + axis]}, 1"), u["d" + axis])
        u["e" + axis] = f.emit(f"add i64 {f.emit(f'add i64 {moved}, {reach}')}, 1")
        fits = f.emit(f"icmp sle i64 {u['e' + axis]}, {u['i' + axis]}")
        first = f.emit(f"icmp eq i64 {u['p' + axis]}, 0")
        inside = f.both(inside, f.both(first, fits))
    extents = {a: f.select(inside, "i64", u["i" + a], u["e" + a]) for a in "zyx"}
    u["row"] = f.product(extents["x"], f.tiling.item)
    u["plane"] = f.product(u["row"], extents["y"])
    u["channel"] = f.product(u["plane"], extents["z"])
    u["copied"] = f.select(inside, "i64", 0, f.product(u["channel"], u["c"]))
    return u


def emit_caller(module: Module, name: str, tiling: Tiling) -> tuple[Emitter, dict[str, str]]:
    """The function that callers know, the words they give and what follows from them."""
    parameters = ("geometry", "a", "b", "out", "memory", "epilogue", "context")
    listed = ", ".join(f"ptr %{p}" for p in parameters)
    f = Emitter(module, name, listed, tiling, returns="i64", internal=False)
    return f, emit_geometry(f) | {p: f"%{p}" for p in parameters if p in POINTERS}


def emit_chunks(f: Emitter, u: dict[str, str], tasks: str, made: str = "0") -> None:
    """In how many chunks the tasks run, of which an epilogue follows on `made` elements: that
    depends on the sizes alone."""
    work = f.product(u["images"], u["groups"], u["o"], u["depth"], u["places"])
    work = f.emit(f"add i64 {work}, {f.product(made, u['after'])}")
    wanted = f.minimum(f.emit(f"lshr i64 {work}, {CHUNK_BITS}"), MOST_CHUNKS)
    u["tasks"] = tasks
    u["chunks"] = u["slots"] = f.minimum(f.maximum(wanted, 1), tasks)


class Memory:
    """Parts of the memory of a call, one after the other."""

    def __init__(self, f: Emitter) -> None:
        self.f, self.size = f, "0"

    def part(self, size: str | int) -> str:
        """Where a part of some bytes begins."""
        f = self.f
        place, known = self.size, f.emit(f"add i64 {size}, {_LINE - 1}")
        self.size = f.emit(f"add i64 {place}, {f.emit(f'and i64 {known}, {-_LINE}')}")
        return f.offset("%memory", place)

    def leave_if_asked(self) -> None:
        """Without memory the function tells how much it needs."""
        with self.f.if_then(self.f.emit("icmp eq ptr %memory, null")):
            self.f.do(f"ret i64 {self.size}")


def rounded(f: Emitter, size: str) -> str:
    return f.emit(f"and i64 {f.emit(f'add i64 {size}, {_LINE - 1}')}, {-_LINE}")


def emit_offsets(f: Emitter, u: dict[str, str], channels: str) -> None:
    """Fill the table of where the elements of a filter lie in the input, from its first place."""
    at = [("i64", "0")]
    with f.loop(0, channels, name="channel", accumulators=at, properties=ROLLED) as c:
        base = f.product(c.index, u["channel"])
        with f.loop(0, u["kz"], name="z", accumulators=[("i64", c.carried[0])],
                    properties=ROLLED) as z:  # fmt: skip
            z_base = f.emit(f"add i64 {base}, {f.product(z.index, u['dz'], u['plane'])}")
            with f.loop(0, u["ky"], name="y", accumulators=[("i64", z.carried[0])],
                        properties=ROLLED) as y:  # fmt: skip
                y_base = f.emit(f"add i64 {z_base}, {f.product(y.index, u['dy'], u['row'])}")
                with f.loop(0, u["kx"], name="x", accumulators=[("i64", y.carried[0])],
                            properties=ROLLED) as x:  # fmt: skip
                    moved = f.product(x.index, u["dx"], f.tiling.item)
                    value = f.emit(f"add i64 {y_base}, {moved}")
                    f.do(f"store i64 {value}, ptr {f.at(u['offsets'], x.carried[0], 8)}")
                    x.carry(f.emit(f"add i64 {x.carried[0]}, 1"))
                y.carry(x.results[0])
            z.carry(y.results[0])
        c.carry(z.results[0])


# --- tasks --------------------------------------------------------------------------------------
@contextmanager
def emit_tasks(
    module: Module, name: str, tiling: Tiling, fields: Fields
) -> Iterator[tuple[Emitter, dict[str, str], str, str]]:
    """A chunk: its tasks one by one, with scratch memory of its own. Gives the function, the
    fields, where the memory begins and the number of the task."""
    f = Emitter(module, name, TASK, tiling)
    u = fields.unpack(f)
    slot = f.emit(f"call i64 @{name}.take(ptr {u['flags']})")
    memory = f.at(u["slot_memory"], slot, u["slot_bytes"])
    first, last = (
        f.emit(f"udiv i64 {f.product(c, u['tasks'])}, {u['chunks']}")
        for c in ("%chunk", f.emit("add i64 %chunk, 1"))
    )
    with f.loop(first, last, name="task", properties=ROLLED) as task:
        yield f, u, memory, task.index
    f.do(f"store atomic i64 0, ptr {f.at(u['flags'], slot, 8)} release, align 8")
    f.do("ret void")
    # There are as many slots as chunks, so one is always free; which, does not matter.
    f = Emitter(module, f"{name}.take", "ptr %flags", tiling, returns="i64")
    header = f.begin_loop("slot", [("i64", "0")])
    cell = f.at("%flags", header.carried[0], 8)
    before = f.emit(f"atomicrmw xchg ptr {cell}, i64 1 acquire")
    with f.if_then(f.emit(f"icmp eq i64 {before}, 0")):
        f.do(f"ret i64 {header.carried[0]}")
    following = f.emit(f"add i64 {header.carried[0]}, 1")
    over = f.emit(f"icmp eq i64 {following}, {MOST_CHUNKS}")
    f.end_loop(header, [f.select(over, "i64", 0, following)])


def emit_epilogue(
    f: Emitter, u: dict[str, str], copy: str, image: str, at: str, *channels: str
) -> None:
    """Tell the caller, if it asked, that these channels (first, last) of an image are final, and
    where the image lies. Two tasks of one `copy` do not run at the same time."""
    bounds = ", ".join(f"i64 {c}" for c in channels)
    with f.if_then(f.emit(f"icmp ne ptr {u['epilogue']}, null")):
        f.do(f"call void {u['epilogue']}(ptr {u['context']}, i64 {copy}, ptr {at}, i64 {image}, "
             f"{bounds})")  # fmt: skip


def emit_clear(f: Emitter, place: str, size: str) -> None:
    f.module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    f.do(f"call void @llvm.memset.p0.i64(ptr {place}, i8 0, i64 {size}, i1 false)")


def emit_copies(module: Module, name: str, tiling: Tiling, fields: Fields) -> None:
    """Emit `{name}.frame(record, to, from, channels)`, which copies channels of an image between
    zeros, and `{name}.unframe`, which takes them out again."""
    module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    for back in (False, True):
        parameters = "ptr %record, ptr %to, ptr %from, i64 %channels"
        f = Emitter(module, f"{name}.{'un' * back}frame", parameters, tiling)
        u, item = fields.unpack(f), tiling.item
        inner = {a: f.product(*(u[f"i{b}"] for b in rest), item)
                 for a, rest in (("y", "x"), ("z", "yx"), ("c", "zyx"))}  # fmt: skip
        size = f.product("%channels", inner["c"] if back else u["channel"])
        emit_clear(f, "%to", size)
        kept = {}
        for a in "zyx":
            room = f.maximum(f.emit(f"sub i64 {u['e' + a]}, {u['p' + a]}"), 0)
            kept[a] = f.minimum(u["i" + a], room)
        start = f.product(u["px"], item)
        for a, step in (("y", u["row"]), ("z", u["plane"])):
            start = f.emit(f"add i64 {start}, {f.product(u['p' + a], step)}")
        length = f.product(kept["x"], item)
        with (
            f.loop(0, "%channels", name="c", properties=ROLLED) as c,
            f.loop(0, kept["z"], name="z", properties=ROLLED) as z,
            f.loop(0, kept["y"], name="y", properties=ROLLED) as y,
        ):
            framed, plain = "%from" if back else "%to", "%to" if back else "%from"
            for loop, wide, narrow in (
                (c, u["channel"], inner["c"]),
                (z, u["plane"], inner["z"]),
                (y, u["row"], inner["y"]),
            ):
                framed, plain = f.at(framed, loop, wide), f.at(plain, loop, narrow)
            framed = f.offset(framed, start)
            to, source = (plain, framed) if back else (framed, plain)
            copy = f"ptr {to}, ptr {source}, i64 {length}, i1 false"
            f.do(f"call void @llvm.memcpy.p0.p0.i64({copy})")
        f.do("ret void")


# --- runs of outputs ----------------------------------------------------------------------------
def emit_runs(
    f: Emitter, u: dict[str, str], first: str, count: str
) -> Iterator[tuple[str, str, str]]:
    """A loop over the pieces of rows among `count` outputs from `first` on: how many were before,
    where the piece lies in the input (its first place), and its length. (To be used in a `for`.)"""
    row0 = f.emit(f"udiv i64 {first}, {u['ox']}")
    at0 = f.emit(f"urem i64 {first}, {u['ox']}")
    head = f.begin_loop("run", [("i64", "0"), ("i64", row0), ("i64", at0)])
    done, row, at = head.carried
    body, end = f.label("piece"), f.label("runs.end")
    f.branch_if(f.emit(f"icmp slt i64 {done}, {count}"), body, end)
    f.block(body)
    length = f.minimum(f.emit(f"sub i64 {u['ox']}, {at}"), f.emit(f"sub i64 {count}, {done}"))
    place = f.emit(f"add i64 {emit_row(f, u, row)}, {f.product(at, u['sx'], f.tiling.item)}")
    yield done, place, length
    f.end_loop(head, [f.emit(f"add i64 {done}, {length}"), f.emit(f"add i64 {row}, 1"), "0"])
    f.block(end)


def emit_row(f: Emitter, u: dict[str, str], row: str) -> str:
    """Where the first place of a row of outputs lies in the input, in bytes."""
    z = f.product(f.emit(f"udiv i64 {row}, {u['oy']}"), u["sz"], u["plane"])
    y = f.product(f.emit(f"urem i64 {row}, {u['oy']}"), u["sy"], u["row"])
    return f.emit(f"add i64 {z}, {y}")


def emit_pieces(f: Emitter, u: dict[str, str], length: str) -> Iterator[tuple[str, str | None]]:
    """Loops over a run: vectors where its elements are neighbours, as (start, mask), then elements
    one by one, as (start, None). (To be used in a `for`.)"""
    tiling = f.tiling
    near = f.emit(f"icmp eq i64 {u['sx']}, 1")
    whole = length if tiling.masked else f.emit(f"and i64 {length}, {-tiling.lanes}")
    whole = f.select(near, "i64", whole, 0)
    with f.loop(0, whole, tiling.lanes, "vector", properties=ROLLED) as v:
        yield v.index, f.mask(f.rest(length, v, tiling.lanes))
    with f.loop(whole, length, 1, "element", properties=ROLLED) as v:
        yield v.index, None
