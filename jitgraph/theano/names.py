"""The tables: which module of Theano's has which name, and what that is here.

A line of `_SOURCES` is one of our modules and the names that come from it; `theirs=ours` where the
two differ. `REFUSED` are known names that are missing, and why. `docs/theano.md` is made from this.
"""

from __future__ import annotations

from typing import Any

from jitgraph.theano.types import KINDS, NAMED

_CONSTRUCTORS = " ".join([*KINDS, *NAMED])
_PLURALS = " ".join(
    name[:-1] + "ces" if name.endswith("matrix") else name + "s" for name in [*KINDS, *NAMED]
)
_HERE = "jitgraph.theano."
_VIEWS = (
    "ViewOp view_op DeepCopyOp deep_copy_op Shape shape Shape_i shape_i Rebroadcast SpecifyShape "
    "specify_shape FromFunctionOp OutputGuard _output_guard=view_op"
)
_C_CODE = " ".join(
    f"register_{op}_c_code=ignored"
    for op in ("view_op", "deep_copy_op", "shape", "shape_i", "rebroadcast", "specify_shape")
)
_DNN = (
    "dnn_available dnn_present dnn_conv dnn_conv3d dnn_pool dnn_gradweight dnn_gradinput "
    "dnn_gradweight3d dnn_gradinput3d GpuDnnSoftmax dnn_batch_normalization_train "
    "dnn_batch_normalization_test"
)

