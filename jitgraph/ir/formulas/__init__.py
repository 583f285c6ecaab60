"""Special functions as formulas over simpler ops, written once.

Each is a function of float64 arrays, which is what its op means in the interpreter, and of f64
values, which is the code generated for it. SciPy is what tests hold both against.
"""
