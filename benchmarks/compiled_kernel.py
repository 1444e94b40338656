"""Matrix instructions, registers and local memory of the LoRA kernel, compiled for a GPU that need not be present.

Triton compiles for a target by name, with the libraries that come in its package. M, N, K, R as in `kernels.gemm`.
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
"""Forward is y = x W^T + s (x A^T) B^T, backward grad x = g W + s (g B) A; other sides are contiguous in memory."""
CONTIGUOUS = {"forward": ("left_k", "right_k", "factor_r"), "backward": ("left_k", "right_n", "factor_n")}
MATRIX_INSTRUCTION = r"\b(v_mfma_\w+|wgmma\.mma_async\S+|mma\.sync\S+)"


@dataclass(frozen=True)
class Compiled:
    """One kernel, compiled."""

    assembly: str
    matrix_instructions: Mapping[str, int]
    """Number of times that each instruction stands in the code."""
    lds_bytes: int
    """Local memory of a workgroup: LDS, or shared memory."""


@dataclass(frozen=True)
class AmdResources:
    """Resources of a kernel on a compute unit, as the compiler notes them in the assembly for AMD GPUs."""

    vgprs: int
    """Registers per lane: vector and accumulation registers together, which share one file on CDNA3."""
    agprs: int
    sgprs: int
    vgpr_spills: int
    sgpr_spills: int
    scratch_bytes: int
    """Memory of a lane for spilled registers."""
    code_bytes: int
    waves_by_registers: int
    """Wavefronts that a SIMD unit's registers hold."""


def compile_kernel(blocks: Blocks, target: str, direction: Direction, dtype: str, *, rank: int, k: int) -> Compiled:
    """Compile for a target (gfx942, sm_90), for any M, and for other sizes and pitches that are multiples of 16.

    Constants and options are those of a launch on a GPU with tensors below 2 GiB.
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
    """Resources from the compiler's notes in the assembly."""

    def noted(name: str) -> int:
        note = re.search(rf"{re.escape(name)}\s*[:=]\s*(\d+)", compiled.assembly)
        assert note is not None, f"the assembly has no note of {name}"
        return int(note[1])

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
    """Wavefronts of a kernel that a SIMD unit of an AMD GPU holds: whole workgroups, limited by registers and LDS.

    The compiler's own occupancy leaves out LDS, which Triton asks for at launch.
    """
    simds, lds = device.simds_per_cu, device.lds_bytes_per_cu
    assert simds is not None
    assert lds is not None
    by_registers = amd_resources(compiled).waves_by_registers * simds // num_warps
    by_lds = lds // compiled.lds_bytes if compiled.lds_bytes else by_registers
    return min(by_registers, by_lds) * num_warps // simds
