"""Lowering of scalar bodies: rank-0 expressions to straight-line LLVM instructions, on one element
or on a vector of them.

f16 and bf16 are computed op by op in f32 and rounded after each, which is what NumPy does. An op
whose lowering is `Expand` is replaced by its expression in `codegen.mathlib`, built once per dtype
and process. With more than one lane, registers are vectors (`<8 x double>`) and the instructions
the same. Code from the library is never contracted: it says `fma` where it means it, and its
error-free transformations break where a multiply and an add fuse behind its back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from jitgraph.codegen.expansions import Template, expansion, one_round, part_dtype, template
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.lookup import look_up
from jitgraph.codegen.mathlib.native import Lookup, Native, Rarely
from jitgraph.codegen.registers import (
    F16,
    I32,
    Register,
    constant_text,
    memory_type,
    narrowed,
    packed,
    register_type,
    splat,
    unpacked,
    vector_of,
    widened,
)
from jitgraph.errors import InternalError
from jitgraph.ir.opdef import (
    Compare,
    Expand,
    Inst,
    Intrinsic,
    OpDef,
    Rejection,
)
from jitgraph.ir.types import (
    BOOL,
    DTYPE_NAMES,
    F32,
    F64,
    I64,
    DType,
    computed_in,
    is_bfloat16,
    is_half,
    kind_of,
)
from jitgraph.ir.values import Op, Value

_SUMS = ("add", "subtract")
#: Ops whose results of halves are halves.
_EXACT = frozenset({
    "absolute", "ceil", "copysign", "floor", "fmax", "fmin", "maximum", "minimum", "negative",
    "positive", "rint", "sign", "trunc",
})  # fmt: skip


# --- lowering ----------------------------------------------------------------------------------
class ScalarLowering:
    """Lowers rank-0 values to instructions at the emitter's current place.

    `bindings` gives the registers of the leaves (its owner may add more) and receives those of
    everything lowered. With `contract`, the products and sums that arithmetic of
    complex numbers is made of are one instruction where the target has it (those of the program
    are so already: `passes.contract`). Results are remembered,
    by value and by instruction, so one object serves one straight-line stretch of code: whatever
    it has emitted must dominate whatever it emits next. With `lanes`, all registers are vectors.
    """

    def __init__(
        self,
        emitter: FunctionBuilder,
        bindings: dict[Value, Register],
        contract: bool,
        lanes: int = 1,
    ) -> None:
        self._emitter = emitter
        self.lanes = lanes
        self._registers = bindings
        self._contract = contract
        self._emitted: dict[str, str] = {}

    def lower(self, value: Value) -> Register:
        """The register that holds `value`. Iterative: chains of 100,000 ops are legal."""
        known = self._registers
        pending = [value]
        while pending:
            top = pending[-1]
            if top in known:
                pending.pop()
                continue
            if top.op is None:
                raise InternalError(f"scalar code uses {top.describe()}, which is not bound")
            missing = [a for a in top.op.args if a not in known]
            if missing:
                pending += reversed(missing)
            else:
                known[top] = self._apply(top.op, known, self._contract)
        return known[value]

    def cast(self, register: Register, source: DType, target: DType) -> Register:
        """`register` of dtype `source` as `target`, converted as `astype` does on x86-64."""
        if source == target:
            return register
        if isinstance(register, tuple):
            return self._cast_complex(register, part_dtype(source), target)
        if target.kind == "c":
            part = part_dtype(target)
            return self._cast_real(register, source, part), self._number(part.type(0))
        return self._cast_real(register, source, target)

    # --- types and constants --------------------------------------------------------------------
    def _type(self, dtype: DType) -> str:
        return vector_of(register_type(dtype), self.lanes)

    def _of(self, type_: str) -> str:
        return vector_of(type_, self.lanes)

    def _integer(self, value: int, bits: int) -> str:
        return splat(f"i{bits}", str(value), self.lanes)

    def _number(self, value: Any) -> str:
        """The text of a real NumPy scalar as an operand."""
        array = np.asarray(value)
        return splat(register_type(array.dtype), constant_text(array), self.lanes)

    def _constant(self, value: Any) -> Register:
        array = np.asarray(value)
        if array.dtype.kind == "c":
            return self._number(array.real), self._number(array.imag)
        return self._number(array)

    def _suffix(self, dtype: DType) -> str:
        """The type in names of intrinsics: `f64`, `v8f64`."""
        name = DTYPE_NAMES[dtype]
        return name if self.lanes == 1 else f"v{self.lanes}{name}"

    # --- one op ---------------------------------------------------------------------------------
    def _apply(self, op: Op, known: Mapping[Value, Register], contract: bool) -> Register:
        if op.name == "constant":
            return self._constant(op.attrs["value"].array)
        dtypes = tuple(a.dtype for a in op.args)
        operands = [known[a] for a in op.args]
        special = _SPECIAL.get(op.name)
        if special is not None:
            return special(self, op, dtypes, operands)
        return self._compute(op.definition, dtypes, op.type.dtype, operands, contract)

    def _compute(
        self,
        definition: OpDef,
        dtypes: tuple[DType, ...],
        result: DType,
        operands: Sequence[Register],
        contract: bool,
    ) -> Register:
        """The op for operands of `dtypes`, by its declared lowering."""
        if any(d.kind == "c" for d in dtypes):
            return self._expand(expansion(definition.name, dtypes), operands, contract)
        if any(map(is_half, dtypes)):
            return self._widened(definition, dtypes, result, operands)
        lowering: Any = definition.lower
        plain = [operand for operand in operands if isinstance(operand, str)]
        match lowering:
            case Inst():
                return self._inst(lowering, dtypes[0], plain)
            case Compare():
                return self._compare(lowering, dtypes, *plain)
            case Intrinsic(name):
                return self._intrinsic(name, result, plain)
            case Expand():
                return self._expand(expansion(definition.name, dtypes), operands, False)
            case Rejection():
                return self._reject(lowering, dtypes, plain)
            case Native():
                return self._native(lowering, dtypes[0], result, plain)
            case Lookup(values):
                return look_up(self._emitter, plain[0], np.array(values, result), self.lanes)
            case Rarely(function):
                return self._rarely(template(function, dtypes[2:]), result, plain)
        raise InternalError(f"{definition.name} is no scalar op")

    def _widened(
        self,
        definition: OpDef,
        dtypes: tuple[DType, ...],
        result: DType,
        operands: Sequence[Register],
    ) -> Register:
        """An op on halves in f32 (f64 for fma, which must round once: no sum of f16 and a product
        of two lies so near the middle of two f16 that f64 moves it there)."""
        wide = F64 if definition.name == "fma" else F32
        wider = tuple(wide if is_half(d) else d for d in dtypes)
        given = [self.cast(r, d, w) for r, d, w in zip(operands, dtypes, wider, strict=True)]
        wide_result = wide if is_half(result) else result
        computed = self._compute(definition, wider, wide_result, given, False)
        if is_bfloat16(result) and definition.name in _EXACT:
            return computed
        return self.cast(computed, wide_result, result)

    def _emit(self, instruction: str) -> str:
        """Emit an instruction without side effects, unless an equal one was emitted before."""
        if (name := self._emitted.get(instruction)) is None:
            name = self._emitted[instruction] = self._emitter.emit(instruction)
        return name

    def _inst(self, inst: Inst, dtype: DType, operands: Sequence[str]) -> str:
        names = {"f": inst.floating, "i": inst.signed, "u": inst.unsigned, "b": inst.boolean}
        name, type_ = names[kind_of(dtype)], self._type(dtype)
        if name is None:
            raise InternalError(f"{inst} is not for {dtype}")
        if name == "neg":
            zero = self._integer(0, 8 * dtype.itemsize)
            return self._emit(f"sub {type_} {zero}, {operands[0]}")
        return self._emit(f"{name} {type_} {', '.join(operands)}")

    def _compare(self, compare: Compare, dtypes: Sequence[DType], x: str, y: str) -> str:
        dtype, other = dtypes
        if dtype != other:
            return self._compare_signs(compare, dtype.kind == "i", x, y)
        type_ = self._type(dtype)
        if kind_of(dtype) == "f":
            return self._emit(f"fcmp {compare.floating} {type_} {x}, {y}")
        predicate = compare.signed if dtype.kind == "i" else compare.unsigned
        return self._emit(f"icmp {predicate} {type_} {x}, {y}")

    def _compare_signs(self, compare: Compare, signed_first: bool, x: str, y: str) -> str:
        """An i64 with a u64, by value as NumPy does: a negative number is below every other."""
        type_, bit = self._of("i64"), self._of("i1")
        signed = x if signed_first else y
        negative = self._emit(f"icmp slt {type_} {signed}, {self._integer(0, 64)}")
        unsigned = self._emit(f"icmp {compare.unsigned} {type_} {x}, {y}")
        less = compare.signed in ("ne", "slt", "sle") if signed_first else (
            compare.signed in ("ne", "sgt", "sge")
        )  # fmt: skip
        answer = splat("i1", "true" if less else "false", self.lanes)
        return self._emit(f"select {bit} {negative}, {bit} {answer}, {bit} {unsigned}")

    def _intrinsic(self, name: str, dtype: DType, operands: Sequence[str]) -> str:
        type_, function = self._type(dtype), f"@llvm.{name}.{self._suffix(dtype)}"
        self._emitter.module.declare(
            f"declare {type_} {function}({', '.join([type_] * len(operands))})"
        )
        typed = ", ".join(f"{type_} {operand}" for operand in operands)
        return self._emit(f"call {type_} {function}({typed})")

    def _native(
        self, instruction: Native, dtype: DType, result: DType, operands: Sequence[str]
    ) -> str:
        if instruction.scalar_only and self.lanes > 1:
            return operands[0]
        types = {"t": self._type(dtype), "r": self._type(result), "m": self._suffix(dtype)}
        scalar = {"t": register_type(dtype), "r": register_type(result), "m": DTYPE_NAMES[dtype]}
        module = self._emitter.module
        by_lane = bool(instruction.functions or instruction.library)
        declaration = instruction.declaration.format(**(scalar if by_lane else types))
        if instruction.library is not None:
            library, symbol = instruction.library
            module.use(library, symbol.format(**scalar), declaration)
        else:
            for line in declaration.splitlines():
                module.declare(line)
        for name, text in instruction.functions.items():
            if module.once(name.format(**scalar)):
                module.define(text.format(**scalar))
        if self.lanes == 1 or not by_lane:
            return self._emit(instruction.text.format(*operands, **types))
        if instruction.beyond is not None:
            return self._beyond(instruction, dtype, scalar, operands)
        return self._lane_by_lane(instruction, scalar, operands)

    def _beyond(
        self, instruction: Native, dtype: DType, types: Mapping[str, str], operands: Sequence[str]
    ) -> str:
        """A pair: the second and the third operand, or what the function gives for each lane if the
        first operand is beyond the bound in any."""
        f, vector, bits = self._emitter, self._type(dtype), self._of("i1")
        size = self._intrinsic("fabs", dtype, operands[:1])
        bound, infinity = (self._number(dtype.type(n)) for n in (instruction.beyond, np.inf))
        far = self._emit(f"fcmp ogt {vector} {size}, {bound}")
        finite = self._emit(f"fcmp olt {vector} {size}, {infinity}")
        huge = self._any(self._emit(f"and {bits} {far}, {finite}"))
        before, reduce, done = f.current, f.label("huge"), f.label("reduced")
        f.branch_if(huge, reduce, done)
        f.block(reduce)
        results = ["poison", "poison"]
        for lane in range(self.lanes):
            parts = [f.emit(f"extractelement {vector} {x}, i32 {lane}") for x in operands]
            pair = f.emit(instruction.text.format(*parts, **types))
            for k in (0, 1):
                one = f.emit(f"extractvalue {{ {types['t']}, {types['t']} }} {pair}, {k}")
                results[k] = f.emit(
                    f"insertelement {vector} {results[k]}, {types['t']} {one}, i32 {lane}"
                )
        after = f.current
        f.block(done)
        first, second = (f.phi(vector, [(usual, before), (rare, after)])
                         for usual, rare in zip(operands[1:], results, strict=True))  # fmt: skip
        type_ = f"{{ {vector}, {vector} }}"
        half = f.emit(f"insertvalue {type_} poison, {vector} {first}, 0")
        return f.emit(f"insertvalue {type_} {half}, {vector} {second}, 1")

    def _any(self, mask: str) -> str:
        if self.lanes == 1:
            return mask
        function = f"@llvm.vector.reduce.or.v{self.lanes}i1"
        self._emitter.module.declare(f"declare i1 {function}({self._of('i1')})")
        return self._emit(f"call i1 {function}({self._of('i1')} {mask})")

    def _rarely(self, careful: Template, dtype: DType, operands: Sequence[str]) -> str:
        """The second operand, or by a branch the expansion of the others if the first one holds."""
        f, (unusual, usual, *others) = self._emitter, operands
        any_, before, rare, done = self._any(unusual), f.current, f.label("rare"), f.label("usual")
        f.branch_if(any_, rare, done)
        f.block(rare)
        inside = ScalarLowering(f, {}, contract=False, lanes=self.lanes)
        mended = inside._expand(careful, others, False)
        assert isinstance(mended, str)
        after = f.current
        f.branch(done)
        f.block(done)
        return f.phi(self._type(dtype), [(usual, before), (mended, after)])

    def _lane_by_lane(
        self, instruction: Native, types: Mapping[str, str], operands: Sequence[str]
    ) -> str:
        """A function with a loop of its own, called for each lane."""
        result = "poison"
        vectors, vector = self._of(types["t"]), self._of(types["r"])
        for lane in range(self.lanes):
            parts = [self._emit(f"extractelement {vectors} {x}, i32 {lane}") for x in operands]
            one = self._emit(instruction.text.format(*parts, **types))
            result = self._emit(
                f"insertelement {vector} {result}, {types['r']} {one}, i32 {lane}"
            )
        return result

    def _expand(
        self, made: Template, operands: Sequence[Register], contract: bool
    ) -> Register:
        """The registers of an expansion with its parameters bound to `operands`."""
        flat = [part for r in operands for part in ([r] if isinstance(r, str) else r)]
        known: dict[Value, Register] = dict(zip(made.params, flat, strict=True))
        for value, op in made.steps:
            for argument in op.args:
                if argument.literal is not None:
                    known[argument] = self._constant(argument.literal.array)
            fused = self._fused(op, known) if contract else None
            known[value] = self._apply(op, known, contract) if fused is None else fused
        parts = [self._known_part(known, value) for value in made.results]
        return parts[0] if len(parts) == 1 else (parts[0], parts[1])

    def _fused(self, op: Op, known: Mapping[Value, Register]) -> str | None:
        """A sum or a difference with a product in it, rounded once."""
        dtype = op.type.dtype
        has_fma = self._emitter.module.target.has_fma
        if op.name not in _SUMS or dtype not in (F32, F64) or not has_fma:
            return None
        for place, factor in enumerate(op.args):
            if factor.op is None or not factor.is_op("multiply"):
                continue
            a, b, other = (
                self._known_part(known, x) for x in (*factor.op.args, op.args[1 - place])
            )
            if op.name == "subtract":
                minus = self._emit(f"fneg {self._type(dtype)} {other if place == 0 else a}")
                a, other = (a, minus) if place == 0 else (minus, other)
            return self._intrinsic("fma", dtype, [a, b, other])
        return None

    def _reject(
        self, how: Rejection, dtypes: tuple[DType, ...], operands: Sequence[str]
    ) -> str:
        """Rounds until every lane has accepted a candidate. What is the same in all of them is
        computed before the loop."""
        f, number, bits, floats = self._emitter, *map(self._of, ("i64", "i1", "double"))
        made = one_round(how, dtypes)
        changing, same = made.params[: 1 + how.states], made.params[1 + how.states :]
        known: dict[Value, Register] = dict(zip(same, operands, strict=True))
        known |= {a: self._constant(a.literal.array) for _, op in made.steps
                  for a in op.args if a.literal is not None}  # fmt: skip
        varying = set(changing)
        for value, op in made.steps:
            if varying.isdisjoint(op.args):
                known[value] = self._apply(op, known, False)
            else:
                varying.add(value)
        carried = [("i64", "0"), (bits, splat("i1", "true", self.lanes)),
                   (floats, self._number(F64.type(np.nan))), (number, self._integer(0, 64)),
                   *[(floats, self._number(F64.type(0)))] * how.states]  # fmt: skip
        names = [f.fresh("next") for _ in carried]
        before, propose, retry, done = (f.current, *map(f.label, ("propose", "retry", "accepted")))
        f.block(propose)
        count, pending, found, *here = (
            f.phi(type_, [(start, before), (name, retry)])
            for (type_, start), name in zip(carried, names, strict=True)
        )
        known |= zip(changing, here, strict=True)
        for value, op in made.steps:
            if value in varying:
                known[value] = self._apply(op, known, False)
        candidate, accepted, *states = (self._known_part(known, r) for r in made.results)
        f.block(retry)
        chosen = f.emit(f"and {bits} {pending}, {accepted}")
        following = [
            f"add i64 {count}, 1", f"xor {bits} {pending}, {chosen}",
            f"select {bits} {chosen}, {floats} {candidate}, {floats} {found}",
            f"add {number} {here[0]}, {self._integer(1, 64)}",
            *(f"bitcast {floats} {s} to {floats}" for s in states),
        ]  # fmt: skip
        for name, instruction in zip(names, following, strict=True):
            f.do(f"{name} = {instruction}")
        more = f.emit(f"icmp ult i64 {names[0]}, {how.rounds}")
        f.branch_if(f.emit(f"and i1 {self._any(names[1])}, {more}"), propose, done)
        f.block(done)
        return names[2]

    def _known_part(self, known: Mapping[Value, Register], value: Value) -> str:
        found = known[value] if value.literal is None else self._number(value.literal.array)
        assert isinstance(found, str)
        return found

    # --- special ops ----------------------------------------------------------------------------
    def _lower_cast(
        self, op: Op, dtypes: Sequence[DType], operands: Sequence[Register]
    ) -> Register:
        return self.cast(operands[0], dtypes[0], op.type.dtype)

    def _lower_bitcast(
        self, op: Op, dtypes: Sequence[DType], operands: Sequence[Register]
    ) -> Register:
        source, target = dtypes[0], op.type.dtype
        if source == target:
            return operands[0]
        assert isinstance(operands[0], str)
        raw = packed(self._emit, operands[0], source, self.lanes)
        from_, to = (self._of(memory_type(d)) for d in (source, target))
        raw = raw if from_ == to else self._emit(f"bitcast {from_} {raw} to {to}")
        return unpacked(self._emit, raw, target, self.lanes)

    def _lower_where(
        self, op: Op, dtypes: Sequence[DType], operands: Sequence[Register]
    ) -> Register:
        condition, then, otherwise = operands
        type_, bit = self._type(op.type.dtype), self._of("i1")
        if isinstance(then, str):
            return self._emit(f"select {bit} {condition}, {type_} {then}, {type_} {otherwise}")
        re, im = (
            self._emit(f"select {bit} {condition}, {type_} {a}, {type_} {b}")
            for a, b in zip(then, otherwise, strict=True)
        )
        return re, im

    # --- casts ----------------------------------------------------------------------------------
    def _cast_complex(self, parts: tuple[str, str], source: DType, target: DType) -> Register:
        if target == BOOL:
            re, im = (self._cast_real(part, source, BOOL) for part in parts)
            return self._emit(f"or {self._of('i1')} {re}, {im}")
        if target.kind != "c":
            return self._cast_real(parts[0], source, target)
        re, im = (self._cast_real(part, source, part_dtype(target)) for part in parts)
        return re, im

    def _cast_real(self, x: str, source: DType, target: DType) -> str:
        if source == target:
            return x
        from_, to = self._type(source), self._type(target)
        if target == BOOL:
            if kind_of(source) == "f":
                return self._emit(f"fcmp une {from_} {x}, {self._number(source.type(0))}")
            return self._emit(f"icmp ne {from_} {x}, {self._integer(0, 8 * source.itemsize)}")
        if kind_of(source) == "f":
            if kind_of(target) == "f":
                return self._cast_float(x, source, target)
            return self._float_to_integer(x, source, target)
        if kind_of(target) == "f":
            return self._integer_to_float(x, source, target)
        if source.itemsize == target.itemsize and source != BOOL:
            return x
        if source.itemsize > target.itemsize:
            return self._emit(f"trunc {from_} {x} to {to}")
        return self._emit(f"{'sext' if source.kind == 'i' else 'zext'} {from_} {x} to {to}")

    def _integer_to_float(self, x: str, source: DType, target: DType) -> str:
        # An integer that f32 must round is infinite in f16, so f16 takes it from f32; to bf16
        # ml_dtypes rounds twice.
        wide = computed_in(target)
        name = "sitofp" if source.kind == "i" else "uitofp"
        number = self._emit(f"{name} {self._type(source)} {x} to {self._type(wide)}")
        return self._cast_real(number, wide, target)

    def _cast_float(self, x: str, source: DType, target: DType) -> str:
        if is_bfloat16(source):  # its register is a float
            return self._cast_real(x, F32, target)
        if is_bfloat16(target):
            return narrowed(self._emit, self._cast_real(x, source, F32), target, self.lanes)
        if source == F64 and target == F16:
            x, source = self._to_odd_f32(x), F32
        name = "fpext" if source.itemsize < target.itemsize else "fptrunc"
        return self._emit(f"{name} {self._type(source)} {x} to {self._type(target)}")

    def _to_odd_f32(self, x: str) -> str:
        """An f64 rounded to odd in f32, so that rounding on to f16 is as if done at once
        (S. Boldo, G. Melquiond, "When double rounding is odd", 2005): the bits f32 has no room
        for are gathered in its last one. Without this LLVM calls `__truncdfhf2`."""
        double, float_, long = self._of("double"), self._of("float"), self._of("i64")
        bits = self._emit(f"bitcast {double} {x} to {long}")
        tail = self._emit(f"and {long} {bits}, {self._integer((1 << 29) - 1, 64)}")
        zero, last = self._integer(0, 64), self._integer(1 << 29, 64)
        any_tail = self._emit(f"icmp ne {long} {tail}, {zero}")
        sticky = self._emit(
            f"select {self._of('i1')} {any_tail}, {long} {last}, {long} {zero}"
        )
        head = self._emit(f"and {long} {bits}, {self._integer(-(1 << 29), 64)}")
        odd = self._emit(f"or {long} {head}, {sticky}")
        return self._emit(
            f"fptrunc {double} {self._emit(f'bitcast {long} {odd} to {double}')} to {float_}"
        )

    def _float_to_integer(self, x: str, source: DType, target: DType) -> str:
        """Truncation. What does not fit is what x86-64's instructions give under NumPy: narrow
        integers come from the low bits of an i32."""
        if is_half(source):
            x, source = widened(self._emit, x, source, self.lanes), F32
        if target.kind == "u" and target.itemsize >= 4:
            return self._float_to_unsigned(x, source, target)
        number = self._float_to_signed(x, source, I64 if target == I64 else I32)
        if target.itemsize >= 4:
            return number
        return self._emit(f"trunc {self._of('i32')} {number} to {self._type(target)}")

    def _float_to_signed(self, x: str, source: DType, target: DType) -> str:
        """Truncation to i32 or i64; the most negative integer where the result does not fit."""
        type_, limit = self._type(source), 2.0 ** (8 * target.itemsize - 1)
        magnitude = self._intrinsic("fabs", source, [x])
        fits = self._emit(f"fcmp olt {type_} {magnitude}, {self._number(source.type(limit))}")
        to, bit = self._type(target), self._of("i1")
        number = self._emit(f"fptosi {type_} {x} to {to}")  # poison where not chosen: harmless
        least = self._integer(-int(limit), 8 * target.itemsize)
        return self._emit(f"select {bit} {fits}, {to} {number}, {to} {least}")

    def _float_to_unsigned(self, x: str, source: DType, target: DType) -> str:
        """The upper half of the range goes through the signed integers, moved down."""
        bits, signed = 8 * target.itemsize, np.dtype(f"i{target.itemsize}")
        type_, half = self._type(source), self._number(source.type(2.0 ** (bits - 1)))
        upper = self._emit(f"fcmp oge {type_} {x}, {half}")
        moved = self._emit(f"fsub {type_} {x}, {half}")
        bit = self._of("i1")
        within = self._emit(f"select {bit} {upper}, {type_} {moved}, {type_} {x}")
        number = self._float_to_signed(within, source, signed)
        to = self._type(target)
        high, zero = self._integer(-(1 << (bits - 1)), bits), self._integer(0, bits)
        top = self._emit(f"select {bit} {upper}, {to} {high}, {to} {zero}")
        return self._emit(f"xor {to} {number}, {top}")


_Special: TypeAlias = Callable[
    [ScalarLowering, Op, "Sequence[DType]", "Sequence[Register]"], Register
]
_SPECIAL: dict[str, _Special] = {
    "cast": ScalarLowering._lower_cast,
    "bitcast": ScalarLowering._lower_bitcast,
    "where": ScalarLowering._lower_where,
    "complex": lambda self, op, dtypes, parts: (str(parts[0]), str(parts[1])),
}