#: module of Theano -> our module -> names.
_SOURCES: dict[str, dict[str, str]] = {
    "theano": {
        "variables": "Apply Variable=Habits TensorVariable TensorSharedVariable "
                     "Constant=TensorConstant as_symbolic=as_tensor_variable",
        "sharing": "shared",
        "functions": "function In Out Param clone OrderedUpdates map_variables Container",
        "config": "config change_flags",
        "opgraph": "OpFromGraph",
        "modes": "Mode predefined_modes",
        "opaque": "sparse_grad=same",
        "ops": "Op as_op",
        "types": "generic",
        "scanning": "scan map reduce foldl foldr scan_checkpoints",
        "printing": "pp pprint=pp",
        "gradient": "grad Rop Lop subgraph_grad",
        "graphs": "FunctionGraph=Graph",
        "versions": "__version__ version __api_version__",
        "basic": "dot",
        "testvalues": "get_scalar_constant_value=scalar_constant",
    },
    "theano.configparser": {"config": "change_flags TheanoConfigParser=TheanoConfig config "
                                      "ConfigParam _config_var_list=SETTINGS"},
    "theano.configdefaults": {"config": "config"},
    "theano.version": {"versions": "version full_version=version short_version=version"},
    "theano.tensor": {
        "ops": "Op",
        "types": "TensorType",
        "variables": "TensorVariable TensorSharedVariable TensorConstant as_tensor_variable "
                     "Constant=TensorConstant Apply ScalarSharedVariable=TensorSharedVariable "
                     "as_tensor=as_tensor_variable tensor constant Variable=Habits "
                     "reshape round=rounded _tensor_py_operators=Habits",
        "sharing": "shared _shared=shared",
        "constructors": _CONSTRUCTORS + " " + _PLURALS,
        "basic": "sum prod mean var std max min argmax argmin max_and_argmax ptp cast iround clip "
                 "complex complex_from_polar chi2sf largest smallest mul add zeros ones "
                 "zeros_like ones_like fill alloc eye identity_like arange concatenate join stack "
                 "stacklists horizontal_stack vertical_stack split tile repeat shape shape_i "
                 "flatten transpose shape_padleft shape_padright shape_padaxis addbroadcast "
                 "switch where unbroadcast "
                 "patternbroadcast specify_shape nonzero nonzero_values take "
                 "set_subtensor inc_subtensor sort argsort topk argtopk topk_and_argtopk dot "
                 "tensordot batched_dot batched_tensordot get_vector_length default tensor_copy "
                 "scalar_from_tensor tensor_from_scalar DimShuffle",
        "testvalues": "get_scalar_constant_value=scalar_constant NotScalarConstantError "
                      "extract_constant=constant_or_self",
        "gradient": "grad Rop Lop jacobian hessian verify_grad numeric_grad "
                    "DisconnectedInputError",
        "elemwise": "Elemwise CAReduce Sum Prod All Any=Any_ Subtensor AdvancedSubtensor "
                    "AdvancedSubtensor1 IncSubtensor AdvancedIncSubtensor AdvancedIncSubtensor1",
        "opclasses": "Alloc ARange Argmax Dot Eye Flatten Join Max MaxAndArgmax Mean Min Reshape "
                     "ScalarFromTensor Split TensorFromScalar AllocDiag ExtractDiag",
        "views": "Rebroadcast SpecifyShape Shape",
        "extra": "choose diff bincount squeeze compress cumsum cumprod unique searchsorted "
                 "to_one_hot fill_diagonal fill_diagonal_offset unravel_index ravel_multi_index "
                 "bartlett broadcast_shape_iter cpu_contiguous",
        "linalg": "diag",
        "constants": "NoneConst inf nan pi e newaxis float_dtypes=FLOATS int_dtypes=INTEGERS "
                     "uint_dtypes=UNSIGNED discrete_dtypes=DISCRETE continuous_dtypes=CONTINUOUS "
                     "complex_dtypes=COMPLEX all_dtypes=ALL",
        "jitgraph.tensor":
            "abs_ neg inv=reciprocal exp exp2 expm1 log log2 log10 log1p sqrt sqr sgn sin cos tan "
            "arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh ceil floor trunc "
            "rad2deg deg2rad erf erfc erfinv erfcinv erfcx gamma gammaln psi tri_gamma "
            "j0 j1 i0 i1 sigmoid conj imag real angle maximum minimum "
            "sub true_div int_div mod eq neq lt le gt ge and_ or_ xor invert bitwise_and "
            "bitwise_or bitwise_xor bitwise_not isnan isinf isclose allclose any all "
            "flatnonzero outer diagonal trace tri tril triu swapaxes moveaxis roll "
            "logaddexp pow power consider_constant identity mgrid ogrid percentile logical_and "
            "logical_or logical_not abs=abs_ ravel dimshuffle square einsum",
    },
    "theano.scalar": {
        "scalars": "upcast as_scalar constant Scalar",
        "scalarops": "ScalarOp UnaryScalarOp BinaryScalarOp upgrade_to_float upcast_out same_out "
                     "transfer_type specific_out same_out_nocomplex upgrade_to_float_no_complex",
        "basic": "add mul cast identity=tensor_copy second=fill switch",
        "jitgraph.tensor": "sub true_div int_div mod pow eq neq lt le gt ge and_ or_ xor invert "
                           "abs_ neg inv=reciprocal exp exp2 expm1 log log2 log10 log1p sqrt sqr "
                           "sgn sin cos tan sinh cosh tanh arcsin arccos arctan ceil floor trunc "
                           "sigmoid softplus erf erfc gamma gammaln psi maximum minimum"},
    "theano.scalar.basic_scipy": {
        "scalars": "Erf Erfc Erfcx Erfinv Erfcinv Gamma GammaLn Psi TriGamma J0 J1 I0 I1",
        "jitgraph.tensor": "erf erfc erfcx erfinv erfcinv gamma gammaln psi tri_gamma j0 j1 i0 i1"},
    "theano.tensor.opt": {
        "ops": "Assert assert_op assert_",
        "modes": "register_canonicalize=ignored register_specialize=ignored "
                 "register_stabilize=ignored register_uncanonicalize=ignored "
                 "register_useless=ignored local_optimizer=ignored"},
    "theano.tensor.blas": {"opaque": "use_c_blas=yes", "basic": "batched_dot batched_tensordot"},
    "theano.tensor.elemwise": {"elemwise": "Elemwise CAReduce Sum Prod All Any=Any_",
                               "basic": "DimShuffle"},
    "theano.tensor.xlogx": {"basic": "xlogx xlogy0"},
    "theano.tensor.nnet": {
        "nnet": "sigmoid hard_sigmoid ultra_fast_sigmoid softplus softsign relu elu selu softmax "
                "logsoftmax softmax_with_bias softmax_op=softmax Softmax binary_crossentropy "
                "sigmoid_binary_crossentropy categorical_crossentropy "
                "crossentropy_softmax_argmax_1hot_with_bias crossentropy_softmax_1hot_with_bias "
                "crossentropy_softmax_1hot crossentropy_softmax_max_and_argmax_1hot "
                "crossentropy_softmax_max_and_argmax_1hot_with_bias "
                "crossentropy_categorical_1hot h_softmax confusion_matrix prepend_0_to_each_row "
                "prepend_1_to_each_row prepend_scalar_to_each_row",
        "batchnorm": "batch_normalization batch_normalization_train batch_normalization_test",
        "images": "conv2d=conv2d_of_today conv2d_transpose conv3d conv2d_grad_wrt_inputs "
                  "conv2d_grad_wrt_weights",
        "abstract": "separable_conv2d separable_conv3d causal_conv1d conv3d_grad_wrt_inputs "
                    "conv3d_grad_wrt_weights",
    },
    "theano.tensor.nnet.ctc": {"ctc": "ctc ctc_available"},
    "theano.tensor.nnet.conv": {"images": "conv2d=conv2d_of_old ConvOp"},
    "theano.tensor.nnet.bn": {"batchnorm": "batch_normalization batch_normalization_train "
                                           "batch_normalization_test"},
    "theano.tensor.nnet.neighbours": {"images": "images2neibs neibs2images Images2Neibs"},
    "theano.tensor.nnet.abstract_conv": {
        "images": "conv2d=conv2d_of_today conv3d conv2d_grad_wrt_inputs conv2d_grad_wrt_weights "
                  "conv2d_transpose",
        "abstract": "AbstractConv2d AbstractConv2d_gradInputs AbstractConv2d_gradWeights "
                    "AbstractConv3d AbstractConv3d_gradInputs AbstractConv3d_gradWeights "
                    "BaseAbstractConv assert_shape causal_conv1d conv3d_grad_wrt_inputs "
                    "conv3d_grad_wrt_weights separable_conv2d separable_conv3d",
        "convshapes": "border_mode_to_pad check_conv_gradinputs_shape get_conv_output_shape "
                      "get_conv_shape_1axis get_conv_gradinputs_shape "
                      "get_conv_gradinputs_shape_1axis get_conv_gradweights_shape "
                      "get_conv_gradweights_shape_1axis",
        "upsampling": "bilinear_upsampling frac_bilinear_upsampling bilinear_kernel_2D "
                      "bilinear_kernel_1D"},
    "theano.tensor.nnet.conv3d2d": {"images": "conv3d=conv3d_by_2d"},
    "theano.tensor.nnet.Conv3D": {"images": "conv3D"},
    "theano.tensor.signal": {},
    "theano.tensor.signal.pool": {"images": "pool_2d pool_3d max_pool_2d_same_size Pool"},
    "theano.tensor.signal.downsample": {
        "images": "max_pool_2d max_pool_2d_same_size DownsampleFactorMax"},
    "theano.tensor.signal.conv": {"images": "conv2d=conv2d_of_signals"},
    "theano.tensor.shared_randomstreams": {"streams": "RandomStreams"},
    "theano.tensor.raw_random": {
        "streams": "uniform normal binomial random_integers choice poisson permutation "
                   "multinomial shuffle_row_elements random_state_type"},
    "theano.tensor.randomstreams": {"streams": "RandomStreams"},
    "theano.tensor.nlinalg": {
        "linalg": "pinv matrix_inverse matrix_dot alloc_diag extract_diag diag trace det eig eigh "
                  "qr svd lstsq matrix_power norm tensorinv tensorsolve inv=matrix_inverse",
        "opclasses": "AllocDiag Det Eig Eigh ExtractDiag MatrixInverse MatrixPinv QRFull "
                     "QRIncomplete SVD TensorInv TensorSolve"},
    "theano.tensor.slinalg": {
        "linalg": "Cholesky=CholeskyOf cholesky solve Solve=SolveOf solve_symmetric "
                  "solve_lower_triangular solve_upper_triangular eigvalsh kron expm",
        "opclasses": "Eigvalsh Expm"},
    "theano.tensor.fft": {"linalg": "rfft irfft"},
    "theano.tensor.extra_ops": {
        "basic": "repeat",
        "extra": "diff bincount squeeze compress bartlett cumsum cumprod unique "
                 "searchsorted to_one_hot fill_diagonal fill_diagonal_offset unravel_index "
                 "ravel_multi_index cpu_contiguous Unique=UniqueOf",
        "opclasses": "Bartlett BinCountOp CpuContiguous CumOp CumprodOp CumsumOp DiffOp "
                     "FillDiagonal FillDiagonalOffset RavelMultiIndex RepeatOp SearchsortedOp "
                     "UnravelIndex"},
    "theano.tensor.sort": {"basic": "sort argsort topk argtopk topk_and_argtopk",
                           "opclasses": "SortOp ArgSortOp"},
    "theano.tensor.io": {"opaque": "load"},
    "theano.tensor.utils": {"extra": "hash_from_ndarray shape_of_variables"},
    "theano.tensor.type": {"types": "TensorType"},
    "theano.tensor.subtensor": {
        "basic": "set_subtensor inc_subtensor take",
        "elemwise": "Subtensor AdvancedSubtensor AdvancedSubtensor1 IncSubtensor "
                    "AdvancedIncSubtensor AdvancedIncSubtensor1"},
    "theano.sparse": {
        "opaque": "enable_sparse=no SparseType=Never SparseVariable=Never SparseConstant=Never"},
    "theano.sandbox": {},
    "theano.sandbox.rng_mrg": {"streams": "MRG_RandomStreams"},
    "theano.sandbox.cuda": {
        "config": "use",
        "opaque": "cuda_available=no cuda_enabled=no cuda_ndarray=none "
                  "device_properties=nothing basic_ops=none host_from_gpu=same gpu_from_host=same"},
    "theano.sandbox.cuda.rng_curand": {"streams": "CURAND_RandomStreams=MRG_RandomStreams"},
    "theano.sandbox.cuda.basic_ops": {"opaque": "host_from_gpu=same gpu_from_host=same "
                                                "gpu_contiguous=same"},
    "theano.sandbox.neighbours": {"images": "images2neibs neibs2images"},
    "theano.sandbox.linalg": {"linalg": "matrix_inverse matrix_dot pinv det diag extract_diag "
                                        "alloc_diag=diag trace eig eigh qr svd psd solve"},
    "theano.gpuarray": {"config": "use", "opaque": "pygpu_activated=no init_dev=nothing"},
    "theano.gpuarray.dnn": {"dnn": _DNN},
    "theano.gpuarray.ctc": {"ctc": "gpu_ctc=ctc ctc_available"},
    "theano.sandbox.cuda.dnn": {"dnn": _DNN},
    "theano.ifelse": {"control": "ifelse IfElse"},
    "theano.gradient": {
        "gradient": "grad Rop Lop jacobian hessian verify_grad numeric_grad consider_constant "
                    "disconnected_grad zero_grad grad_clip grad_scale grad_undefined "
                    "grad_not_implemented DisconnectedType DisconnectedInputError "
                    "NullTypeGradError GradientError subgraph_grad undefined_grad format_as "
                    "NullType ConsiderConstant ZeroGrad DisconnectedGrad GradClip GradScale "
                    "UndefinedGrad consider_constant_ zero_grad_ disconnected_grad_ "
                    "undefined_grad_ DisconnectedVariable"},
    "theano.printing": {
        "printing": "pp pprint=pp debugprint Print pydotprint pydotprint_variables=pydotprint "
                    "min_informative_str hex_digest var_descriptor"},
    "theano.compile": {
        "functions": "function In Out Param SymbolicInput=In SymbolicOutput=Out Function=AFunction "
                     "pfunc=function rebuild_collect_shared orig_function=function "
                     "UnusedInputError",
        "sharing": "shared", "variables": "SharedVariable=TensorSharedVariable",
        "modes": "Mode FAST_RUN FAST_COMPILE get_default_mode get_mode predefined_modes "
                 "register_mode DebugMode NanGuardMode MonitorMode default_mode=predefined_default "
                 "register_linker=ignored register_optimizer=ignored shared_constructor=ignored",
        "ops": "as_op FunctionOp=as_op " + _C_CODE,
        "views": _VIEWS,
        "opgraph": "OpFromGraph",
        "opaque": "ProfileStats optdb",
    },
    "theano.compile.function": {"functions": "function"},
    "theano.compile.io": {"functions": "In Out SymbolicInput=In SymbolicOutput=Out"},
    "theano.compile.pfunc": {"functions": "Param pfunc=function rebuild_collect_shared"},
    "theano.compile.function_module": {
        "functions": "Function=AFunction UnusedInputError orig_function=function SymbolicInput=In "
                     "SymbolicOutput=Out In Out"},
    "theano.compile.sharedvalue": {
        "sharing": "shared", "variables": "SharedVariable=TensorSharedVariable",
        "types": "generic", "modes": "shared_constructor=ignored"},
    "theano.compile.mode": {
        "modes": "Mode FAST_RUN FAST_COMPILE get_default_mode get_mode predefined_modes "
                 "register_mode default_mode=predefined_default optdb=none "
                 "register_linker=ignored register_optimizer=ignored"},
    "theano.compile.debugmode": {
        "modes": "DebugMode DebugModeError InvalidValueError BadOptimization=DebugModeError "
                 "BadThunkOutput=DebugModeError BadDestroyMap=DebugModeError "
                 "BadViewMap=DebugModeError StochasticOrder=DebugModeError"},
    "theano.compile.nanguardmode": {"modes": "NanGuardMode"},
    "theano.compile.monitormode": {"modes": "MonitorMode detect_nan"},
    "theano.compile.builders": {"opgraph": "OpFromGraph"},
    "theano.compile.ops": {"ops": "as_op " + _C_CODE, "views": _VIEWS},
    "theano.compile.profiling": {"opaque": "ProfileStats"},
    "theano.scan_module": {
        "scanning": "scan map reduce foldl foldr until scan_checkpoints",
        "functions": "clone OrderedUpdates"},
    "theano.scan_module.scan_utils": {
        "scanning": "until", "functions": "clone map_variables",
        "graphs": "equal_computations"},
    "theano.gof": {
        "ops": "Op PureOp=Op",
        "gof": "ParamsType Feature",
        "callables": "Container",
        "variables": "Apply Variable=Habits Constant=TensorConstant",
        "types": "generic Generic Type=TensorType",
        "graphs": "FunctionGraph=Graph Env=Graph MethodNotDefined InconsistencyError "
                  "MissingInputError toolbox=none view_roots inputs",
        "modes": "optdb=none Optimizer=object_ object2=object_ local_optimizer=ignored "
                 "OpSub=ignored PatternSub=ignored EquilibriumDB=ignored SequenceDB=ignored "
                 "Query=ignored DestroyHandler=ignored"},
    "theano.gof.type": {"types": "generic Generic Type=TensorType"},
    "theano.gof.fg": {"graphs": "FunctionGraph=Graph MissingInputError"},
    "theano.gof.graph": {
        "graphs": "inputs ancestors variables orphans ops io_toposort stack_search clone "
                  "equal_computations "
                  "list_of_nodes view_roots is_in_ancestors is_same_graph",
        "variables": "Apply Variable=Habits Constant=TensorConstant"},
    "theano.gof.op": {"ops": "Op PureOp=Op get_test_value"},
    "theano.gof.utils": {
        "graphs": "MethodNotDefined hash_from_code",
        "gof": "scratchpad undef TestValueError add_tag_trace memoize deprecated uniq difference "
               "flatten",
        "modes": "object2=object_"},
    "theano.updates": {"functions": "OrderedUpdates"},
    "theano.misc": {},
    "theano.misc.pkl_utils": {"pickling": "dump load StripPickler PersistentNdarrayID"},
    "theano.misc.safe_asarray": {"opaque": "_asarray=asarray"},
    "theano.misc.strutil": {},
    "theano.compat": {"compat": "OrderedDict izip imap ifilter cmp defaultdict reduce PY3 "
                                "exc_message Callable Iterable Mapping"},
    "theano.compat.python2x": {"compat": "OrderedDict defaultdict partial any all"},
    "theano.d3viz": {"printing": "d3viz=pydotprint_html"},
    "theano.d3viz.formatting": {},
    "theano.tests": {},
    "theano.tests.unittest_tools": {"testing": "seed_rng fetch_seed verify_grad assert_allclose"},
}  # fmt: skip

