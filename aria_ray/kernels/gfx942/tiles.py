"""Tile schedules of matrix products for CDNA3 (gfx942): computed from the machine's figures, not measured.

`choose_schedule` takes the candidate with the least predicted time, which is that of the slowest part of the machine
(`predicted_times`). Predicted times rank tiles; a real kernel takes longer. Left out: power, clocks that differ between XCDs
(dies), traffic between L2 and the Infinity Cache, and splitting K over workgroups, which helps where tiles are few.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aria_ray.errors import AriaError
from aria_ray.kernels.gfx942.mfma import BYTES, INSTRUCTION_K, Tile, residency
from aria_ray.kernels.gfx942.workgroups import run_fetched_bytes, runs_by_xcd
from aria_ray.machine.specs import Accelerator

C_BYTES = 2
"""Bytes per element of C, which is written in 16 bits; partial sums are kept in 32."""
KPACK = {"bf16": 1, "fp16": 1, "fp8": 2}
"""Compiler option `kpack`, as in AITER's tuned configurations for gfx942."""
WAVES_PER_EU = 0
"""Compiler option `waves_per_eu`: 0 leaves the compiler free. AMD advises to ask for one more wavefront where registers are
just above a step of occupancy. Of 24 such kernels compiled by Triton 3.7, one block of registers above the step, 21 then
spilled."""
GROUPS = (1, 2, 4, 8, 16)
"""Candidates for `group_m`."""
NEARLY = 1.02
"""Ratio of predicted times below which two tiles count as equal."""

LDS_BYTES_PER_CLOCK = 128
"""LDS bandwidth of a compute unit: 32 banks of 4 bytes."""
L2_BYTES_PER_CLOCK = 2048
"""L2 bandwidth of an XCD: 16 channels of 128 bytes (CDNA 3 white paper)."""
LOAD_LATENCY_CLOCKS = 900
"""Latency of a load from HBM: a pointer chase published for an MI300X VF (hipcc 6.4, August 2025), which has 288 for L2."""

# AITER's file for 16 bits (`gfx942-GEMM-A16W16.json`) has 64 x 128 x 128, 128 x 128 x 128 and, above 512 rows, 256 x 256 x 64.
_SIDES = (
    *(((128, 128), warps, (64, 32, 16, 128)) for warps in (4, 8)),
    *((sides, 8, (64, 32, 16)) for sides in ((128, 256), (256, 256))),
    *((sides, 4, (64, 128, 32, 16)) for sides in ((64, 64), (64, 128))),
    ((64, 128), 8, (64, 128)),
    *(((small, large), 4, (128, 256, 64, 32, 16)) for small in (16, 32) for large in (16, 32, 64, 128, 256)),
    ((64, 64), 4, (256,)),
)
CANDIDATES = tuple(
    dict.fromkeys(
        Tile(*turned, depth, warps) for sides, warps, depths in _SIDES for depth in depths for turned in (sides, sides[::-1])
    )
)
"""Tiles to choose from: the default first, then in order of preference among equals."""


@dataclass(frozen=True)
class Gemm:
    """C (m, n) = A (m, k) x B (k, n), factors of one type, C in 16 bits.

    Raises:
        AriaError: a size below 1, or a type without schedules.
    """

    m: int
    n: int
    k: int
    dtype: str = "bf16"

    def __post_init__(self) -> None:
        if self.dtype not in BYTES:
            raise AriaError(f"matrix product in {self.dtype}: there is no tile schedule", f"take one of {', '.join(BYTES)}")
        if min(self.m, self.n, self.k) < 1:
            raise AriaError(f"matrix product {self.m} x {self.n} x {self.k}: each size must be 1 or more")

    @property
    def flops(self) -> int:
        """Operations: a multiplication and an addition count as two."""
        return 2 * self.m * self.n * self.k

    @property
    def memory_bytes(self) -> int:
        """Bytes to read A and B and write C once: the least that any kernel moves."""
        return (self.m + self.n) * self.k * BYTES[self.dtype] + self.m * self.n * C_BYTES


