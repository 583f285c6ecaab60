"""The IR builder's control flow, and the way from text to machine code and back to nothing."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitgraph.codegen.llvm import (
    NO_UNROLL,
    NO_VECTORIZE,
    CodegenError,
    Compiled,
    FunctionBuilder,
    Module,
    Passes,
    Unit,
    assembly,
    compile_ir,
    load_objects,
    object_code,
    optimised_ir,
)
from jitgraph.codegen.target import host


def call(code: Compiled, symbol: str, *arguments: int) -> int:
    """Call a function of 64-bit integers."""
    types = [ctypes.c_int64] * (len(arguments) + 1)
    return int(ctypes.CFUNCTYPE(*types)(code.address(symbol))(*arguments))


def constant_function(value: int) -> str:
    module = Module(host())
    FunctionBuilder(module, "f", returns="i64").do(f"ret i64 {value}")
    return module.text()


def test_nested_loops_carry_values() -> None:
    """sum of i * j over the loops, counting the inner iterations."""
    module = Module(host())
    f = FunctionBuilder(module, "f", ["i64 %n", "i64 %m", "i64 %step"], returns="i64")
    n, m, step = f.args
    with f.loop(0, n, accumulators=[("i64", "0"), ("i64", "0")]) as i:
        with f.loop(i.index, m, step, "j", accumulators=[("i64", v) for v in i.carried]) as j:
            product = f.emit(f"mul i64 {i}, {j}")
            total = f.emit(f"add i64 {j.carried[0]}, {product}")
            j.carry(total, f.emit(f"add i64 {j.carried[1]}, 1"))
        i.carry(*j.results)
    scaled = f.emit(f"mul i64 {i.results[1]}, 1000000")
    f.do(f"ret i64 {f.emit(f'add i64 {scaled}, {i.results[0]}')}")
    code = compile_ir(module.text(), host())

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 5))
    def check(n: int, m: int, step: int) -> None:
        pairs = [(i, j) for i in range(n) for j in range(i, m, step)]
        expected = len(pairs) * 1000000 + sum(i * j for i, j in pairs)
        assert call(code, "f", n, m, step) == expected

    check()


def test_if_then_may_return_or_fall_through() -> None:
    module = Module(host())
    f = FunctionBuilder(module, "f", ["i64 %x", "ptr %p"], returns="i64")
    with f.if_then(f.emit("icmp slt i64 %x, 0")):
        f.do("ret i64 -1")
    with f.if_then(f.emit("icmp sgt i64 %x, 10")):
        f.do("store i64 77, ptr %p")
    f.do("ret i64 %x")
    code = compile_ir(module.text(), host())
    cell = ctypes.c_int64(0)
    address = ctypes.addressof(cell)
    assert [call(code, "f", x, address) for x in (-5, 5)] == [-1, 5]
    assert cell.value == 0
    assert call(code, "f", 11, address) == 11
    assert cell.value == 77


def test_phi_and_intrinsics() -> None:
    module = Module(host())
    f = FunctionBuilder(module, "f", ["i64 %x"], returns="i64")
    big, small, done = f.label("big"), f.label("small"), f.label("done")
    f.branch_if(f.emit("icmp sgt i64 %x, 3"), big, small)
    f.block(big)
    low = f.minimum("%x", 10)
    f.branch(done)
    f.block(small)
    high = f.maximum("%x", 0)
    f.block(done)  # falls through from small
    f.do(f"ret i64 {f.phi('i64', [(low, big), (high, small)])}")
    code = compile_ir(module.text(), host())
    assert [call(code, "f", x) for x in (-2, 2, 7, 70)] == [0, 2, 7, 10]


def test_declarations_and_metadata_are_shared() -> None:
    module = Module(host())
    module.declare("declare void @g()")
    module.declare("declare void @g()")
    assert module.text().count("@g") == 1
    assert module.metadata('!"x"') == module.metadata('!"x"')
    assert module.metadata('!"x"', distinct=True) != module.metadata('!"x"', distinct=True)
    assert module.once("helper")
    assert not module.once("helper")


def test_loop_properties_are_accepted() -> None:
    module = Module(host())
    f = FunctionBuilder(module, "f", ["i64 %n", "ptr %p"])
    for _ in range(2):
        with f.loop(0, "%n", properties=(NO_VECTORIZE, NO_UNROLL)) as i:
            p = f.offset("%p", f.emit(f"mul i64 {i}, 8"))
            f.do(f"store i64 {i}, ptr {p}")
    f.do("ret void")
    assert module.text().count("distinct") == 2
    assert "<8 x i64>" not in optimised_ir(Unit(module.text()), host())


def test_loop_must_be_given_its_next_values() -> None:
    f = FunctionBuilder(Module(host()), "f", ["i64 %n"])
    with (
        pytest.raises(ValueError, match="carries 1 values, not 0"),
        f.loop(0, "%n", accumulators=[("i64", "0")]),
    ):
        pass


def test_loops_are_vectorised_at_the_preferred_width() -> None:
    module = Module(host())
    f = FunctionBuilder(module, "f", ["i64 %n", "ptr noalias %x", "ptr noalias %y"])
    with f.loop(0, "%n") as i:
        p, q = (f.emit(f"getelementptr double, ptr %{v}, i64 {i}") for v in "xy")
        value = f.emit(f"load double, ptr {p}")
        f.do(f"store double {f.emit(f'fmul double {value}, {value}')}, ptr {q}")
    f.do("ret void")
    unit = Unit(module.text())
    assert f"<{host().vector_bytes // 8} x double>" in optimised_ir(unit, host())
    assert "f:" in assembly(unit, host())


@pytest.mark.parametrize("text", ["nonsense", "define i64 @f() { ret void }"])
def test_invalid_ir_raises_with_the_text(text: str) -> None:
    with pytest.raises(CodegenError, match="invalid LLVM IR") as caught:
        compile_ir(text, host())
    assert caught.value.ir == text


def test_process_symbols_and_imports_resolve() -> None:
    text = """
