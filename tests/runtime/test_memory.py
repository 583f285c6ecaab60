"""Results whose memory is used again: no two live ones share it, whatever the user does."""

from __future__ import annotations

import ctypes
import gc
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen.recycling import SMALLEST
from jitgraph.errors import OptionError

SIZES = (0, 1, 4, 5, 600, SMALLEST // 8 - 1, SMALLEST // 8, SMALLEST // 8 + 1, 70_000)


@pytest.fixture(scope="module")
def shift():
    x, c = T.dvector("x"), T.dscalar("c")
    return jg.function([x, c], x + c)


@pytest.fixture(autouse=True)
def limited():
    before = jg.memory.limit()
    jg.memory.clear()
    yield
    jg.memory.set_limit(before)
    jg.memory.clear()


def handler(array):
    return np._core.multiarray.get_handler_name(array)


def new_array(dtype, shape):
    """What a program would get for a result."""
    from jitgraph.runtime.pyapi import LIBRARY

    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    dims = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    return make(LIBRARY.address("new_array"))(np.dtype(dtype).num, len(shape), dims)


class TestOrdinary:
    """A result is what NumPy would have made."""

    @pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16"])
    @pytest.mark.parametrize(
        "shape",
        [(), (0,), (1,), (7,), (1, 1), (1, 5), (5, 1), (3, 4), (0, 3), (2, 1, 3), (300, 300)],
    )
    def test_the_struct_is_numpys(self, shape, dtype):
        got, want = new_array(dtype, shape), np.empty(shape, dtype)
        assert type(got) is np.ndarray
        assert got.flags.num == want.flags.num
        assert (got.shape, got.strides, got.base) == (want.shape, want.strides, None)
        assert got.dtype is want.dtype
        assert sys.getrefcount(got) == 2
        large = got.nbytes >= SMALLEST
        assert handler(got) == ("jitgraph_pool" if large else handler(want))
        assert got.ctypes.data % (4096 if large else got.itemsize) == 0

    @pytest.mark.parametrize(
        ("shape", "error"),
        [((-1,), ValueError), ((2**62, 2**62), ValueError), ((2**50,), MemoryError),
         ((2**39, 2**39), ValueError), ((2**38, 4), MemoryError)],
    )  # fmt: skip
    def test_impossible_shapes(self, shape, error):
        for _ in range(3):
            with pytest.raises(error):
                new_array("f8", shape)

    @pytest.mark.parametrize("size", SIZES)
    def test_resize(self, shift, size):
        x = np.arange(float(size))
        for other in (*SIZES, 3 * size):
            result = shift(x, 1.0)
            result.resize(other)
            want = np.resize(x + 1, other) if other <= size else np.pad(x + 1, (0, other - size))
            np.testing.assert_array_equal(result, want)
            result.resize(size)

    @pytest.mark.parametrize("size", SIZES)
    def test_pickle_weakref_and_buffers(self, shift, size):
        result = shift(np.zeros(size), 2.0)
        assert pickle.loads(pickle.dumps(result)).tolist() == [2.0] * size
        view, gone = memoryview(result), weakref.ref(result)
        del result
        assert gone() is not None
        again = shift(np.zeros(size), 3.0)
        assert view.tolist() == [2.0] * size
        del view
        assert gone() is None
        assert again.tolist() == [3.0] * size

    def test_tracemalloc_sees_them(self, shift):
        x = np.zeros(100_000)
        tracemalloc.start()
        try:
            result = shift(x, 1.0)
            assert tracemalloc.get_traced_memory()[0] >= result.nbytes
            del result
            assert tracemalloc.get_traced_memory()[0] < x.nbytes
        finally:
            tracemalloc.stop()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["call", "drop", "view", "reshape", "dtype", "freeze", "resize", "write"]),
        st.integers(0, 7),
        st.sampled_from([4, 600, 9000, 9001, 70_000]),
    ),
    max_size=40,
)