@dataclass(frozen=True)
class TileSchedule:
    """A tile for a matrix product on an accelerator, and its predicted properties."""

    block_m: int
    block_n: int
    block_k: int
    instruction: tuple[int, int, int]
    """Rows, columns and inner size of the MFMA instruction."""
    num_warps: int
    num_stages: int
    kpack: int
    waves_per_eu: int
    group_m: int
    """Rows of tiles that are walked together: the number with the least L2 traffic."""
    num_workgroups: int
    workgroups_per_cu: int
    waves_per_simd: int
    limited_by: str
    """Resource that limits a compute unit's workgroups: LDS, registers or wavefronts."""
    wave_efficiency: float
    """Workgroups over the places of all rounds, a round being as many as all compute units hold: the last is seldom full."""
    cu_efficiency: float
    """The same with rounds of one workgroup per compute unit: the share of the matrix cores' time that tiles can fill."""
    lds_bytes: int
    accumulator_vgprs: int
    operand_vgprs: int
    vgprs: int
    flops_per_byte: float
    """Arithmetic intensity: operations over the least bytes that must move."""
    bound: Literal["compute", "memory"]
    """Roofline: compute where the arithmetic intensity is above the machine's FLOP/s over bytes/s."""
    predicted_s: float
    predicted_limit: str
    """Part of the machine that takes longest."""


def choose_schedule(gemm: Gemm, accelerator: Accelerator, latency_clocks: int = LOAD_LATENCY_CLOCKS) -> TileSchedule:
    """Schedule of the candidate with the least predicted time; among nearly equal ones, of that with the least padding.

    Raises:
        AriaError: the accelerator's matrix cores are not those of gfx942.
    """
    predictions = {
        tile: predicted_times(gemm, tile, accelerator, latency_clocks) for tile in CANDIDATES if fits(tile, gemm, accelerator)
    }
    least = min(times["all"] for times in predictions.values())
    near = [tile for tile, times in predictions.items() if times["all"] <= NEARLY * least]
    return schedule(gemm, min(near, key=lambda tile: predictions[tile]["matrix cores"]), accelerator, latency_clocks)


def fits(tile: Tile, gemm: Gemm, accelerator: Accelerator) -> bool:
    """Whether a compute unit can hold the workgroup, and a step of K is at least as deep as an instruction."""
    deep = tile.block_k >= INSTRUCTION_K[gemm.dtype][tile.instruction_size]
    return deep and residency(tile, gemm.dtype, accelerator).workgroups > 0


def predicted_times(
    gemm: Gemm, tile: Tile, accelerator: Accelerator, latency_clocks: int = LOAD_LATENCY_CLOCKS
) -> Mapping[str, float]:
    """Seconds that each part of the machine takes for all tiles if no other part limits it, and "all" for the whole.

    - matrix cores: each compute unit multiplies its tiles one after the other, whole tiles even at the edges.
    - LDS: each step of K is written once and read once by each wavefront that needs it.
    - L2: each workgroup reads its rows of A and columns of B at its compute unit's share of the XCD's L2 bandwidth.
    - HBM: A, B and C move once, at the memory's full rate.
    - first loads: each round of workgroups waits once before it can multiply.
    - next loads: each further step of K waits for its load, `num_stages` - 1 of them at a time. Workgroups that a compute unit
      holds at the same time wait together.

    "all" is first loads plus the longest of the rest. Parts that cannot overlap are added up: loads and products with a single
    stage, LDS and matrix cores with a single wavefront on a SIMD unit, which has no other to run meanwhile.
    """
    held = residency(tile, gemm.dtype, accelerator)
    assert accelerator.clock_hz is not None  # `residency` refuses all but gfx942, whose clock and XCDs are known
    assert accelerator.xcds is not None
    workgroups, steps, clock_s = _num_workgroups(gemm, tile), math.ceil(gemm.k / tile.block_k), 1 / accelerator.clock_hz
    turns = math.ceil(workgroups / accelerator.compute_units)
    rounds = math.ceil(workgroups / (accelerator.compute_units * held.workgroups))
    rows, columns = tile.warp_tile
    multiplied = 2 * rows * columns * tile.num_warps * tile.block_k * steps
    through_lds = (tile.block_m + tile.block_n + tile.num_warps * (rows + columns)) * tile.block_k * steps
    through_l2 = (min(tile.block_m, gemm.m) + min(tile.block_n, gemm.n)) * gemm.k
    l2_share = L2_BYTES_PER_CLOCK * accelerator.xcds / accelerator.compute_units
    times = {
        "matrix cores": turns * multiplied / accelerator.flops_per_clock_per_cu[gemm.dtype] * clock_s,
        "LDS": turns * through_lds * BYTES[gemm.dtype] / LDS_BYTES_PER_CLOCK * clock_s,
        "L2": turns * through_l2 * BYTES[gemm.dtype] / l2_share * clock_s,
        "HBM": gemm.memory_bytes / accelerator.memory_bytes_per_s,
        "first loads": rounds * latency_clocks * clock_s,
        "next loads": rounds * (steps - 1) / max(tile.num_stages - 1, 1) * latency_clocks * clock_s,
    }
    join = sum if held.waves_per_simd < 2 else max
    products = join((times["matrix cores"], times["LDS"]))
    loop = products + times["next loads"] if tile.num_stages == 1 else max(products, times["next loads"])
    return times | {"all": times["first loads"] + max(loop, times["L2"], times["HBM"])}


