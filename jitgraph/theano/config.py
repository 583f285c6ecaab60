"""`theano.config`: the settings of the era. What has a meaning here has its effect; the others are
kept and change nothing; one nobody knows warns once.

`THEANO_FLAGS=floatX=float32,mode=FAST_COMPILE` in the environment sets them when first asked for.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jitgraph.config import config as jitgraph_config
from jitgraph.errors import OptionError

#: Settings and what they are unless set; a dot stands for a group.
DEFAULTS: dict[str, Any] = {
    "allow_gc": True, "allow_output_prealloc": True, "assert_no_cpu_op": "ignore",
    "base_compiledir": "", "blas.ldflags": "", "blas.check_openmp": True,
    "cast_policy": "custom", "check_input": True, "check_stack_trace": "off",
    "compile.timeout": 24, "compile.wait": 5, "compiledir": "", "compiledir_format": "",
    "compute_test_value": "off", "compute_test_value_opt": "off", "conv.assert_shape": False,
    "ctc.root": "", "cublas.lib": "", "cuda.enabled": False, "cuda.root": "", "cxx": "",
    "deterministic": "default", "device": "cpu", "dnn.enabled": "False",
    "dnn.conv.algo_bwd_data": "none", "dnn.conv.algo_bwd_filter": "none",
    "dnn.conv.algo_fwd": "small", "dnn.conv.precision": "as_input_f32", "dnn.include_path": "",
    "dnn.library_path": "", "enable_initial_driver_test": True, "exception_verbosity": "low",
    "force_device": False, "gcc.cxxflags": "", "gpuarray.preallocate": 0.0,
    "gpuarray.sched": "default", "gpuarray.single_stream": True, "gpuelemwise.sync": True,
    "gpu.local_elemwise_fusion": True, "gradient.debug": False, "home": "", "init_gpu_device": "",
    "int_division": "int", "lib.amdlibm": False, "lib.cnmem": 0.0, "linker": "cvm",
    "magma.enabled": False, "max_memory": 0, "metaopt.verbose": 0, "mode": "Mode",
    "nanguardmode.action": "raise", "nanguardmode.big_is_error": True,
    "nanguardmode.inf_is_error": True, "nanguardmode.nan_is_error": True, "nocleanup": False,
    "numpy.seterr_all": "ignore", "numpy.seterr_divide": "None", "numpy.seterr_invalid": "None",
    "numpy.seterr_over": "None", "numpy.seterr_under": "None", "nvcc.compiler_bindir": "",
    "nvcc.fastmath": False, "nvcc.flags": "", "on_opt_error": "warn",
    "on_shape_error": "warn", "on_unused_input": "raise", "openmp": False,
    "openmp_elemwise_minsize": 200000, "optdb.max_use_ratio": 8.0, "optdb.position_cutoff": None,
    "optimizer": "fast_run", "optimizer_excluding": "", "optimizer_including": "",
    "optimizer_requiring": "", "optimizer_verbose": False, "pickle_test_value": True,
    "print_active_device": True, "print_test_value": False, "pool.gemm": False, "profile": False,
    "profile_memory": False, "profile_optimizer": False, "profiling.destination": "stderr",
    "profiling.ignore_first_call": False, "profiling.min_memory_size": 1024,
    "profiling.min_peak_memory": False, "profiling.n_apply": 20, "profiling.n_ops": 20,
    "profiling.time_thunks": True, "reoptimize_unpickled_function": True,
    "scan.allow_gc": False, "scan.allow_output_prealloc": True, "scan.debug": False,
    "tensor.cmp_sloppy": 0, "tensor.insert_inplace_optimizer_validate_nb": -1,
    "tensor.local_elemwise_fusion": True, "traceback.compile_limit": 0, "traceback.limit": 8,
    "unittests.rseed": 666, "unpickle_function": True, "vm.lazy": "None",
    "DebugMode.check_c": True, "DebugMode.check_finite": True, "DebugMode.check_py": True,
    "DebugMode.check_strides": 0, "DebugMode.optimizer_verbose": False,
    "DebugMode.patience": 10, "DebugMode.warn_input_not_reused": True,
    "experimental.local_alloc_elemwise": True,
    "experimental.unpickle_gpu_on_cpu": False, "ProfileMode.min_memory_size": 1024,
    "ProfileMode.n_apply_to_print": 15, "ProfileMode.n_ops_to_print": 20,
    "DebugMode.check_preallocated_output": "", "DebugMode.check_preallocated_output_ndim": 4,
    "cache_optimizations": False, "cmodule.age_thresh_use": 2073600,
    "cmodule.compilation_warning": False, "cmodule.debug": False,
    "cmodule.preload_cache": False, "cmodule.remove_gxx_opt": False,
    "cmodule.warn_no_version": False, "contexts": "", "cuda.include_path": "",
    "cycle_detection": "regular", "dnn.base_path": "", "dnn.bin_path": "",
    "dnn.conv.algo_bwd": "", "dnn.conv.workmem": "", "dnn.conv.workmem_bwd": "",
    "experimental.local_alloc_elemwise_assert": True, "gpuarray.cache_path": "",
    "gpuarray.sync": False, "magma.include_path": "", "magma.library_path": "",
    "metaopt.optimizer_excluding": "", "metaopt.optimizer_including": "", "nvcc.cudafe": "",
    "print_global_stats": False, "profiling.debugprint": False,
    "profiling.output_line_width": 512, "pycuda.init": False,
}  # fmt: skip
_DEVICE = re.compile(r"cpu|simulated|(?P<gpu>gpu|cuda):?(?P<number>\d+)?")
#: Groups whose members are all accepted.
OPEN_GROUPS = ("warn", "warn_float64")
#: Values of an attribute are checked, as they were.
CHOICES = {
    "compute_test_value": ("off", "ignore", "warn", "raise", "pdb"),
    "on_unused_input": ("raise", "warn", "ignore"),
}


class Group:
    """The settings of a name and a dot: `config.warn.round`."""

    def __init__(self, config: TheanoConfig, name: str) -> None:
        self.__dict__.update(_config=config, _name=name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._config, f"{self._name}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._config, f"{self._name}.{name}", value)


class TheanoConfig:
    """The settings. `floatX` is that of jitgraph."""

    def __init__(self) -> None:
        self.__dict__["_values"] = dict(DEFAULTS)
        self.__dict__["_warned"] = set()

    @property
    def floatX(self) -> str:  # noqa: N802  (Theano's spelling)
        """The dtype of `T.scalar()`, `T.matrix()` and friends."""
        return jitgraph_config.floatX

    @property
    def device(self) -> str:
        """Where functions compute, in the words in which it was set."""
        said: str = self._values["device"]
        ours = jitgraph_config.device
        return said if _device(said) == ours else ours.replace(":", "")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        name = _spelled(name)
        if name in self._values:
            return self._values[name]
        if _is_group(name):
            return Group(self, name)
        if name.split(".")[0] in OPEN_GROUPS:
            return False
        raise AttributeError(f"theano.config has no {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        name = _spelled(name)
        if name == "floatX":
            jitgraph_config.floatX = value
            return
        if name == "device":
            jitgraph_config.device = _device(value)
        if name in CHOICES and value not in CHOICES[name]:
            listed = ", ".join(map(repr, CHOICES[name]))
            raise OptionError(f"{name} cannot be {value!r}", hint=f"one of: {listed}")
        known = name in self._values or name.split(".")[0] in OPEN_GROUPS
        if not known and name not in self._warned:
            self._warned.add(name)
            warnings.warn(f"theano.config.{name} is unknown and has no effect", stacklevel=2)
        self._values[name] = value

    @contextmanager
    def change_flags(self, args: Any = (), **flags: Any) -> Iterator[None]:
        """Settings for a while: pairs of name and value, or arguments with two underscores for
        the dot."""
        named = {_spelled(name): value for name, value in {**dict(args), **flags}.items()}
        before = {name: getattr(self, name) for name in named}
        try:
            for name, value in named.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def read(self, flags: str) -> None:
        """Set what a text such as `floatX=float32,warn.round=False` says."""
        for item in filter(None, map(str.strip, flags.split(","))):
            name, equals, text = item.partition("=")
            if not equals:
                raise OptionError(f"THEANO_FLAGS: {item!r} is no setting", hint="name=value")
            name = name.strip()
            setattr(self, name, _as_kind_of(DEFAULTS.get(name), text.strip()))

    def __str__(self) -> str:
        shown = {"floatX": self.floatX, **self._values, "device": self.device}
        return "\n".join(f"{name} = {shown[name]!r}" for name in sorted(shown))


def _device(value: Any) -> str:
    """Our name of a device: `gpu` and `cuda` are the first GPU, or rather `gpu0` and `cuda0`."""
    match = _DEVICE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise OptionError(
            f"device cannot be {value!r}", hint="cpu, gpu, gpu0, cuda, cuda0, cuda1 and so on"
        )
    if match["number"] is None:
        return "cuda" if match["gpu"] else str(value)
    return f"cuda:{int(match['number'])}"


def _spelled(name: str) -> str:
    """A setting as it is kept here: Theano-PyMC has `__` for the dot."""
    return name.replace("__", ".").replace("NanGuardMode", "nanguardmode")


def _is_group(name: str) -> bool:
    return name in OPEN_GROUPS or any(known.startswith(name + ".") for known in DEFAULTS)


def _as_kind_of(default: Any, text: str) -> Any:
    """A text as a value of the kind of the default."""
    if isinstance(default, bool):
        return text.lower() in ("1", "true", "yes", "on")
    for kind in (int, float):
        if isinstance(default, kind):
            return kind(text)
    return text


class ConfigParam:
    """A setting as a descriptor, of which the object it belongs to matters nothing."""

    def __init__(self, name: str) -> None:
        self.fullname, self.default = name, DEFAULTS.get(name)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return getattr(config, self.fullname)

    def __set__(self, owner: Any, value: Any) -> None:
        setattr(config, self.fullname, value)


config = TheanoConfig()
#: `theano.configparser._config_var_list`.
SETTINGS = [ConfigParam(name) for name in ("floatX", *DEFAULTS)]
config.read(os.environ.get("THEANO_FLAGS", ""))


def use(device: str, force: bool = False, **unused: Any) -> None:
    """`theano.gpuarray.use` and `theano.sandbox.cuda.use`: compute there from now on."""
    config.read(f"device={device}")


@contextmanager
def change_flags(args: Any = (), **flags: Any) -> Iterator[None]:
    """`theano.configparser.change_flags`."""
    with config.change_flags(args, **flags):
        yield
