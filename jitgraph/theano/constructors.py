"""`scalar`, `dmatrix`, `fvectors`, ... under their names."""

from jitgraph.theano.variables import CONSTRUCTORS

globals().update(CONSTRUCTORS)