def schedule(gemm: Gemm, tile: Tile, accelerator: Accelerator, latency_clocks: int = LOAD_LATENCY_CLOCKS) -> TileSchedule:
    """Schedule of a tile that fits."""
    held, size = residency(tile, gemm.dtype, accelerator), tile.instruction_size
    workgroups, units = _num_workgroups(gemm, tile), accelerator.compute_units
    times = dict(predicted_times(gemm, tile, accelerator, latency_clocks))
    all_s = times.pop("all")
    flops_per_byte = gemm.flops / gemm.memory_bytes
    balance = accelerator.peak_flops_per_s[gemm.dtype] / accelerator.memory_bytes_per_s
    return TileSchedule(
        block_m=tile.block_m,
        block_n=tile.block_n,
        block_k=tile.block_k,
        instruction=(size, size, INSTRUCTION_K[gemm.dtype][size]),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
        kpack=KPACK[gemm.dtype],
        waves_per_eu=WAVES_PER_EU,
        group_m=min(GROUPS, key=lambda group: sum(l2_traffic(gemm, tile, accelerator, group))),
        num_workgroups=workgroups,
        workgroups_per_cu=held.workgroups,
        waves_per_simd=held.waves_per_simd,
        limited_by=held.limited_by,
        wave_efficiency=_filled(workgroups, units * held.workgroups),
        cu_efficiency=_filled(workgroups, units),
        lds_bytes=tile.lds_bytes(gemm.dtype),
        accumulator_vgprs=tile.accumulator_vgprs,
        operand_vgprs=tile.operand_vgprs(gemm.dtype),
        vgprs=tile.vgprs(gemm.dtype),
        flops_per_byte=flops_per_byte,
        bound="compute" if flops_per_byte >= balance else "memory",
        predicted_s=all_s,
        predicted_limit=max(times, key=times.__getitem__),
    )


def l2_traffic(gemm: Gemm, tile: Tile, accelerator: Accelerator, group_m: int) -> tuple[int, ...]:
    """Bytes of A and B that each XCD's L2 fetches for its run of tiles, walked in groups of `group_m` rows."""
    row_bytes, column_bytes = (
        [min(block, size - first) * gemm.k * BYTES[gemm.dtype] for first in range(0, size, block)]
        for size, block in ((gemm.m, tile.block_m), (gemm.n, tile.block_n))
    )
    xcds, l2_bytes = accelerator.xcds, accelerator.l2_bytes
    assert xcds is not None  # known for gfx942
    assert l2_bytes is not None
    slots = accelerator.compute_units // xcds * residency(tile, gemm.dtype, accelerator).workgroups
    runs, xcd_l2_bytes = runs_by_xcd(len(row_bytes) * len(column_bytes), xcds), l2_bytes // xcds
    return tuple(run_fetched_bytes(run, group_m, row_bytes, column_bytes, slots=slots, l2_bytes=xcd_l2_bytes) for run in runs)


def _num_workgroups(gemm: Gemm, tile: Tile) -> int:
    return math.ceil(gemm.m / tile.block_m) * math.ceil(gemm.n / tile.block_n)


def _filled(workgroups: int, places: int) -> float:
    return workgroups / (math.ceil(workgroups / places) * places)
