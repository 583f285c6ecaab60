"""The loader of object code against LLVM's linker: the same objects, the same behaviour."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import random
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from jitgraph.codegen import llvm
from jitgraph.codegen.llvm import Compiled, Passes, Unit, object_code
from jitgraph.codegen.loader import CodegenError, load
from jitgraph.codegen.target import host

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="elsewhere LLVM's linker does it all",
)

# All that an object of ours may have: code, tables, variables with and without values, addresses
# in data, calls of and cells for what is in another object, in a library or in the process.
UNITS = (
    Unit(
        """
@table = internal constant [4 x i64] [i64 2, i64 3, i64 5, i64 7]
@count = global i64 0
@start = global i64 100, align 64
@functions = internal constant [2 x ptr] [ptr @twice, ptr @there]
declare i64 @twice(i64)
declare i64 @there(i64)
declare ptr @malloc(i64)
declare void @free(ptr)
define i64 @f(i64 %k) {
  %cell = getelementptr i64, ptr @table, i64 %k
  %x = load i64, ptr %cell
  %doubled = call i64 @twice(i64 %x)
  %memory = call ptr @malloc(i64 64)
  store volatile i64 %doubled, ptr %memory
  %y = load volatile i64, ptr %memory
  call void @free(ptr %memory)
  %odd = and i64 %k, 1
  %function.p = getelementptr ptr, ptr @functions, i64 %odd
  %function = load ptr, ptr %function.p
  %z = call i64 %function(i64 %y)
  %old = load i64, ptr @count
  %new = add i64 %old, 1
  store i64 %new, ptr @count
  %start = load i64, ptr @start
  %zs = add i64 %z, %start
  %result = add i64 %zs, %new
  ret i64 %result
}
""",
        "explicit",
    ),
    Unit(
        """
@count = external global i64
define i64 @twice(i64 %x) {
  %y = add i64 %x, %x
  ret i64 %y
}
define i64 @calls() {
  %calls = load i64, ptr @count
  ret i64 %calls
}
define double @halve(double %x) {
  %y = fmul double %x, 0.5
  ret double %y
}
define ptr @which() {
  ret ptr @twice
}
""",
        "quick",
    ),
)


def there(x: int) -> int:
    return x + 1000


THERE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(there)
IMPORTS = {"there": ctypes.cast(THERE, ctypes.c_void_p).value or 0}


def by_us(objects: list[bytes], imports: dict[str, int]) -> Compiled:
    image = load(objects, imports)
    assert image is not None
    return image


Linker = Callable[[list[bytes], dict[str, int]], Compiled]
#: LLVM's needs a process of its own: it ends one in which memory is taken far and wide, as by the
#: simulated device, for it lays out an object's sections apart.
ALONE = "JITGRAPH_TEST_LLVMS_LINKER"
linkers = pytest.mark.parametrize("link", [llvm._Linked if ALONE in os.environ else by_us])


def test_llvms_linker_does_the_same() -> None:
    here = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", __file__]
    done = subprocess.run(
        [*here, "-k", "everything_an_object or tables_of_all"], env=os.environ | {ALONE: "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def function(code: Compiled, name: str, result: type = ctypes.c_int64, *types: type) -> Callable:  # type: ignore[type-arg]
    return ctypes.CFUNCTYPE(result, *types)(code.address(name))


@linkers
@pytest.mark.parametrize("order", [1, -1])
def test_everything_an_object_may_have(link: Linker, order: int) -> None:
    code = link([object_code(unit, host()) for unit in UNITS[::order]], IMPORTS)
    f, calls = function(code, "f", ctypes.c_int64, ctypes.c_int64), function(code, "calls")
    table = 2, 3, 5, 7
    for call, k in enumerate([0, 1, 2, 3, 3, 0], 1):
        last = there if k % 2 else lambda x: 2 * x
        assert f(k) == last(2 * table[k]) + 100 + call
        assert calls() == call
    assert function(code, "halve", ctypes.c_double, ctypes.c_double)(3) == 1.5
    assert function(code, "which")() == code.address("twice")
    assert ctypes.c_int64.from_address(code.address("count")).value == 6
    with pytest.raises(CodegenError, match="missing"):
        code.address("missing")


@linkers
def test_tables_of_all_sizes_and_many_functions(link: Linker) -> None:
    """Sections past pages, alignment, constant pools."""
    shuffled = random.Random(1)
    for size in (1, 511, 4096, 100_003):
        data = shuffled.randbytes(size)
        text = "".join(f"\\{byte:02X}" for byte in data)
        lines = [f'@data = constant [{size} x i8] c"{text}", align 64']
        lines += [
            f"define double @f{k}(double %x) {{\n %y = fadd double %x, {k}.5\n ret double %y\n}}"
            for k in range(size % 1000)
        ]
        code = link([object_code(Unit("\n".join(lines), "quick"), host())], {})
        assert ctypes.string_at(code.address("data"), size) == data
        assert code.address("data") % 64 == 0
        for k in range(0, size % 1000, 50):
            assert function(code, f"f{k}", ctypes.c_double, ctypes.c_double)(1) == k + 1.5


@pytest.mark.parametrize("passes", ["quick", "explicit"])
def test_code_is_not_writable_and_data_not_executable(passes: Passes) -> None:
    code = by_us([object_code(Unit(unit.text, passes), host()) for unit in UNITS], IMPORTS)

    def rights(symbol: str) -> str:
        address = code.address(symbol)
        with open("/proc/self/maps") as file:
            for line in file:
                span, flags = line.split()[:2]
                start, end = (int(part, 16) for part in span.split("-"))
                if start <= address < end:
                    return flags
        raise AssertionError(f"{symbol} is nowhere")

    assert rights("f") == rights("twice") == "r-xp"
    assert rights("count") == rights("start") == "rw-p"


def test_images_are_unmapped() -> None:
    objects = [object_code(UNITS[1], host()), object_code(UNITS[0], host())]

    def mapped() -> int:
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0])

    images = [by_us(objects, IMPORTS) for _ in range(3)]
    before = mapped()
    images += [by_us(objects, IMPORTS) for _ in range(300)]
    assert mapped() - before >= 600
    del images[3:]
    assert mapped() - before < 300


@pytest.mark.parametrize(
    "text",
    [
        "@x = thread_local global i64 0\ndefine ptr @f() { ret ptr @x }",
        "@x = common global i64 0\ndefine ptr @f() { ret ptr @x }",
        "declare i64 @nobodys()\ndefine i64 @f() {\n%x = call i64 @nobodys()\nret i64 %x }",
        "@x = external hidden global i64\ndefine ptr @f() { ret ptr @x }",
    ],
)
def test_what_it_does_not_know_is_left_to_llvm(text: str) -> None:
    assert load([object_code(Unit(text, "quick"), host())], {}) is None


def test_symbols_defined_twice_are_left_to_llvm() -> None:
    objects = [object_code(UNITS[1], host())] * 2
    assert load(objects, {"count": 1}) is None


def test_other_formats_are_left_to_llvm() -> None:
    made = object_code(UNITS[1], host())
    arm = bytearray(made)
    struct.pack_into("<H", arm, 18, 183)
    for data in (b"", b"\x7fELF", b"MZ" + made[2:], bytes(arm), made[:200]):
        assert load([data], {"count": 1}) is None
