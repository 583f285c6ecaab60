"""Convolutions, pooling and patches under Theano's names, old and new."""

from __future__ import annotations

from typing import Any

import jitgraph.tensor as jt
from jitgraph.errors import OptionError, ShapeError
from jitgraph.theano.convshapes import filled, get_conv_shape_1axis, hint, numbers
from jitgraph.theano.unshared import unshared_conv2d
from jitgraph.theano.variables import as_tensor_variable, spoken


# --- convolutions ------------------------------------------------------------------------------
@spoken
def conv2d_of_today(
    input: Any, filters: Any, input_shape: Any = None, filter_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1), filter_flip: bool = True,
    image_shape: Any = None, filter_dilation: Any = (1, 1), num_groups: int = 1,
    unshared: bool = False, **unused: Any,
) -> Any:  # fmt: skip
    """`theano.tensor.nnet.conv2d`."""
    if unshared:
        return unshared_conv2d(input, filters, filter_shape, border_mode, subsample, filter_flip,
                               filter_dilation, num_groups)  # fmt: skip
    return jt.nnet.conv2d(
        as_tensor_variable(input), as_tensor_variable(filters),
        hint(input_shape if image_shape is None else image_shape), hint(filter_shape),
        numbers(border_mode), numbers(subsample), filter_flip, numbers(filter_dilation),
        num_groups,
    )  # fmt: skip


def conv2d_of_old(
    input: Any, filters: Any, image_shape: Any = None, filter_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1), **unused: Any,
) -> Any:  # fmt: skip
    """`theano.tensor.nnet.conv.conv2d`."""
    return conv2d_of_today(input, filters, image_shape, filter_shape, border_mode, subsample)


class ConvOp:
    """`ConvOp(imshp, kshp, nkern, bsize, dx, dy, output_mode)(images, filters)`."""

    def __init__(self, imshp: Any = None, kshp: Any = None, nkern: Any = None, bsize: Any = None,
                 dx: int = 1, dy: int = 1, output_mode: str = "valid",
                 **unused: Any) -> None:  # fmt: skip
        self.output_mode, self.steps = output_mode, (dx or 1, dy or 1)

    def __call__(self, inputs: Any, kerns: Any) -> Any:
        return conv2d_of_old(inputs, kerns, None, None, self.output_mode, self.steps)

    @staticmethod
    def getOutputShape(inshp: Any, kshp: Any, stride: Any = (1, 1),  # noqa: N802
                       mode: str = "valid") -> tuple[Any, ...]:  # fmt: skip
        """The rows and columns that come out."""
        return tuple(get_conv_shape_1axis(n, k, mode, s)
                     for n, k, s in zip(inshp, kshp, stride, strict=True))  # fmt: skip


@spoken
def conv2d_of_signals(
    input: Any, filters: Any, image_shape: Any = None, filter_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1), **unused: Any,
) -> Any:  # fmt: skip
    """`theano.tensor.signal.conv.conv2d`: one channel, images and filters may be matrices."""
    x, w = as_tensor_variable(input), as_tensor_variable(filters)
    if x.ndim not in (2, 3) or w.ndim not in (2, 3):
        raise ShapeError(f"signals are matrices or stacks of them, not {x.type} and {w.type}")
    images, kernels = (
        v.dimshuffle(0, "x", 1, 2) if v.ndim == 3 else v.dimshuffle("x", "x", 0, 1) for v in (x, w)
    )
    made = jt.nnet.conv2d(images, kernels, border_mode=border_mode, subsample=subsample)
    if w.ndim == 2:
        made = made[:, 0]
    return made[0] if x.ndim == 2 else made


@spoken
def conv3d(
    input: Any, filters: Any, input_shape: Any = None, filter_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1, 1), num_groups: int = 1,
) -> Any:  # fmt: skip
    """`theano.tensor.nnet.conv3d`."""
    return jt.nnet.conv3d(
        as_tensor_variable(input), as_tensor_variable(filters), hint(input_shape),
        hint(filter_shape), numbers(border_mode), numbers(subsample), filter_flip,
        numbers(filter_dilation), num_groups,
    )  # fmt: skip


@spoken
def conv3d_by_2d(signals: Any, filters: Any, signals_shape: Any = None,
                 filters_shape: Any = None, border_mode: Any = "valid",
                 subsample: Any = (1, 1, 1), **unused: Any) -> Any:  # fmt: skip
    """`conv3d2d.conv3d`: axes are (batch, time, channels, rows, columns)."""
    x, w = (as_tensor_variable(v).dimshuffle(0, 2, 1, 3, 4) for v in (signals, filters))
    made = jt.nnet.conv3d(x, w, border_mode=border_mode, subsample=subsample)
    return made.dimshuffle(0, 2, 1, 3, 4)


