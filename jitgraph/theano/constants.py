"""Names of `theano.tensor` that stand for plain values."""

import math

import numpy as np

inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
newaxis = None
NoneConst = None
FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
DISCRETE = ("bool", *INTEGERS, *UNSIGNED)
CONTINUOUS = (*FLOATS, *COMPLEX)
ALL = tuple(str(np.dtype(name)) for name in (*DISCRETE, *CONTINUOUS))