#: Modules that have the names of others.
ALIASES = {
    "theano.tensor.basic": "theano.tensor",
    "theano.tensor.var": "theano.tensor",
    "theano.tensor.sharedvar": "theano.tensor",
    "theano.tensor.nnet.nnet": "theano.tensor.nnet",
    "theano.tensor.nnet.sigm": "theano.tensor.nnet",
    "theano.tensor.nnet.basic": "theano.tensor.nnet",
    "theano.scan_module.scan": "theano.scan_module",
    "theano.scan_module.scan_views": "theano.scan_module",
    "theano.sandbox.multinomial": "theano.sandbox.rng_mrg",
}

_CUDA = "there is no such GPU back end; remove the import, programs run on the CPU"
_C = "ops written in C are not taken: write perform() in Python, or an expression"
_LINKER = "programs are compiled by jitgraph: there are no linkers to choose"
#: Known names that are missing, and why.
REFUSED: dict[str, str] = {
    "theano.sandbox.cuda.blas": _CUDA,
    "theano.sandbox.cuda.nvcc_compiler": _CUDA,
    "theano.sandbox.gpuarray": _CUDA,
    "theano.gpuarray.basic_ops": _CUDA,
    "theano.gpuarray.type": _CUDA,
    "theano.pydotprint": "it is theano.printing.pydotprint",
    "theano.gof.COp": _C,
    "theano.gof.cc": _C,
    "theano.gof.ExternalCOp": _C,
    "theano.gof.OpenMPOp": _C,
    "theano.gof.EnumType": _C,
    "theano.gof.EnumList": _C,
    "theano.gof.Linker": _LINKER,
    "theano.gof.PerformLinker": _LINKER,
    "theano.gof.CLinker": _LINKER,
    "theano.gof.OpWiseCLinker": _LINKER,
    "theano.gof.link": _LINKER,
    "theano.gof.vm": _LINKER,
    "theano.compile.FunctionMaker": "functions are made by theano.function",
    "theano.compile.function_module.FunctionMaker": "functions are made by theano.function",
    "theano.tensor.nnet.corr3d": _C,
    "theano.tensor.nnet.Conv3D.ConvGrad3D": "it is conv3d_grad_wrt_weights",
    "theano.tensor.nnet.ConvTransp3D": "it is conv3d_grad_wrt_inputs",
    "theano.gpuarray.dnn.RNNBlock": "write the recurrence with theano.scan",
    "theano.gpuarray.dnn.dnn_spatialtf": "spatial transformers are not there",
    "theano.gof.cmodule": _C,
    "theano.tensor.inplace": "there are no functions in place; use the others",
    **{f"theano.sparse.{name}": "sparse matrices are not there; use dense arrays" for name in (
        "as_sparse_variable", "basic", "csc_matrix", "csr_matrix", "dense_from_sparse",
        "csm_properties", "dot", "structured_dot", "true_dot", "transpose")},
    "theano.typed_list": "lists of arrays are not there; stack them, or use theano.scan",
    "theano.tensor.mpi": "arrays are not sent between processes",
    "theano.tensor.nnet.ctc.ConnectionistTemporalClassification": "use the function, ctc",
    "theano.tensor.nnet.corr": _C,
    "theano.tensor.nnet.blocksparse": "block-sparse products are not there",
    "theano.tensor.nnet.lrn": "local response normalisation is not there",
    "theano.tensor.jv": "Bessel functions of any order are not there; j0 and j1 are",
    "theano.tensor.iv": "Bessel functions of any order are not there; i0 and i1 are",
    "theano.pylearn2": "pylearn2 is another package",
    "theano.gof.opt": "rewrites are jitgraph's own; see passes/rules",
}


def _parsed() -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for module, sources in _SOURCES.items():
        made[module] = {}
        for source, text in sources.items():
            place = source if source.startswith("jitgraph") else _HERE + source
            for item in text.split():
                theirs, _, ours = item.partition("=")
                made[module][theirs] = f"{place}:{ours or theirs}"
    return made


#: module of Theano -> name -> "our module:our name".
TABLE = _parsed()
