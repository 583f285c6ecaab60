# ruff: noqa: F401  (everything imported here is exported)
"""The symbolic API: `import jitgraph.tensor as T`.

Variables stand for arrays that do not exist yet; NumPy's operators, methods and functions build
expressions of them, and `jitgraph.function` compiles the expressions.

| room | what is in it |
|---|---|
| `variable` | `Variable`, with NumPy's operators and methods |
| `constructors` | `scalar`, `dvector`, `lmatrices`, ... : the inputs of a program |
| `creation`, `sequences` | `zeros`, `eye`, `arange`; `linspace`, `meshgrid`, `mgrid`, ... |
| `math`, `functions` | elementwise functions, one per op of the tables; expressions in these |
| `complexes` | elementary functions of complex numbers, by their parts |
| `reductions` | `sum`, `mean`, `argmax`, ... |
| `statistics` | `average`, `cov`, what leaves NaNs out |
| `shaping` | `reshape`, `concatenate`, `split`, ... |
| `arranging`, `diagonals` | `flip`, `roll`, `tile`, ...; `diag`, `tril`, `trace`, ... |
| `padding`, `packing` | `pad`; `packbits`, `unpackbits` |
| `indexing`, `masks` | `x[...]`; `nonzero`, `compress`, ... |
| `writing` | `x.at[...].set(v)`, `set_subtensor`, `take_along_axis` |
| `applying` | `apply_along_axis`, ... |
| `linear`, `products` | `dot`, `matmul`, `outer`; `inner`, `kron`, `cross`, `convolve`, ... |
| `contraction` | `einsum`, `tensordot` |
| `counting` | `searchsorted`, `bincount`, `histogram`, ... |
| `calculus` | `diff`, `gradient`, `trapezoid`, `interp` |
| `polynomials` | `polyval`, `polyfit`, `roots`, ... |
| `sorting` | `sort`, `argsort`, `median`, `quantile` |
| `sets` | `unique`, `isin`, `union1d`, ... |
| `linalg` | `linalg.solve`, `linalg.svd`, ... |
| `fft` | `fft.fft`, `fft.rfft2`, ... |
| `control`, `scan` | `while_loop`, `fori_loop`, `cond`, `ifelse`; `scan`, `map`, `reduce` |
| `nnet` | `softmax`, cross-entropies |
| `special` | special functions under SciPy's names |
| `shared` | `shared`: variables with a value of their own |
| `random` | random numbers: functions of keys, and `RandomStreams` |
| `gradient` | `grad` |
| `derivatives` | `jacobian`, `hessian`, `jvp`, `vjp`, `hvp`, `vectorize_graph` |
| `marks` | `stop_gradient`, `grad_clip`, ...: what gradients see |
| `opaque` | `as_op`, `Print`: Python functions in expressions |
| `operands` | what may stand where an array is meant |
| `dispatch`, `refusals` | NumPy's own names: `np.f(x)` is `T.f(x)`; which are refused, and why |

The functions that follow from tables are spelled out for type checkers and editors in
`__init__.pyi`, which `python -m jitgraph.tensor.stub` writes.
"""

import inspect as _inspect
import math as _math

