"""Which tiles the kernel takes on which device.

M, N, K as in `gemm`
"""

from dataclasses import dataclass, replace
from typing import Self

from aria_ray.kernels.gfx942.tiles import Gemm, TileSchedule, choose_schedule
from aria_ray.machine.specs import H100, MI300X, Accelerator

CUS_PER_XCD = 38
"""Of gfx942: a partition of an MI300X (CPX mode), or an MI300A, is so many dies of it."""


@dataclass(frozen=True)
class Blocks:
    """A tile of the result, the inner size of a step, and how the kernel is compiled for it."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int
    group_m: int = 8
    num_xcds: int = 1
    amd_options: tuple[tuple[str, int], ...] = ()
    """Compiler options that NVIDIA's does not know."""

    @classmethod
    def of(cls, schedule: TileSchedule, num_xcds: int) -> Self:
        """Those of a schedule for gfx942."""
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
        """The kernel's compile-time sizes, but for WIDEN."""
        # Matrix instructions want an inner size of 16: a smaller rank is filled up with zeros. More than a step of the large
        # product takes would not fit into the local memory that was planned for it.
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
        """For the compiler."""
        return {"num_warps": self.num_warps, "num_stages": self.num_stages, **dict(self.amd_options)}


def blocks_for(m: int, n: int, k: int, dtype: str, device: Accelerator) -> Blocks:
    """The blocks for a product on a device: on gfx942 from `kernels.gfx942.tiles`, elsewhere constants that nobody tuned."""
    if dtype == "fp32":  # no training of ours takes it on a GPU unless told to: small enough for any
        return Blocks(64, 64, 32, num_warps=4, num_stages=2, num_xcds=device.xcds or 1)
    if device.target == MI300X.target:
        return Blocks.of(choose_schedule(Gemm(m, n, k, dtype), device), device.xcds or 1)
    if device.target != H100.target:
        return Blocks(128, 128, 64, num_warps=4, num_stages=2)  # 32 KiB of local memory on AMD, 64 on NVIDIA
    # The largest instruction of a Hopper (m64n256k16) where there are tiles enough for all multiprocessors.
    if -(-m // 128) * -(-n // 256) >= device.compute_units:
        return Blocks(128, 256, 64, num_warps=8, num_stages=3)  # 144 KiB of 227
    return Blocks(128, 128, 64, num_warps=4, num_stages=3)


def known_device(target: str, compute_units: int) -> Accelerator:
    """The accelerator that compilers call so, with as many compute units as are there."""
    known = H100 if target.startswith("sm_") else MI300X
    xcds = max(1, round(compute_units / CUS_PER_XCD)) if target == MI300X.target else None
    return replace(known, target=target, compute_units=compute_units, xcds=xcds)
