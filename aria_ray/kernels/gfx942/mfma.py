"""What a tile of a matrix product takes of a CDNA3 compute unit (gfx942): LDS, registers, and how many run at a time.

A workgroup makes one tile of C in steps of K: it loads its part of A and B into LDS, from there each wavefront loads its share
into registers and multiplies it with matrix instructions (MFMA).
"""

import math
from dataclasses import dataclass

from aria_ray.errors import AriaError
from aria_ray.machine.specs import Accelerator

BYTES = {"bf16": 2, "fp16": 2, "fp8": 1}
INSTRUCTION_K = {"bf16": {16: 16, 32: 8}, "fp16": {16: 16, 32: 8}, "fp8": {16: 32, 32: 16}}
"""Inner size of the instructions with 16 and with 32 rows and columns (AMD matrix instruction calculator, cdna3)."""
MAX_WAVES_PER_SIMD, VGPR_BLOCK = 8, 8
"""As LLVM counts occupancy for gfx942, and so for all of 1,284 products compiled; AMD's tuning guide has blocks of 16."""


@dataclass(frozen=True)
class Tile:
    """What a workgroup does: its part of C, and how it goes about it."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int = 4
    """Wavefronts: fewer than 4 leave SIMD units of the compute unit without one."""
    num_stages: int = 2
    """2 loads the next step of K while this one is multiplied, as AMD advises for a single product; 1 does not."""
    instruction_size: int = 16
    """Rows and columns of the instruction. Both sizes have the same peak; 16 is ahead by its lesser power, says AMD."""

    @property
    def warps(self) -> tuple[int, int]:
        """Wavefronts along rows and columns: Triton splits the longer side of what each has to do, else the columns."""
        rows = columns = 1
        while rows * columns < self.num_warps:
            if self.block_m * columns > self.block_n * rows:
                rows *= 2
            else:
                columns *= 2
        return rows, columns

    @property
    def warp_tile(self) -> tuple[int, int]:
        """Rows and columns that a wavefront multiplies: an instruction's at least, even if another has the same ones."""
        rows, columns = self.warps
        return max(self.block_m // rows, self.instruction_size), max(self.block_n // columns, self.instruction_size)

    def lds_bytes(self, dtype: str) -> int:
        """LDS that Triton 3.7 allocates for gfx942.

        Of `num_stages` steps of K one is in flight, in registers, and the others in LDS; with one stage A and B take turns
        there. Equal to what the compiler allocates for two stages and tiles of 64 x 32 or more; for others it may be less, as
        what a single wavefront uses can go past LDS.
        """
        sides = (self.block_m, self.block_n)
        rows = (self.num_stages - 1) * sum(sides) if self.num_stages > 1 else max(sides)
        return rows * self.block_k * BYTES[dtype]

    @property
    def accumulator_vgprs(self) -> int:
        """Registers per lane for the wavefront's part of C, in 32 bits."""
        return math.prod(self.warp_tile) // 64

    def operand_vgprs(self, dtype: str) -> int:
        """Registers per lane for the wavefront's parts of A and B in one step of K."""
        return math.ceil(sum(self.warp_tile) * self.block_k * BYTES[dtype] / 256)

    def vgprs(self, dtype: str) -> int:
        """Registers per lane, VGPRs and AGPRs together, as they share one file of 512.

        Accumulators, operands and, with two stages, the step in flight and as much again for addresses; with one stage loads
        and operands take turns. At most what lets all wavefronts of the workgroup run: the compiler keeps to that. A fit, to
        plain products compiled by Triton 3.7: over the candidates of `tiles` in bf16 and fp8 the mean error is 7 %, and the
        wavefronts that a SIMD unit's registers hold are right for 157 of 188, one off for 25.
        """
        operands = self.operand_vgprs(dtype)
        in_flight = (self.block_m + self.block_n) * self.block_k * BYTES[dtype] // (self.num_warps * 256)
        loads = operands + 2 * in_flight + 8 if self.num_stages > 1 else max(operands, in_flight) + 16
        needed = math.ceil((self.accumulator_vgprs + loads) / VGPR_BLOCK) * VGPR_BLOCK
        return min(needed, 512 * 4 // max(self.num_warps, 4))


@dataclass(frozen=True)
class Residency:
    """What a compute unit holds at a time of one kernel."""

    workgroups: int
    """0 if not even one fits."""
    waves_per_simd: int
    limited_by: str
    """What keeps it from holding more: LDS, registers or wavefronts."""


def residency(tile: Tile, dtype: str, accelerator: Accelerator) -> Residency:
    """How many workgroups of a tile a compute unit holds.

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
    """LDS bytes, SIMD units, and registers of a lane."""
    lds, simds, registers = accelerator.lds_bytes_per_cu, accelerator.simds_per_cu, accelerator.vgprs_per_simd_lane
    if accelerator.target != "gfx942" or not (lds and simds and registers):
        raise AriaError(f"{accelerator.name}: tile schedules are for the matrix cores of gfx942", "take MI300X or MI325X")
    return lds, simds, registers