@spoken
def conv3D(V: Any, W: Any, b: Any, d: Any) -> Any:  # noqa: N802, N803  (Theano's names)
    """`Conv3D.conv3D`: axes are (batch, rows, columns, time, channels), correlated."""
    x, w = (as_tensor_variable(v).dimshuffle(0, 4, 1, 2, 3) for v in (V, W))
    made = jt.nnet.conv3d(x, w, subsample=numbers(d), filter_flip=False)
    return made.dimshuffle(0, 2, 3, 4, 1) + b


@spoken
def conv2d_grad_wrt_inputs(
    output_grad: Any, filters: Any, input_shape: Any, filter_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1), num_groups: int = 1, unshared: bool = False,
) -> Any:  # fmt: skip
    """The adjoint of the images of a `conv2d` with this adjoint."""
    if unshared:
        g, w = as_tensor_variable(output_grad), as_tensor_variable(filters)
        x = jt.zeros(filled(input_shape, g.shape[0], w.shape[3] * num_groups), str(g.dtype))
        made = conv2d_of_today(x, w, None, filter_shape, border_mode, subsample, filter_flip, None,
                               filter_dilation, num_groups, True)  # fmt: skip
        return jt.Lop(made, x, g)
    return jt.nnet.conv2d_transpose(
        as_tensor_variable(output_grad), as_tensor_variable(filters), numbers(input_shape),
        hint(filter_shape), numbers(border_mode), numbers(subsample), filter_flip,
        numbers(filter_dilation), num_groups,
    )  # fmt: skip


@spoken
def conv2d_transpose(
    input: Any, filters: Any, output_shape: Any, filter_shape: Any = None,
    border_mode: Any = "valid", input_dilation: Any = (1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1), num_groups: int = 1, unshared: bool = False,
) -> Any:  # fmt: skip
    """`theano.tensor.nnet.conv2d_transpose`."""
    return conv2d_grad_wrt_inputs(
        input, filters, output_shape, filter_shape, border_mode, input_dilation, filter_flip,
        filter_dilation, num_groups, unshared,
    )  # fmt: skip


