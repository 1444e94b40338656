"""Tile sizes of the kernel for each device; M, N, K as in `gemm`."""

from dataclasses import dataclass, replace
from typing import Self

from aria_ray.kernels.gfx942.tiles import Gemm, TileSchedule, choose_schedule
from aria_ray.machine.specs import H100, MI300X, Accelerator

CUS_PER_XCD = 38
"""Compute units of one XCD (die) of gfx942. A partition of an MI300X (CPX mode) and an MI300A are whole numbers of XCDs."""


@dataclass(frozen=True)
class Blocks:
    """Compile-time sizes of the kernel."""

    block_m: int
    """Rows of a tile of the result."""
    block_n: int
    """Columns of a tile of the result."""
    block_k: int
    """Part of the inner size that one step multiplies."""
    num_warps: int
    num_stages: int
    """Depth of the software pipeline: steps in flight at a time."""
    group_m: int = 8
    """Rows of tiles that are walked together (`gemm.tile_of_program`)."""
    num_xcds: int = 1
    amd_options: tuple[tuple[str, int], ...] = ()
    """Compiler options that only the AMD backend knows."""

    @classmethod
    def of(cls, schedule: TileSchedule, num_xcds: int) -> Self:
        """The blocks of a schedule for gfx942."""
        return cls(
            schedule.block_m,
            schedule.block_n,
            schedule.block_k,
            schedule.num_warps,
            schedule.num_stages,
            schedule.group_m,
            num_xcds,
            (
                ("matrix_instr_nonkdim", schedule.instruction[0]),
                ("waves_per_eu", schedule.waves_per_eu),
                ("kpack", schedule.kpack),
            ),
        )

    def constants(self, rank: int, k: int) -> dict[str, int | bool]:
        """The kernel's compile-time arguments without WIDEN, for an adapter's rank and the inner size of the product."""
        # Matrix instructions need an inner size of 16 at least: a smaller rank is padded with zeros. The upper bound is a step
        # of the large product, for which local memory is planned.
        block_r = min(max(16, 1 << (rank - 1).bit_length()), self.block_k)
        return {
            "RANK": rank,
            "BLOCK_M": self.block_m,
            "BLOCK_N": self.block_n,
            "BLOCK_K": self.block_k,
            "BLOCK_R": block_r,
            "GROUP_M": self.group_m,
            "NUM_XCDS": self.num_xcds,
            "WHOLE_K": k % self.block_k == 0,
        }

    @property
    def options(self) -> dict[str, int]:
        """Options of the compiler."""
        return {"num_warps": self.num_warps, "num_stages": self.num_stages, **dict(self.amd_options)}


def blocks_for(m: int, n: int, k: int, dtype: str, device: Accelerator) -> Blocks:
    """Blocks for a product on a device: on gfx942 from `kernels.gfx942.tiles`, elsewhere constants that were not tuned."""
    if dtype == "fp32":  # no shipped recipe trains in float32 on a GPU: tiles small enough for any device
        return Blocks(64, 64, 32, num_warps=4, num_stages=2, num_xcds=device.xcds or 1)
    if device.target == MI300X.target:
        return Blocks.of(choose_schedule(Gemm(m, n, k, dtype), device), device.xcds or 1)
    if device.target != H100.target:
        return Blocks(128, 128, 64, num_warps=4, num_stages=2)  # 32 KiB of local memory on AMD, 64 on NVIDIA
    # The largest instruction of a Hopper (m64n256k16) where there are enough tiles for all multiprocessors.
    if -(-m // 128) * -(-n // 256) >= device.compute_units:
        return Blocks(128, 256, 64, num_warps=8, num_stages=3)  # 144 of 227 KiB of shared memory
    return Blocks(128, 128, 64, num_warps=4, num_stages=3)


def known_device(target: str, compute_units: int) -> Accelerator:
    """Accelerator of a compiler's target (`gfx942`, `sm_90`), with the compute units that the device has."""
    known = H100 if target.startswith("sm_") else MI300X
    xcds = max(1, round(compute_units / CUS_PER_XCD)) if target == MI300X.target else None
    return replace(known, target=target, compute_units=compute_units, xcds=xcds)
