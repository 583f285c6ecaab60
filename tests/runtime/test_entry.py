"""The native entry with hand-written programs: checks, slow path, errors, updates, references."""

import gc
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest

from jitgraph.codegen import pyobjects
from jitgraph.codegen.entry import emit_run
from jitgraph.codegen.libraries import addresses
from jitgraph.codegen.library import declare_functions
from jitgraph.codegen.llvm import FunctionBuilder, Module, compile_ir
from jitgraph.codegen.signature import OutputSpec, ParamSpec, program_parameters, slot_table
from jitgraph.codegen.target import host
from jitgraph.runtime import pyapi
from jitgraph.runtime.callable import Slots, make_callable_type, set_entry
from jitgraph.runtime.variant import ENTRY, Variant

F8, I8 = np.dtype("f8"), np.dtype("i8")
VECTOR = ParamSpec(F8, (None,), (False,), "C")
RESULT = OutputSpec("result", F8, 1)
SAME_LENGTH = [((0, 0), (1, 0))]


class Methods:
    """What an ordinary class brings to a callable type."""

    def __repr__(self):
        return f"<compiled {self.name}>"


Function = make_callable_type("Function", Methods)


class ProgramError(Exception):
    """What `fail` raises."""


def slow(*args, **kwargs):
    return "slow", args, kwargs


def fail(code, *args):
    raise ProgramError(code, args)


def module_of(params, outputs, body):
    """A module whose program is written by `body(code)`, a FunctionBuilder of @program."""
    module = Module(host())
    declare_functions(module)
    module.declare(slot_table(len(outputs)))
    parameters = program_parameters(params)
    body(FunctionBuilder(module, "program", parameters, returns="i64", internal=True))
    emit_run(module, params)
    return module


def variant_of(params, outputs, body, *, equal=(), single=True, nothing=True):
    """A loaded program with its table."""
    module = module_of(params, outputs, body)
    code = compile_ir(module.text(), host(), imports=addresses(module.imports))
    return Variant(code, params, outputs, equal_extents=equal, single=single, nothing=nothing)


def callable_of(*variants):
    """A callable that tries the variants in turn."""
    for k, variant in enumerate(variants[1:], 1):
        variants[k - 1].append(variant, variants[:k])
    function = Function()
    function.name = "test"
    set_entry(function, ENTRY, variants[0].address, slow, fail, variants)
    return function


def build(params, outputs, body, *, equal_dims=(), single=True):
    """A callable with one variant."""
    return callable_of(variant_of(params, outputs, body, equal=equal_dims, single=single))


def new_vector(code, length, out, maker="@new_array("):
    """Make a vector, put it into `outs[out]` and return its data."""
    dims = code.emit("alloca i64")
    code.do(f"store i64 {length}, ptr {dims}")
    array = code.emit(f"call ptr {maker}i32 {F8.num}, i32 1, ptr {dims})")
    code.do(f"store ptr {array}, ptr {code.offset('%outs', 8 * out)}")
    with code.if_then(code.emit(f"icmp eq ptr {array}, null")):
        code.do("ret i64 -1")
    return code.emit(f"load ptr, ptr {code.offset(array, pyobjects.ARRAY_DATA)}")


def element(code, pointer, index):
    return code.emit(f"getelementptr double, ptr {pointer}, i64 {index}")


def store_sum(code, length, target, x, y):
    with code.loop(0, length) as i:
        a = code.emit(f"load double, ptr {element(code, x, i)}")
        b = code.emit(f"load double, ptr {element(code, y, i)}")
        code.do(
            f"store double {code.emit(f'fadd double {a}, {b}')}, ptr {element(code, target, i)}"
        )


def add(code):
    store_sum(code, "%x0.extent0", new_vector(code, "%x0.extent0", 0), "%x0", "%x1")
    code.do("ret i64 0")


