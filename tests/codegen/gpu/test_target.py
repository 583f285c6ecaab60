"""Versions of PTX fit architectures and drivers; the tables agree with LLVM and with ptxas."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from jitgraph.codegen.gpu import ptx
from jitgraph.codegen.gpu.target import (
    ARCHITECTURES,
    BASELINE,
    NEWEST,
    PTX_OF_CUDA,
    STATIC_SHARED,
    check_shared,
    device_target,
    nearest,
    ptx_version,
)
from jitgraph.codegen.llvm import Module
from jitgraph.codegen.loader import CodegenError
from jitgraph.errors import DeviceError, MissingPackageError, NoDeviceError, OptionError

KERNEL = """
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
@k.shared = internal addrspace(3) global [SIZE x i8] undef, align 16
define ptx_kernel void @k(ptr noalias %a, ptr noalias %b) {
  %shared = addrspacecast ptr addrspace(3) @k.shared to ptr
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = zext i32 %t to i64
  %from = getelementptr float, ptr %a, i64 %i
  %x = load float, ptr %from
  %cell = getelementptr float, ptr %shared, i64 %i
  store float %x, ptr %cell
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %next = getelementptr float, ptr %cell, i64 1
  %y = load float, ptr %next
  %to = getelementptr float, ptr %b, i64 %i
  store float %y, ptr %to
  ret void
}
"""


def kernel(size=4096):
    return KERNEL.replace("SIZE", str(size))


@pytest.fixture(scope="module")
def ptxas():
    try:
        return ptx.tool("ptxas")
    except MissingPackageError:
        pytest.skip("there is no ptxas")


class TestTable:
    def test_llvm_takes_what_is_chosen(self):
        """LLVM aborts the process on what does not fit, so a process of its own asks."""
        code = f"""
from jitgraph.codegen.gpu import ptx, target
for arch in target.ARCHITECTURES:
    made = target.device_target(arch)
    text = ptx.ptx({kernel()!r}, made)
    assert ".target " + arch in text, arch
    assert ".version %d.%d" % made.ptx in text, arch
print("all")
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("all\n", "")

    @pytest.mark.parametrize("arch", ["sm_75", "sm_90", "sm_100", "sm_121"])
    def test_the_least_version_is_the_least(self, arch):
        """One version less, and LLVM gives up."""
        versions = sorted({(6, n) for n in range(6)} | {(7, n) for n in range(9)}
                          | {*PTX_OF_CUDA.values()})  # fmt: skip
        (major, minor), _ = ARCHITECTURES[arch]
        older = max(v for v in versions if v < (major, minor))
        code = f"""
import sys
from dataclasses import replace
from jitgraph.codegen.gpu import ptx, target
made = target.device_target({arch!r})
for version in ({(major, minor)}, {older}):
    made = replace(made, ptx=version, features="+ptx%d%d" % version)
    print(ptx.ptx({kernel()!r}, made)[:0] + "fine", flush=True)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "fine\n"
        assert "does not support target" in done.stderr

    def test_ptxas_takes_them(self, ptxas):
        said = subprocess.run([ptxas, "--help"], capture_output=True, text=True).stdout
        for arch in ARCHITECTURES:
            if f"'{arch}'" in said:
                cubin, reports = ptx.assemble(ptx.ptx(kernel(), device_target(arch)), arch)
                assert cubin.startswith(b"\x7fELF")
                assert reports["k"].shared == 4096

    def test_versions_only_grow(self):
        pairs = list(itertools.pairwise(PTX_OF_CUDA.items()))
        assert all(a < b and p < q for (a, p), (b, q) in pairs)
        assert BASELINE in PTX_OF_CUDA.values()


class TestChoice:
    @pytest.mark.parametrize(
        ("arch", "want"),
        [("sm_90", "sm_90"), ("sm_90a", "sm_90a"), ("sm_91", "sm_90"), ("sm_130", "sm_121"),
         ("sm_101", "sm_100"), ("sm_88", "sm_87"), ("sm_85", "sm_80")],
    )  # fmt: skip
    def test_nearest(self, arch, want):
        assert nearest(arch) == want

    def test_too_old(self):
        for arch in ("sm_70", "sm_35"):
            with pytest.raises(NoDeviceError, match="too old"):
                nearest(arch)

    @pytest.mark.parametrize("arch", ["sm_91a", "gfx90", "90", ""])
    def test_unknown(self, arch):
        with pytest.raises(OptionError, match="no architecture"):
            device_target(arch)

    def test_driver(self):
        assert ptx_version("sm_90", (12, 0)) == (8, 0)
        assert ptx_version("sm_90", (13, 9)) == (8, 0)
        assert ptx_version("sm_100", (12, 7)) == (8, 6)
        assert ptx_version("sm_121", NEWEST) == (8, 8)
        for arch, cuda, needs in (("sm_90", (11, 8), "12.0"), ("sm_100", (12, 6), "12.7")):
            with pytest.raises(NoDeviceError, match=f"too old: .* needs {needs}"):
                device_target(arch, cuda=cuda)

    def test_shared_memory(self):
        target = device_target("sm_86")
        check_shared(target, "k", 99 << 10)
        with pytest.raises(DeviceError, match=r"kernel k needs 101,377 bytes .* sm_86 has 101,376"):
            check_shared(target, "k", (99 << 10) + 1)
        assert device_target("sm_86", shared_bytes=7).shared_bytes == 7

    def test_is_a_target(self):
        target = device_target("sm_90", sms=132)
        assert target == device_target("sm_90", sms=132)
        assert "sm_90" in repr(target)  # the keys of what is kept on disk
        Module(target)


class TestAssembler:
    def test_report(self, ptxas):
        _, reports = ptx.assemble(ptx.ptx(kernel(), device_target("sm_80")), "sm_80")
        report = reports["k"]
        assert (report.stack, report.spill_stores, report.spill_loads) == (0, 0, 0)
        assert 0 < report.registers <= 32

    def test_local_memory_is_seen(self, ptxas):
        """An array that is indexed by what is read lies in no register."""
        text = """