@spoken
def conv2d_grad_wrt_weights(
    input: Any, output_grad: Any, filter_shape: Any, input_shape: Any = None,
    border_mode: Any = "valid", subsample: Any = (1, 1), filter_flip: bool = True,
    filter_dilation: Any = (1, 1), num_groups: int = 1, unshared: bool = False,
) -> Any:  # fmt: skip
    """The adjoint of the filters of a `conv2d` with this adjoint."""
    x, g = as_tensor_variable(input), as_tensor_variable(output_grad)
    channels = () if unshared else (x.shape[1] // num_groups,)
    filters = jt.zeros(filled(filter_shape, g.shape[1], *channels), str(g.dtype))
    made = conv2d_of_today(x, filters, input_shape, filter_shape, border_mode, subsample,
                           filter_flip, None, filter_dilation, num_groups, unshared)  # fmt: skip
    return jt.Lop(made, filters, g)


# --- pooling -----------------------------------------------------------------------------------
def _window(ws: Any, ds: Any, ignore_border: Any, stride: Any, st: Any, pad: Any, padding: Any,
            rank: int) -> dict[str, Any]:  # fmt: skip
    """The windows, by our arguments, from old and new names of them."""
    size = ws if ws is not None else ds
    if size is None:
        raise OptionError("the size of the windows is missing", hint="ws=(2, 2)")
    around = pad if pad is not None else padding
    return {
        "ws": numbers(size), "ignore_border": bool(ignore_border),
        "stride": numbers(stride if stride is not None else st),
        "pad": (0,) * rank if around is None else numbers(around),
    }  # fmt: skip


@spoken
def pool_2d(
    input: Any, ws: Any = None, ignore_border: Any = None, stride: Any = None, pad: Any = None,
    mode: str = "max", ds: Any = None, st: Any = None, padding: Any = None,
) -> Any:  # fmt: skip
    """Windows along the last two axes, reduced by mode."""
    windows = _window(ws, ds, ignore_border, stride, st, pad, padding, 2)
    return jt.nnet.pool_2d(as_tensor_variable(input), mode=mode, **windows)


@spoken
def pool_3d(
    input: Any, ws: Any = None, ignore_border: Any = None, stride: Any = None, pad: Any = None,
    mode: str = "max", ds: Any = None, st: Any = None, padding: Any = None,
) -> Any:  # fmt: skip
    """Windows along the last three axes, reduced by mode."""
    windows = _window(ws, ds, ignore_border, stride, st, pad, padding, 3)
    return jt.nnet.pool_3d(as_tensor_variable(input), mode=mode, **windows)


def max_pool_2d(input: Any, ds: Any, ignore_border: Any = None, st: Any = None,
                padding: Any = (0, 0), mode: str = "max") -> Any:  # fmt: skip
    """`pool_2d` under its older name."""
    return pool_2d(input, ds, ignore_border, st, padding, mode)


@spoken
def max_pool_2d_same_size(input: Any, patch_size: Any) -> Any:
    """The input where it is the largest of its patch, else 0."""
    x = as_tensor_variable(input)
    rows, columns = numbers(patch_size)
    top = jt.nnet.pool_2d(x, (rows, columns), False)
    spread = jt.repeat(jt.repeat(top, rows, x.ndim - 2), columns, x.ndim - 1)
    key = (..., slice(0, x.shape[x.ndim - 2]), slice(0, x.shape[x.ndim - 1]))
    return jt.where(jt.equal(x, spread[key]), x, jt.zeros_like(x))


class Pool:
    """`Pool(ignore_border, mode)(x, ws, stride, pad)`."""

    def __init__(self, ignore_border: bool = False, mode: str = "max", ndim: int = 2,
                 openmp: Any = None) -> None:  # fmt: skip
        self.ignore_border, self.mode, self.ndim = ignore_border, mode, ndim

    def __call__(self, x: Any, ws: Any, stride: Any = None, pad: Any = None) -> Any:
        pool = pool_2d if self.ndim == 2 else pool_3d
        return pool(x, ws, self.ignore_border, stride, pad, self.mode)

    @staticmethod
    def out_shape(
        imgshape: Any, ws: Any = None, ignore_border: bool = False, stride: Any = None,
        pad: Any = None, ndim: int = 2, ds: Any = None, st: Any = None, padding: Any = None,
    ) -> list[Any]:  # fmt: skip
        """The shape that comes out."""
        window = _window(ws, ds, ignore_border, stride, st, pad, padding, ndim)
        steps = window["stride"] or window["ws"]
        columns = zip(imgshape[-ndim:], window["ws"], steps, window["pad"], strict=True)
        return [*imgshape[:-ndim], *(_windows(*column, ignore_border) for column in columns)]


def _windows(size: Any, window: int, step: int, pad: int, ignore_border: bool) -> Any:
    """How many windows there are along an axis."""
    if ignore_border:
        return (size + 2 * pad - window) // step + 1
    if step >= window:
        return (size - 1) // step + 1
    return max(0, (size - 1 - window + step) // step) + 1


class DownsampleFactorMax(Pool):
    """`DownsampleFactorMax(ds, ignore_border)(x)`."""

    def __init__(self, ds: Any, ignore_border: bool = False, st: Any = None,
                 padding: Any = (0, 0), mode: str = "max") -> None:  # fmt: skip
        super().__init__(ignore_border, mode)
        self.ds, self.st, self.padding = ds, st, padding

    def __call__(self, x: Any) -> Any:  # type: ignore[override]
        return super().__call__(x, self.ds, self.st, self.padding)


# --- patches -----------------------------------------------------------------------------------
@spoken
def images2neibs(ten4: Any, neib_shape: Any, neib_step: Any = None, mode: str = "valid") -> Any:
    """The patches of images as rows of a matrix."""
    return jt.nnet.images2neibs(as_tensor_variable(ten4), numbers(neib_shape),
                                numbers(neib_step), mode)  # fmt: skip


def Images2Neibs(mode: str = "valid") -> Any:  # noqa: N802  (Theano's name)
    """`images2neibs` as an op."""
    return lambda x, shape, step=None: images2neibs(x, shape, step, mode)


@spoken
def neibs2images(neibs: Any, neib_shape: Any, original_shape: Any, mode: str = "valid") -> Any:
    """The images that patches next to each other were taken of."""
    patches = as_tensor_variable(neibs)
    (height, width), (n, channels, rows, columns) = numbers(neib_shape), list(original_shape)
    grid = (n, channels, rows // height, columns // width, height, width)
    made = patches.reshape(grid).dimshuffle(0, 1, 2, 4, 3, 5)
    return made.reshape((n, channels, rows, columns))