def scalar_to_vector(code):
    """Return the 64 bits of the scalar parameter as a vector of one."""
    data = new_vector(code, 1, 0)
    code.do(f"store i64 {code.emit('load i64, ptr %x0')}, ptr {data}")
    code.do("ret i64 0")


@pytest.fixture(scope="module")
def adder():
    return build([VECTOR, VECTOR], [RESULT], add, equal_dims=SAME_LENGTH)


@pytest.fixture
def arrays():
    return np.arange(4.0), np.arange(4.0) + 10


def accumulate(slots):
    """f(x): total += x; returns the new total. x[0] == -7 is error 7, -1 a Python error; both
    happen after the outputs have been made."""

    def body(code):
        n = "%x0.extent0"
        slot = code.emit(f"inttoptr i64 {slots.address} to ptr")
        total = new_vector(code, n, 0, f"@take_spare(ptr {slot}, ")
        result = new_vector(code, n, 1)
        first = code.emit("load double, ptr %x0")
        with code.if_then(code.emit(f"fcmp oeq double {first}, -7.0")):
            code.do("ret i64 7")
        with code.if_then(code.emit(f"fcmp oeq double {first}, -1.0")):
            new_vector(code, -1, 2)
        state = code.emit("call ptr @release_gil()")
        store_sum(code, n, total, "%x0", "%x1")
        store_sum(code, n, result, "%x0", "%x1")
        code.do(f"call void @acquire_gil(ptr {state})")
        # The third output is made only for its failure above.
        new_vector(code, 0, 2)
        code.do("ret i64 0")

    shared = ParamSpec(F8, (None,), (False,), "C", slots.address)
    outputs = [OutputSpec("update", F8, 1, slots.address), RESULT, RESULT]
    return build([VECTOR, shared], outputs, body, equal_dims=SAME_LENGTH, single=False)


class TestArguments:
    def test_values(self, adder, arrays):
        x, y = arrays
        result = adder(x, y)
        assert type(result) is np.ndarray
        assert result.flags.owndata
        np.testing.assert_array_equal(result, x + y)
        assert adder(np.zeros(0), np.zeros(0)).shape == (0,)
        assert adder.__call__(x, y)[3] == 16

    @pytest.mark.parametrize(
        "args",
        [
            (),
            (np.zeros(4),),
            (np.zeros(4),) * 3,
            ([0.0] * 4, np.zeros(4)),
            (np.zeros(4), None),
            (np.zeros(4), 1.0),
            (np.zeros(4), np.zeros(4).view(np.recarray)),
            (np.zeros(4), np.zeros(4, "f4")),
            (np.zeros(4), np.zeros(4, "i8")),
            (np.zeros(4), np.zeros(4, ">f8")),
            (np.zeros(4), np.zeros((4, 1))),
            (np.zeros(4), np.array(0.0)),
            (np.zeros(4), np.zeros(5)),
            (np.zeros(4), np.zeros(8)[::2]),
            (np.zeros(4), np.zeros(33, "u1")[1:].view("f8")),
        ],
    )
    def test_anything_else_goes_slow(self, adder, args):
        name, got, kwargs = adder(*args)
        assert name == "slow"
        assert [*map(id, got)] == [*map(id, args)]
        assert not kwargs

    def test_keywords_go_slow(self, adder, arrays):
        assert adder(*arrays, out=3) == ("slow", arrays, {"out": 3})
        assert adder(x=1) == ("slow", (), {"x": 1})

    def test_read_only_and_unpickled_arrays_are_fast(self, adder, arrays):
        x, y = pickle.loads(pickle.dumps(arrays))
        assert x.dtype is not F8
        y.flags.writeable = False
        np.testing.assert_array_equal(adder(x, y), x + y)

    def test_known_extents(self):
        f = build([ParamSpec(F8, (3,), (False,), "C"), VECTOR], [RESULT], add)
        assert f(np.ones(3), np.ones(3))[0] == 2
        assert f(np.ones(4), np.ones(4))[0] == "slow"

    def test_not_one(self):
        some = ParamSpec(F8, (None,), (True,), "C")
        f = build([some, some], [RESULT], add)
        assert f(np.ones(2), np.ones(2))[0] == 2
        assert f(np.ones(1), np.ones(1))[0] == "slow"

    def test_strided(self):
        def body(code):
            data = new_vector(code, "%x0.extent1", 0)
            with code.loop(0, "%x0.extent1") as j:
                column = code.emit(f"mul i64 {j}, %x0.stride1")
                at = code.emit(f"add i64 %x0.stride0, {column}")
                value = code.emit(f"load double, ptr {code.offset('%x0', at)}")
                code.do(f"store double {value}, ptr {element(code, data, j)}")
            code.do("ret i64 0")

        f = build([ParamSpec(F8, (None, None), (False, False), "??")], [RESULT], body)
        x = np.arange(60.0).reshape(6, 10)
        for view in (x[::-2, ::3], x[:, ::-1], x.T[::3, ::2]):
            np.testing.assert_array_equal(f(view), view[1])
        for view in (x, x.T, x[:, :5], np.broadcast_to(x[0], (4, 10)), x[:, :5].T):
            assert f(view)[0] == "slow"
        assert f(x) == ("slow", (x,), {})