class TestRecycling:
    @given(ACTIONS)
    def test_live_results_never_share_memory(self, shift, actions):
        """Each result is filled with its own number, which must stay whatever happens to others."""
        live = {}
        for number, (action, place, size) in enumerate(actions):
            array, value = live.get(place, (None, None))
            if action == "call":
                live[place] = shift(np.zeros(size), float(number)), float(number)
            elif array is None:
                continue
            elif action == "drop":
                del live[place]
            elif action == "view":
                live[place] = array[1::2], value
            elif action == "freeze":
                array.setflags(write=False)
            elif array.base is None and array.flags.writeable and array.ndim == 1:
                if action == "reshape":
                    array.shape = (1, array.size)
                elif action == "dtype" and array.dtype == np.float64:
                    array.dtype = np.dtype("i8")
                    live[place] = array, int(np.float64(value).view("i8"))
                elif action == "resize":
                    del live[place]
                    array.resize(array.size // 2, refcheck=False)
                    live[place] = array, value
                elif action == "write":
                    array[:] = value = 1000 + number
                    live[place] = array, value
            array = None
            for held, expected in live.values():
                assert (held == expected).all()

    def test_blocks_come_back(self, shift):
        x = np.zeros(1 << 20)
        places = []
        for _ in range(5):
            result = shift(x, 1.0)
            places.append(result.ctypes.data)
            del result
        assert len(set(places)) == 1
        first, second = shift(x, 1.0), shift(x, 2.0)
        assert not np.shares_memory(first, second)

    def test_bounds(self, shift):
        jg.memory.set_limit(10 << 20)
        assert jg.memory.limit() == 10 << 20
        held = [shift(np.zeros(n), 1.0) for n in range(100_000, 500_000, 10_000)]
        assert jg.memory.kept() == 0
        while held:
            held.pop()
            assert jg.memory.kept() <= 10 << 20
        assert jg.memory.kept() > 8 << 20
        many = [shift(np.zeros(SMALLEST // 8), 1.0) for _ in range(200)]
        many.clear()
        assert 0 < jg.memory.kept() <= 10 << 20
        shift(np.zeros(2 << 20), 1.0)  # larger than the limit
        assert jg.memory.kept() <= 10 << 20
        jg.memory.set_limit(1 << 20)
        assert jg.memory.kept() <= 1 << 20
        jg.memory.set_limit(0)
        shift(np.zeros(1 << 20), 1.0)
        assert jg.memory.kept() == 0
        with pytest.raises(OptionError):
            jg.memory.set_limit(-1)

    def test_clear(self, shift):
        shift(np.zeros(1 << 20), 1.0)
        assert jg.memory.kept() >= 8 << 20
        jg.memory.clear()
        assert jg.memory.kept() == 0

    def test_threads(self, shift):
        wrong = []

        def work(number):
            held = []
            for k in range(300):
                size = (100, 9000, 200_000)[k % 3]
                held.append((shift(np.zeros(size), float(number * 1000 + k)), number * 1000 + k))
                wrong.extend(v for a, v in held if a[0] != v or a[-1] != v)
                if len(held) > 4:
                    held.pop(k % 4)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        gc.collect()
        assert 0 <= jg.memory.kept() <= jg.memory.limit()


@pytest.mark.parametrize("ending", ["", "import os, sys; sys.exit(0)", "del f", "raise SystemExit"])
def test_exit_with_live_results(ending):
    code = f"""
import numpy as np, builtins, atexit
import jitgraph as jg, jitgraph.tensor as T
x = T.dvector("x")
f = jg.function([x], x + 1)
kept = [f(np.zeros(n)) for n in (4, 9000, 1000000)]
builtins.kept_longer = [f(np.zeros(n)) for n in (4, 9000, 1000000)]
class Late:
    def __init__(self): self.arrays = [f(np.zeros(n)) for n in (4, 9000, 1000000)]
    def __del__(self): self.arrays.clear()
late = Late(); late.cycle = late
{ending}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
