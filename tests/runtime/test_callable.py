"""Callable types and the cells of shared variables, without generated code."""

import gc
import pickle
import sys
import weakref

import numpy as np
import pytest

from jitgraph.runtime.callable import Slots, make_callable_type, set_entry


class Methods:
    """What an ordinary class brings to a callable type."""

    def __repr__(self):
        return f"<compiled {self.name}>"


Function = make_callable_type("Function", Methods)


class Reduced(Methods):
    def __reduce__(self):
        return rebuilt, (self.name,)


ReducedFunction = make_callable_type("ReducedFunction", Reduced)


def rebuilt(name):
    made = ReducedFunction()
    made.name = name
    return made


class TestCallable:
    def test_is_an_ordinary_object(self):
        adder = Function()
        adder.name = "test"
        assert repr(adder) == "<compiled test>"
        assert isinstance(adder, Methods)
        assert callable(adder)
        assert Function.__name__ == "Function"
        adder.note = 1
        assert vars(adder)["note"] == 1
        del adder.note
        assert not hasattr(adder, "note")

    def test_vectorcall_is_really_used(self):
        assert Function.__flags__ & (1 << 11)

    def test_uncompiled(self):
        with pytest.raises(TypeError):
            Function()(1)

    def test_pickle(self):
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(Function())
        assert pickle.loads(pickle.dumps(rebuilt("me"))).name == "me"

    def test_bad_methods_and_objects(self):
        with pytest.raises(TypeError, match="__call__"):
            make_callable_type("Bad", type("Bad", (), {"__call__": print}))
        with pytest.raises(TypeError, match="make_callable_type"):
            set_entry(print, 0, 0, None, None, None)

    def test_cycles_are_collected(self):
        gc.collect()
        before = sys.getrefcount(Function)
        for _ in range(100):
            f = Function()
            f.myself = [f]
        gone = weakref.ref(f)
        del f
        gc.collect()
        assert gone() is None
        assert sys.getrefcount(Function) == before


class TestSlots:
    def test_references(self):
        array, other = np.zeros(2), np.ones(2)
        slots = Slots(array)
        assert slots.get() is array
        assert sys.getrefcount(array) == 3
        slots.set(other)
        assert sys.getrefcount(array) == 2
        slots.drop_spare()
        gone = weakref.ref(slots)
        del slots
        assert gone() is None
        assert sys.getrefcount(other) == 2