class TestScalars:
    @pytest.mark.parametrize(
        "value", [2.5, np.nan, -1.0, 3, -1, 0, 2**60 + 1, -(10**300), np.float64(7), np.array(0.1)]
    )
    def test_float_parameter(self, value):
        f = build([ParamSpec(F8, (), (), "C")], [RESULT], scalar_to_vector)
        np.testing.assert_array_equal(f(value), [float(value)])

    @pytest.mark.parametrize("value", [10**400, True, "1", np.float32(1), 1j, None])
    def test_float_parameter_goes_slow(self, value):
        f = build([ParamSpec(F8, (), (), "C")], [RESULT], scalar_to_vector)
        assert f(value) == ("slow", (value,), {})

    @pytest.mark.parametrize(
        "value",
        [0, -1, 2**63 - 1, -(2**63), np.int64(-5), np.array(6), np.array(6, "q"), np.array(6, "l")],
    )
    def test_int_parameter(self, value):
        f = build([ParamSpec(I8, (), (), "C")], [RESULT], scalar_to_vector)
        assert f(value).view("i8")[0] == value

    @pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400, 1.0, False, np.int32(1)])
    def test_int_parameter_goes_slow(self, value):
        f = build([ParamSpec(I8, (), (), "C")], [RESULT], scalar_to_vector)
        assert f(value) == ("slow", (value,), {})

    def test_dtypes_without_native_code(self):
        for dtype in (">f8", "O", "M8[s]", "U3", np.longdouble, [("a", "f8")]):
            with pytest.raises(ValueError, match="cannot take"):
                ParamSpec(np.dtype(dtype), (), (), "C")


class TestResults:
    def test_none(self):
        f = build([VECTOR], [], lambda code: code.do("ret i64 0"), single=False)
        before = sys.getrefcount(None)
        assert all(f(np.ones(2)) is None for _ in range(1000))
        assert abs(sys.getrefcount(None) - before) < 100

    def test_list(self):
        def body(code):
            for k in range(3):
                store_sum(code, "%x0.extent0", new_vector(code, "%x0.extent0", k), "%x0", "%x0")
            code.do("ret i64 0")

        f = build([VECTOR], [RESULT] * 3, body, single=False)
        results = f(np.ones(2))
        assert [r.tolist() for r in results] == [[2, 2]] * 3
        assert [*map(sys.getrefcount, results)] == [2] * 3

    def test_single_needs_one(self):
        with pytest.raises(ValueError, match="exactly one"):
            variant_of([VECTOR], [RESULT, RESULT], lambda code: code.do("ret i64 0"))


