"""What the compiler makes of the kernel for a GPU that need not be there: its matrix instructions, registers, local memory.

Triton compiles for a target by name, with the libraries that come in its package. M, N, K, R as in `gemm`
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from aria_ray.kernels.blocks import Blocks
from aria_ray.kernels.gemm import low_rank_gemm_kernel
from aria_ray.machine.specs import Accelerator

Direction = Literal["forward", "backward"]
"""Forward is y = x W^T + s (x A^T) B^T, backward grad x = g W + s (g B) A: they differ in what is contiguous in memory."""
CONTIGUOUS = {"forward": ("left_k", "right_k", "factor_r"), "backward": ("left_k", "right_n", "factor_n")}
MATRIX_INSTRUCTION = r"\b(v_mfma_\w+|wgmma\.mma_async\S+|mma\.sync\S+)"


@dataclass(frozen=True)
class Compiled:
    """One kernel, compiled."""

    assembly: str
    matrix_instructions: Mapping[str, int]
    """How often each stands in the code."""
    lds_bytes: int
    """Of a workgroup: LDS, or shared memory."""


@dataclass(frozen=True)
class AmdResources:
    """What a kernel takes of a compute unit, as the compiler notes it in the assembly for AMD GPUs."""

    vgprs: int
    """Of a lane: vector and accumulation registers together, which share one file on CDNA3."""
    agprs: int
    sgprs: int
    vgpr_spills: int
    sgpr_spills: int
    scratch_bytes: int
    """Of a lane, in memory."""
    code_bytes: int
    waves_by_registers: int
    """Wavefronts that a SIMD unit's registers hold."""


def compile_kernel(blocks: Blocks, target: str, direction: Direction, dtype: str, *, rank: int, k: int) -> Compiled:
    """Compile for a target (gfx942, sm_90), any M, and other sizes and pitches that are multiples of 16.

    As it is done for a GPU at hand when it is launched: the same constants and options, tensors below 2 GiB.
    """
    sizes = blocks.constants(rank, k) | {"WIDEN": False}
    known = dict.fromkeys(CONTIGUOUS[direction], 1) | sizes
    pointers = {name: f"*{dtype}" for name in ("left", "right", "thin", "factor", "out")}
    names = low_rank_gemm_kernel.arg_names
    signature = {name: "constexpr" if name in known else pointers.get(name, "i32") for name in names} | {"scale": "fp32"}
    is_amd = target.startswith("gfx")
    facts = [["tt.divisibility", 16]]
    pointer_facts = [*facts, ["tt.pointer_range", 32]] if is_amd else facts  # only where AMD's launcher says so
    known_of = {name: facts for name in names if signature[name] == "i32" and name != "m"} | dict.fromkeys(
        pointers, pointer_facts
    )
    attributes = {(names.index(name),): told for name, told in known_of.items()}
    gpu = GPUTarget("hip", target, 64) if is_amd else GPUTarget("cuda", int(target.removeprefix("sm_")), 32)
    source = ASTSource(low_rank_gemm_kernel, signature, known, attributes)
    made: Any = triton.compile(source, target=gpu, options=blocks.options)
    assembly = made.asm["amdgcn" if is_amd else "ptx"]
    return Compiled(assembly, Counter(re.findall(MATRIX_INSTRUCTION, assembly)), made.metadata.shared)


def amd_resources(compiled: Compiled) -> AmdResources:
    """Read the compiler's notes."""

    def noted(name: str) -> int:
        found = re.search(rf"{re.escape(name)}\s*[:=]\s*(\d+)", compiled.assembly)
        assert found is not None, f"the assembly says nothing of {name}"
        return int(found[1])

    return AmdResources(
        vgprs=noted("; TotalNumVgprs"),
        agprs=noted(".agpr_count"),
        sgprs=noted(".sgpr_count"),
        vgpr_spills=noted(".vgpr_spill_count"),
        sgpr_spills=noted(".sgpr_spill_count"),
        scratch_bytes=noted(".private_segment_fixed_size"),
        code_bytes=noted("; codeLenInByte"),
        waves_by_registers=noted("; Occupancy"),
    )


def waves_per_simd(compiled: Compiled, num_warps: int, device: Accelerator) -> int:
    """Wavefronts that a SIMD unit of an AMD GPU holds of a kernel: whole workgroups, as registers and LDS allow.

    The compiler's own occupancy knows of no LDS, which Triton asks for at launch.
    """
    simds, lds = device.simds_per_cu, device.lds_bytes_per_cu
    assert simds is not None
    assert lds is not None
    by_registers = amd_resources(compiled).waves_by_registers * simds // num_warps
    by_lds = lds // compiled.lds_bytes if compiled.lds_bytes else by_registers
    return min(by_registers, by_lds) * num_warps // simds