declare ptr @malloc(i64)
declare void @free(ptr)
declare i64 @there(i64)
define i64 @f(i64 %x) {
  %p = call ptr @malloc(i64 8)
  store volatile i64 %x, ptr %p
  %y = load volatile i64, ptr %p
  call void @free(ptr %p)
  %z = call i64 @there(i64 %y)
  ret i64 %z
}
"""
    there = compile_ir("define i64 @there(i64 %x) { ret i64 %x }", host())
    imports = {"there": there.address("there")}
    objects = [object_code(Unit(text), host())]
    assert call(load_objects(objects, imports=imports), "f", 42) == 42
    assert call(load_objects(objects, imports=imports), "f", 43) == 43
    with pytest.raises(CodegenError, match="cannot link f"):
        load_objects(objects).address("f")


def test_missing_symbols_are_told() -> None:
    loaded = compile_ir(constant_function(7), host())
    with pytest.raises(CodegenError, match="cannot link missing"):
        loaded.address("missing")


@pytest.mark.parametrize("passes", get_args(Passes))
def test_passes(passes: Passes) -> None:
    code = compile_ir(constant_function(5), host(), passes=passes)
    assert call(code, "f") == 5


def test_module_comes_apart_by_passes() -> None:
    """Functions that want other passes are modules of their own; a helper goes where it is
    called, a table where it is read, and nothing else comes along."""
    module = Module(host())
    module.declare("@table = internal constant [2 x i64] [i64 5, i64 7]")
    module.declare("declare void @free(ptr)")
    module.define("define internal i64 @twice(i64 %x) {\n %y = add i64 %x, %x\n ret i64 %y\n}")
    module.define(
        "define internal i64 @twice.first() {\n %x = load i64, ptr @table\n"
        " %y = call i64 @twice(i64 %x)\n ret i64 %y\n}"
    )
    kernel = FunctionBuilder(module, "kernel", ["i64 %k"], returns="i64", internal=True)
    x = kernel.emit("call i64 @twice(i64 %k)")
    kernel.do(f"ret i64 {x}")
    program = FunctionBuilder(module, "f", returns="i64", passes="quick")
    x, y = program.emit("call i64 @kernel(i64 4)"), program.emit("call i64 @twice.first()")
    program.do(f"ret i64 {program.emit(f'mul i64 {x}, {y}')}")
    units = module.units()
    assert [unit.passes for unit in units] == ["vectorise", "quick"]
    assert ["@table" in unit.text for unit in units] == [False, True]
    assert not any("free" in unit.text for unit in units)
    assert call(load_objects(object_code(unit, host()) for unit in units), "f") == 80
    assert call(compile_ir(module.text(), host()), "f") == 80


def test_units_call_each_other() -> None:
    """Modules with different passes are one library."""
    inner = "define i64 @inner() {{ ret i64 {} }}"
    outer = "declare i64 @inner()\ndefine i64 @f() {\n%x = call i64 @inner()\nret i64 %x\n}"
    made = []
    for k in (3, 4):
        units = Unit(outer, "quick"), Unit(inner.format(k), "explicit")
        made.append(load_objects(object_code(unit, host()) for unit in units))
    assert [call(code, "f") for code in made] == [3, 4]


def test_same_symbol_in_many_programs_and_threads() -> None:
    results: dict[int, int] = {}

    def work(value: int) -> None:
        for _ in range(5):
            results[value] = call(compile_ir(constant_function(value), host()), "f")

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {value: value for value in range(4)}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_dead_code_is_unmapped() -> None:
    text = constant_function(1)
    objects = [object_code(Unit(text), host())]

    def mappings() -> int:
        gc.collect()
        with open("/proc/self/maps") as file:
            return sum(1 for _ in file)

    load_objects(objects)
    before = mappings()
    alive = [load_objects(objects) for _ in range(20)]
    assert [call(code, "f") for code in alive] == [1] * 20
    del alive
    assert mappings() <= before + 5


def test_target_is_a_value() -> None:
    assert host() is host()
    assert host() == replace(host())
    assert host().vector_bytes in (16, 32, 64)
    assert host().l1_bytes < host().l2_bytes


def test_code_alive_at_exit_is_harmless() -> None:
    """Worker threads may be running generated code while the interpreter goes down."""
    program = (
        "from jitgraph.codegen.llvm import compile_ir\n"
        "from jitgraph.codegen.target import host\n"
        "code = compile_ir('define void @f() { ret void }', host())\n"
        "code.itself = code\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr == b""


def test_a_child_forked_while_another_thread_compiles_can_compile() -> None:
    stop = threading.Event()

    def compile_for_ever() -> None:
        while not stop.is_set():
            compile_ir(constant_function(1), host())

    thread = threading.Thread(target=compile_for_ever)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a deadlock ends here
                os._exit(call(compile_ir(constant_function(3), host()), "f") - 3)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