class TestUpdates:
    def test_swap(self):
        slots = Slots(np.zeros(3))
        f, seen = accumulate(slots), []
        for step in range(1, 7):
            total, _ = f(np.ones(3))
            assert total.tolist() == slots.get().tolist() == [step] * 3
            seen.append(slots.get().ctypes.data)
        assert seen[0] == seen[2] == seen[4] != seen[1] == seen[3] == seen[5]

    def test_borrowed_arrays_are_not_overwritten(self):
        mine, memory = np.zeros(3), np.zeros(6)
        slots = Slots(mine)
        f, held = accumulate(slots), []
        for _ in range(5):
            held.append(slots.get())
            f(np.ones(3))
        assert [a[0] for a in held] == [0, 1, 2, 3, 4]
        slots.set(memory[:3])  # a view that nobody else refers to, of memory that we see
        for _ in range(4):
            f(np.ones(3))
        assert not mine.any()
        assert not memory.any()
        assert slots.get().tolist() == [4, 4, 4]

    def test_unfit_spares_are_dropped(self):
        slots = Slots(np.zeros(3))
        f = accumulate(slots)
        for unfit in (np.zeros(4), np.zeros((3, 1)), np.zeros(3, "i8"), np.zeros(3, ">f8")):
            slots.set(unfit)
            f(np.ones(3))  # goes slow: the current array does not fit
            slots._cells[:] = [np.zeros(3), unfit]
            assert f(np.ones(3))[0].tolist() == [1, 1, 1]
            assert not unfit.any()
        frozen = np.zeros(3)
        frozen.flags.writeable = False
        slots._cells[:] = [np.zeros(3), frozen]
        del frozen
        f(np.ones(3))
        assert slots.get().flags.writeable

    def test_old_array_is_dropped_when_there_is_a_spare(self):
        """As when another thread has committed between this call's start and its end."""
        old, spare = np.zeros(3), np.zeros(3)
        slots = Slots(old)
        slots._cells[1] = spare
        shared = ParamSpec(F8, (None,), (False,), "C", slots.address)
        update = OutputSpec("update", F8, 1, slots.address)
        f = build([VECTOR, shared], [update], add, single=False)
        assert f(np.ones(3)) is None
        assert slots.get().tolist() == [1, 1, 1]
        assert slots._cells[1] is spare
        assert sys.getrefcount(old) == 2
        assert sys.getrefcount(spare) == 3

    def test_current_array_that_does_not_fit_goes_slow(self):
        slots = Slots(np.zeros(3))
        f, x = accumulate(slots), np.ones(3)
        slots.set(np.zeros(4))
        assert f(x)[0] == "slow"
        slots.set([0.0] * 3)
        assert f(x)[0] == "slow"
        slots.set(np.zeros(3))
        assert f(x)[0].tolist() == [1, 1, 1]

    @pytest.mark.parametrize(("first", "error"), [(-7, ProgramError), (-1, ValueError)])
    def test_failing_calls_change_nothing(self, first, error):
        slots = Slots(np.zeros(3))
        f, x, bad = accumulate(slots), np.ones(3), np.array([first, 0.0, 0.0])

        def attempt():
            try:
                f(bad)
            except error as raised:
                if error is ProgramError:
                    code, args = raised.args
                    assert code == 7
                    assert args[0] is bad
            else:
                pytest.fail("no error")

        f(x)
        current = slots.get()
        attempt()  # the first one loses the spare
        counts = [sys.getrefcount(o) for o in (x, bad, current, fail, F8)]
        blocks = sys.getallocatedblocks()
        for _ in range(10_000):
            attempt()
        assert slots.get() is current
        assert current.tolist() == [1, 1, 1]
        assert [sys.getrefcount(o) for o in (x, bad, current, fail, F8)] == counts
        assert abs(sys.getallocatedblocks() - blocks) < 500

    def test_threads(self):
        """Concurrent updates with the GIL released in between: every total is whole, that is,
        the sum of ones that some sequence of calls made."""
        slots = Slots(np.zeros(2000))
        f, x, torn = accumulate(slots), np.ones(2000), []

        def hammer():
            for _ in range(2000):
                total, _ = f(x)
                now = slots.get()
                if total.min() != total.max() or now.min() != now.max():
                    torn.append(total)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=hammer) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert not torn
        assert 2000 <= slots.get()[0] <= 16_000
        counts = [*map(sys.getrefcount, slots._cells)]
        assert counts == [2, 2]


