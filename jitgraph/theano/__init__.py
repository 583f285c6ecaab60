"""Programs of the Theano era, as they are: `import theano` finds jitgraph.

    python -m jitgraph.theano program.py arguments
    python -m jitgraph.theano --py2 program.py

or, in a program of today, `jitgraph.theano.install()` before `import theano`. What Theano's names
mean here is in the tables of `names`; habits that differ from jitgraph's own API (a variable is
true, `==` is identity, softmax of a vector is a matrix) hold for variables made under those names.

| file | what is in it |
|---|---|
| `names` | the tables: Theano's modules and names, and what they are here |
| `finder` | the modules, made of the tables |
| `types`, `variables`, `testvalues` | `TensorType`; variables and shared variables; test values |
| `config`, `constants`, `scalars`, `versions` | settings of the era; plain values |
| `basic`, `elemwise`, `extra`, `linalg`, `opclasses`, `constructors` | `theano.tensor` |
| `nnet`, `batchnorm`, `ctc` | `theano.tensor.nnet` |
| `images`, `abstract`, `convshapes`, `unshared`, `upsampling`, `dnn` | convolutions and pooling |
| `functions`, `signature`, `callables` | `theano.function`, its `In` and `Out`, what it makes |
| `modes`, `guards` | modes, and what watches over calls |
| `ops`, `views`, `scalarops`, `opgraph`, `undefined` | ops of the user's own, their gradients |
| `sharing` | `theano.shared` |
| `gradient`, `scanning`, `control`, `streams`, `printing`, `graphs`, `gof` | modules so named |
| `python2`, `era` | sources in Python 2; what Python and NumPy had in those years |
| `coverage` | the page of what is there |
"""

from jitgraph.theano.finder import install, uninstall

__all__ = ["install", "uninstall"]