from jitgraph.tensor import calculus, fft, linalg, nnet, random, special
from jitgraph.tensor import complex_products as _complex_products
from jitgraph.tensor import dispatch as _dispatch
from jitgraph.tensor.applying import apply_along_axis, apply_over_axes
from jitgraph.tensor.arranging import (
    append,
    block,
    broadcast_arrays,
    column_stack,
    delete,
    flip,
    fliplr,
    flipud,
    insert,
    matrix_transpose,
    repeat,
    resize,
    roll,
    rollaxis,
    rot90,
    tile,
    trim_zeros,
    unstack,
)
from jitgraph.tensor.calculus import (
    diff,
    ediff1d,
    interp,
    trapezoid,
    unwrap,
)
from jitgraph.tensor.constructors import CONSTRUCTORS, tensor
from jitgraph.tensor.contraction import einsum, tensordot
from jitgraph.tensor.control import cond, fori_loop, ifelse, loop_rows, while_loop
from jitgraph.tensor.counting import (
    bincount,
    digitize,
    histogram,
    histogram2d,
    histogram_bin_edges,
    histogramdd,
    ravel_multi_index,
    searchsorted,
    unravel_index,
)
from jitgraph.tensor.creation import arange, eye, full, ones, zeros
from jitgraph.tensor.derivatives import (
    Lop,
    Rop,
    hessian,
    hvp,
    jacobian,
    jvp,
    vectorize_graph,
    vjp,
)
from jitgraph.tensor.diagonals import (
    diag,
    diag_indices,
    diag_indices_from,
    diagflat,
    diagonal,
    trace,
    tri,
    tril,
    tril_indices,
    tril_indices_from,
    triu,
    triu_indices,
    triu_indices_from,
    vander,
)
from jitgraph.tensor.functions import (
    angle,
    array_equal,
    array_equiv,
    bitwise_count,
    can_cast,
    choose,
    common_type,
    divmod,
    fabs,
    fix,
    float_power,
    frexp,
    fromfunction,
    imag,
    iscomplex,
    iscomplexobj,
    isneginf,
    isposinf,
    isreal,
    isrealobj,
    ldexp,
    modf,
    nan_to_num,
    nextafter,
    piecewise,
    real,
    result_type,
    select,
    spacing,
)
from jitgraph.tensor.gradient import grad
from jitgraph.tensor.indexing import take
from jitgraph.tensor.linear import dot, matmul, outer
from jitgraph.tensor.marks import (
    consider_constant,
    disconnected_grad,
    grad_clip,
    grad_scale,
    stop_gradient,
    zero_grad,
)
from jitgraph.tensor.masks import argwhere, compress, extract, flatnonzero, nonzero
from jitgraph.tensor.math import (
    FUNCTIONS,
    allclose,
    cast,
    clip,
    isclose,
    relu,
    round,
    switch,
    where,
)
from jitgraph.tensor.opaque import Print, as_op
from jitgraph.tensor.operands import as_tensor
from jitgraph.tensor.packing import packbits, unpackbits
from jitgraph.tensor.padding import pad
from jitgraph.tensor.polynomials import (
    poly,
    polyadd,
    polyder,
    polydiv,
    polyfit,
    polyint,
    polymul,
    polysub,
    polyval,
    roots,
)
from jitgraph.tensor.products import (
    batched_dot,
    convolve,
    correlate,
    cross,
    inner,
    kron,
    matvec,
    vdot,
    vecdot,
    vecmat,
)
from jitgraph.tensor.reductions import (
    all,
    any,
    argmax,
    argmin,
    cummax,
    cummin,
    cumprod,
    cumsum,
    cumulative_prod,
    cumulative_sum,
    logsumexp,
    max,
    max_and_argmax,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from jitgraph.tensor.scan import foldl, foldr, map, reduce, scan, until
from jitgraph.tensor.sequences import (
    bartlett,
    blackman,
    empty,
    empty_like,
    geomspace,
    hamming,
    hanning,
    identity,
    indices,
    ix_,
    kaiser,
    linspace,
    logspace,
    meshgrid,
    mgrid,
    ogrid,
)
from jitgraph.tensor.sets import (
    intersect1d,
    isin,
    setdiff1d,
    setxor1d,
    union1d,
    unique,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from jitgraph.tensor.shaping import (
    array_split,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_to,
    concatenate,
    dimshuffle,
    dsplit,
    dstack,
    expand_dims,
    flatten,
    full_like,
    hsplit,
    hstack,
    moveaxis,
    ndim,
    ones_like,
    ravel,
    reshape,
    shape,
    shape_padleft,
    shape_padright,
    size,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
    vsplit,
    vstack,
    zeros_like,
)
from jitgraph.tensor.shared import SharedVariable, shared
from jitgraph.tensor.sorting import (
    argpartition,
    argsort,
    lexsort,
    median,
    nanmedian,
    nanpercentile,
    nanquantile,
    partition,
    percentile,
    quantile,
    sort,
    sort_complex,
    top_k,
)
from jitgraph.tensor.special import polygamma, zeta
from jitgraph.tensor.statistics import (
    average,
    corrcoef,
    count_nonzero,
    cov,
    nanargmax,
    nanargmin,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmin,
    nanprod,
    nanstd,
    nansum,
    nanvar,
    ptp,
)
from jitgraph.tensor.variable import Variable
from jitgraph.tensor.writing import (
    inc_subtensor,
    put_along_axis,
    set_subtensor,
    take_along_axis,
)

as_tensor_variable = as_tensor
constant = as_tensor
asarray = array = asanyarray = ascontiguousarray = asfortranarray = copy = as_tensor
amax, amin, around, astype = max, min, round, cast
concat, permute_dims, row_stack = concatenate, transpose, vstack
log_softmax = nnet.log_softmax
softmax = nnet.softmax
inf, nan, pi = _math.inf, _math.nan, _math.pi
newaxis = None

#: NumPy's function, not the module of that name.
gradient = calculus.gradient

globals().update(FUNCTIONS)
globals().update(CONSTRUCTORS)
_dispatch.NAMESPACE.update(globals())

_OWN_ROOMS = ("fft", "linalg", "nnet", "random", "special")
__all__ = sorted(
    name for name, value in globals().items()
    if not name.startswith("_") and name not in ("FUNCTIONS", "CONSTRUCTORS")
    and (name in _OWN_ROOMS or not _inspect.ismodule(value))
)  # fmt: skip