class TestReferences:
    def test_ten_thousand_calls(self, adder, arrays):
        x, y = arrays
        slots = Slots(np.zeros(4))
        update = accumulate(slots)
        watched = (x, y, F8, np.ndarray, slow, adder, slots)
        short = np.zeros(3)

        def calls(count):
            for _ in range(count):
                adder(x, y)
                adder(x, short)
                adder(x)
                update(x)

        calls(100)
        counts, blocks = [*map(sys.getrefcount, watched)], sys.getallocatedblocks()
        calls(10_000)
        assert [*map(sys.getrefcount, watched)] == counts
        assert abs(sys.getallocatedblocks() - blocks) < 500

    def test_result_belongs_to_the_caller(self, adder, arrays):
        result = adder(*arrays)
        assert sys.getrefcount(result) == 2
        gone = weakref.ref(result)
        del result
        assert gone() is None

    def test_scalar_ints_and_slow_path_with_errors(self):
        f = build([ParamSpec(F8, (), (), "C")], [RESULT], scalar_to_vector)
        big, blocks = 10**400, sys.getallocatedblocks()
        count = sys.getrefcount(big)
        for _ in range(10_000):
            f(big)
            f(3)
        assert sys.getrefcount(big) == count
        assert abs(sys.getallocatedblocks() - blocks) < 500


class TestLifetime:
    def test_deletion_frees_the_code(self, arrays):
        f = build([VECTOR, VECTOR], [RESULT], add, equal_dims=SAME_LENGTH)
        (_, _, (variant,)) = f._code_owners[0]
        code, gone = weakref.ref(variant._code), weakref.ref(f)
        del variant
        f(*arrays)
        del f
        assert gone() is None
        assert code() is None

    def test_variants_may_be_added_while_the_function_runs(self, arrays):
        """As the slow path does when it has compiled another one."""

        def double(code):
            store_sum(code, "%x0.extent0", new_vector(code, "%x0.extent0", 0), "%x0", "%x0")
            code.do("ret i64 0")

        first = variant_of([VECTOR], [RESULT], double)
        strided = [ParamSpec(F8, (None,), (False,), "?")]
        second = variant_of(strided, [RESULT], lambda code: code.do("ret i64 9"))

        def extend(*args):
            first.append(second, [first])
            gc.collect()
            return f(*args)

        f = Function()
        set_entry(f, ENTRY, first.address, extend, fail, (first, second))
        x, _ = arrays
        assert f(x).tolist() == (x + x).tolist()
        with pytest.raises(ProgramError):
            f(x[::2])
        assert f(x).tolist() == (x + x).tolist()


class TestLayouts:
    def test_text_is_the_same_in_every_process(self):
        """So that the cache can key on it and keep the object code."""

        def text(slots):
            params = [ParamSpec(F8, (None,), (False,), "C", slots.address)]
            update = OutputSpec("update", F8, 1, slots.address)
            return module_of(params, [update], lambda code: code.do("ret i64 0")).text()

        assert text(Slots(np.zeros(1))) == text(Slots(np.zeros(1)))

    @pytest.mark.parametrize("field", ["ARRAY_NDIM", "ARRAY_FLAGS", "DESCR_TYPENUM"])
    def test_unknown_layouts_are_refused(self, monkeypatch, field):
        monkeypatch.setattr(pyobjects, field, getattr(pyobjects, field) - 8)
        with pytest.raises(pyapi.UnsupportedPython, match="laid out"):
            pyapi._check_arrays()
