"""Numbers given for arrays of rank 0: NumPy scalars, and Python's float, complex, int and bool.

    ptr @number(ptr object, ptr record, ptr cell)

returns where the value lies, in the object itself or in the cell (16 bytes) after conversion, or
NULL for what the slow path must look at: numbers that do not fit, other types.
"""

from collections.abc import Sequence

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.llvm import FunctionBuilder, Module

#: What a parameter of rank 0 takes besides the NumPy scalar of its dtype. "float" and "complex" are
#: Python's, and nothing that converts to them.
KINDS = (
    "nothing", "float64", "float32", "complex128", "integer", "bool", "float", "complex",
)  # fmt: skip


def emit_number(module: Module, fields: Sequence[str]) -> None:
    """Add `@number`; `fields` are the words of a record."""
    _emit_conversions(module)
    f = FunctionBuilder(
        module,
        "number",
        ["ptr %object", "ptr %record", "ptr %cell"],
        returns="ptr",
        internal=True,
        attributes="noinline",
    )

    def field(name: str, kind: str = "i64") -> str:
        at = f.offset("%record", 8 * fields.index(name))
        return f.emit(f"load {kind}, ptr {at}", name)

    def is_type(name: str) -> str:
        return f.emit(f"icmp eq ptr {type_}, {f.emit(f'load ptr, {py.link(name)}')}")

    type_ = f.emit(f"load ptr, ptr {f.offset('%object', py.TYPE)}", "type")
    own = f.offset("%object", py.SCALAR_VALUE)
    with f.if_then(f.emit(f"icmp eq ptr {type_}, {field('scalar', 'ptr')}")):
        f.do(f"ret ptr {own}")
    labels = {kind: f.label(kind) for kind in KINDS}
    cases = " ".join(f"i64 {i}, label %{labels[kind]}" for i, kind in enumerate(KINDS))
    nothing = labels["nothing"]
    f.do(f"switch i64 {field('kind')}, label %{nothing} [ {cases} ]")
    for kind in KINDS[1:]:
        f.block(labels[kind])
        match kind:
            case "float64":
                with f.if_then(is_type("PyFloat_Type")):
                    f.do(f"ret ptr {own}")
                _convert(f, is_type("PyLong_Type"), "int_to_f64(ptr %object, ptr %cell)")
            case "float32":
                value = f"float_to_f32(ptr {own}, ptr %cell)"
                _convert(f, is_type("PyFloat_Type"), value)
                _convert(f, is_type("PyLong_Type"), "int_to_f32(ptr %object, ptr %cell)")
            case "complex128":
                with f.if_then(is_type("PyComplex_Type")):
                    f.do(f"ret ptr {own}")
                f.do(f"store double 0.0, ptr {f.offset('%cell', 8)}")
                with f.if_then(is_type("PyFloat_Type")):
                    f.do(f"store double {f.emit(f'load double, ptr {own}')}, ptr %cell")
                    f.do("ret ptr %cell")
                _convert(f, is_type("PyLong_Type"), "int_to_f64(ptr %object, ptr %cell)")
            case "float" | "complex":
                with f.if_then(is_type(f"Py{kind.capitalize()}_Type")):
                    f.do(f"ret ptr {own}")
            case "integer":
                limits = f"i64 {field('low')}, i64 {field('span')}"
                value = f"int_to_range(ptr %object, {limits}, ptr %cell)"
                _convert(f, is_type("PyLong_Type"), value)
            case "bool":
                for name, bit in (("Py_True", 1), ("Py_False", 0)):
                    constant = f.emit(f"load ptr, {py.link(name)}")
                    with f.if_then(f.emit(f"icmp eq ptr %object, {constant}")):
                        f.do(f"store i8 {bit}, ptr %cell")
                        f.do("ret ptr %cell")
        f.branch(nothing)
    f.block(nothing)
    f.do("ret ptr null")


def _convert(f: FunctionBuilder, condition: str, call: str) -> None:
    """Where the condition holds, return the cell if the conversion succeeds, else NULL."""
    with f.if_then(condition):
        ok = f.emit(f"call i1 @{call}")
        f.do(f"ret ptr {f.select(ok, 'ptr', '%cell', 'null')}")


def _emit_conversions(module: Module) -> None:
    f = FunctionBuilder(
        module, "int_to_f64", ["ptr %object", "ptr %cell"], returns="i1", internal=True
    )
    convert = f.emit(f"load ptr, {py.link('PyLong_AsDouble')}")
    value = f.emit(f"call double {convert}(ptr %object)")
    f.do(f"store double {value}, ptr %cell")
    with f.if_then(f.emit(f"fcmp oeq double {value}, -1.0")):
        occurred = f.emit(f"load ptr, {py.link('PyErr_Occurred')}")
        error = f.emit(f"call ptr {occurred}()")
        with f.if_then(f.emit(f"icmp ne ptr {error}, null")):
            f.do(f"call void {f.emit('load ptr, ' + py.link('PyErr_Clear'))}()")
            f.do("ret i1 false")
    f.do("ret i1 true")
    f = FunctionBuilder(
        module,
        "int_to_range",
        ["ptr %object", "i64 %low", "i64 %span", "ptr %cell"],
        returns="i1",
        internal=True,
    )
    overflow = f.emit("alloca i32")
    convert = f.emit(f"load ptr, {py.link('PyLong_AsLongLongAndOverflow')}")
    value = f.emit(f"call i64 {convert}(ptr %object, ptr {overflow})")
    f.do(f"store i64 {value}, ptr %cell")
    whole = f.emit(f"icmp eq i32 {f.emit(f'load i32, ptr {overflow}')}, 0")
    inside = f.emit(f"icmp ule i64 {f.emit(f'sub i64 {value}, %low')}, %span")
    f.do(f"ret i1 {f.emit(f'and i1 {whole}, {inside}')}")
    _emit_singles(module)


def _emit_singles(module: Module) -> None:
    """To float32; what would overflow is refused, so that NumPy can warn of it."""
    f = FunctionBuilder(
        module, "int_to_f32", ["ptr %object", "ptr %cell"], returns="i1", internal=True
    )
    fits = f.emit(f"call i1 @int_to_range(ptr %object, i64 {-(2**63)}, i64 -1, ptr %cell)")
    value = f.emit("load i64, ptr %cell")
    f.do(f"store float {f.emit(f'sitofp i64 {value} to float')}, ptr %cell")
    f.do(f"ret i1 {fits}")
    f = FunctionBuilder(
        module, "float_to_f32", ["ptr %value", "ptr %cell"], returns="i1", internal=True
    )
    value = f.emit("load double, ptr %value")
    single = f.emit(f"fptrunc double {value} to float")
    f.do(f"store float {single}, ptr %cell")
    infinite = [
        f.emit(f"fcmp oeq {type_} {f.intrinsic(type_, f'@llvm.fabs.{bits}', f'{type_} {x}')}, "
               "0x7FF0000000000000")
        for type_, bits, x in (("double", "f64", value), ("float", "f32", single))
    ]  # fmt: skip
    f.do(f"ret i1 {f.emit(f'icmp eq i1 {infinite[0]}, {infinite[1]}')}")
