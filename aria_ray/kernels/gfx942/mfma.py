"""LDS and registers of a tile of a matrix product on a CDNA3 compute unit (gfx942), and how many tiles run at a time.

A workgroup computes one tile of C in steps of K. It loads its part of A and B into LDS; from there each wavefront loads its
share into registers and multiplies it with matrix instructions (MFMA).
"""

import math
from dataclasses import dataclass

from aria_ray.errors import AriaError
from aria_ray.machine.specs import Accelerator

BYTES = {"bf16": 2, "fp16": 2, "fp8": 1}
INSTRUCTION_K = {"bf16": {16: 16, 32: 8}, "fp16": {16: 16, 32: 8}, "fp8": {16: 32, 32: 16}}
"""Inner size of the instructions with 16 and with 32 rows and columns (AMD matrix instruction calculator, cdna3)."""
MAX_WAVES_PER_SIMD, VGPR_BLOCK = 8, 8
"""Largest number of wavefronts of a SIMD unit, and registers allocated at a time, as LLVM counts them for gfx942: right for all
of 1,284 compiled products. AMD's tuning guide says blocks of 16."""


@dataclass(frozen=True)
class Tile:
    """Tile of C that a workgroup computes, and how it is split over steps and wavefronts."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int = 4
    """Number of wavefronts; with fewer than 4, SIMD units of the compute unit stay idle."""
    num_stages: int = 2
    """Depth of the pipeline: 2 loads the next step of K while this one is multiplied, as AMD advises for a single product; 1
    does not."""
    instruction_size: int = 16
    """Rows and columns of the instruction, 16 or 32. Both have the same peak; AMD prefers 16, which needs less power."""

    @property
    def warps(self) -> tuple[int, int]:
        """Wavefronts along rows and columns: Triton splits the longer side of a wavefront's part, and columns where equal."""
        rows = columns = 1
        while rows * columns < self.num_warps:
            if self.block_m * columns > self.block_n * rows:
                rows *= 2
            else:
                columns *= 2
        return rows, columns

    @property
    def warp_tile(self) -> tuple[int, int]:
        """Rows and columns that a wavefront multiplies: at least an instruction's, even if another wavefront has the same."""
        rows, columns = self.warps
        return max(self.block_m // rows, self.instruction_size), max(self.block_n // columns, self.instruction_size)

    def lds_bytes(self, dtype: str) -> int:
        """LDS that Triton 3.7 allocates for gfx942, in bytes.

        Of `num_stages` steps of K one is in flight, in registers, and the others are in LDS; with one stage A and B take turns
        there. The value equals the compiler's for two stages and tiles of 64 x 32 or more. For other tiles the compiler may
        allocate less, as operands that a single wavefront uses can bypass LDS.
        """
        sides = (self.block_m, self.block_n)
        rows = (self.num_stages - 1) * sum(sides) if self.num_stages > 1 else max(sides)
        return rows * self.block_k * BYTES[dtype]

    @property
    def accumulator_vgprs(self) -> int:
        """Registers per lane for the wavefront's part of C, 32 bits each."""
        return math.prod(self.warp_tile) // 64

    def operand_vgprs(self, dtype: str) -> int:
        """Registers per lane for the wavefront's parts of A and B in one step of K."""
        return math.ceil(sum(self.warp_tile) * self.block_k * BYTES[dtype] / 256)

    def vgprs(self, dtype: str) -> int:
        """Registers per lane, VGPRs and AGPRs together, as they share one file of 512.

        Sum of accumulators, operands and, with two stages, the step in flight and as much again for addresses; with one stage
        loads and operands take turns. The limit is what lets all wavefronts of the workgroup run, which the compiler keeps to.
        The formula is a fit to plain products compiled by Triton 3.7: over the candidates of `tiles` in bf16 and fp8 the mean
        error is 7 %, and the wavefronts that a SIMD unit's registers hold are right for 157 of 188 and one off for 25.
        """
        operands = self.operand_vgprs(dtype)
        in_flight = (self.block_m + self.block_n) * self.block_k * BYTES[dtype] // (self.num_warps * 256)
        loads = operands + 2 * in_flight + 8 if self.num_stages > 1 else max(operands, in_flight) + 16
        needed = math.ceil((self.accumulator_vgprs + loads) / VGPR_BLOCK) * VGPR_BLOCK
        return min(needed, 512 * 4 // max(self.num_warps, 4))


@dataclass(frozen=True)
class Residency:
    """Workgroups of one kernel that a compute unit holds at a time."""

    workgroups: int
    """Number of workgroups; 0 if not even one fits."""
    waves_per_simd: int
    """Wavefronts on each SIMD unit."""
    limited_by: str
    """Resource that limits the number: LDS, registers or wavefronts."""


def residency(tile: Tile, dtype: str, accelerator: Accelerator) -> Residency:
    """Workgroups of a tile that a compute unit holds at a time.

    Raises:
        AriaError: the accelerator's matrix cores are not those of gfx942.
    """
    lds, simds, registers = _compute_unit(accelerator)
    waves = min(MAX_WAVES_PER_SIMD, registers // tile.vgprs(dtype))
    places = {
        "LDS": lds // tile.lds_bytes(dtype),
        "wavefronts": MAX_WAVES_PER_SIMD * simds // tile.num_warps,
        "registers": waves * simds // tile.num_warps,
    }
    limit = min(places, key=places.__getitem__)
    return Residency(places[limit], places[limit] * tile.num_warps // simds, limit)


def _compute_unit(accelerator: Accelerator) -> tuple[int, int, int]:
    """LDS bytes, SIMD units, and registers per lane."""
    lds, simds, registers = accelerator.lds_bytes_per_cu, accelerator.simds_per_cu, accelerator.vgprs_per_simd_lane
    if accelerator.target != "gfx942" or not (lds and simds and registers):
        raise AriaError(f"{accelerator.name}: tile schedules are for the matrix cores of gfx942", "take MI300X or MI325X")
    return lds, simds, registers