define ptx_kernel void @k(ptr %a, i64 %n) {
  %local = alloca [64 x i64]
  %p = getelementptr i64, ptr %local, i64 %n
  store volatile i64 7, ptr %p
  %q = load i64, ptr %a
  %r = getelementptr i64, ptr %local, i64 %q
  %v = load volatile i64, ptr %r
  store i64 %v, ptr %a
  ret void
}
define ptx_kernel void @other(ptr %a) {
  store i64 1, ptr %a
  ret void
}
"""
        _, reports = ptx.assemble(ptx.ptx(text, device_target("sm_90")), "sm_90")
        assert reports["k"].stack == 512
        assert reports["other"].stack == 0

    def test_static_shared_memory_is_bounded(self, ptxas):
        text = ptx.ptx(kernel(STATIC_SHARED), device_target("sm_90"))
        assert ptx.assemble(text, "sm_90")[1]["k"].shared == STATIC_SHARED
        text = ptx.ptx(kernel(STATIC_SHARED + 16), device_target("sm_90"))
        with pytest.raises(CodegenError, match="shared"):
            ptx.assemble(text, "sm_90")

    def test_rejects(self, ptxas):
        with pytest.raises(CodegenError, match="ptxas"):
            ptx.assemble("nonsense", "sm_90")
        with pytest.raises(CodegenError, match="invalid LLVM IR"):
            ptx.ptx("define nonsense", device_target("sm_90"))

    def test_no_tool(self):
        with pytest.raises(MissingPackageError, match="nothing is neither installed"):
            ptx.tool("nothing")

    def test_each_tool_has_its_package(self, monkeypatch):
        """Where a tool is not there, the error says what to install."""
        monkeypatch.setattr(ptx.metadata, "files", lambda package: ())
        monkeypatch.setattr(ptx.shutil, "which", lambda name: None)
        for name, package in (("ptxas", "nvcc"), ("nvdisasm", "nvdisasm"),
                              ("compute-sanitizer", "sanitizer-api")):  # fmt: skip
            with pytest.raises(MissingPackageError) as caught:
                ptx.tool.__wrapped__(name)
            assert caught.value.hint == f"pip install nvidia-cuda-{package}"

    def test_machine_code_for_people(self, ptxas):
        try:
            ptx.tool("nvdisasm")
        except MissingPackageError:
            pytest.skip("there is no nvdisasm")
        for arch in ("sm_80", "sm_90"):
            text = ptx.sass(ptx.assemble(ptx.ptx(kernel(), device_target(arch)), arch)[0])
            assert arch in text
            assert "LDS" in text

    def test_global_and_shared_memory_are_told_apart(self):
        """No generic access is left, which would be slower."""
        text = ptx.ptx(kernel(), device_target("sm_90"))
        assert "ld.global" in text
        assert "st.shared" in text
        assert not any(line.strip().startswith(("ld.b", "st.b", "ld.f", "st.f"))
                       for line in text.splitlines())  # fmt: skip
