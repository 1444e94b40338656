"""Registers, LDS and instructions of the LoRA kernel compiled for an MI300X, against the tile schedule's prediction.

    python benchmarks/kernels_gfx942.py [--rank 16] [--write]

No GPU is needed: Triton's package holds the compiler for gfx942. Prints Markdown.
"""

import argparse
import dataclasses
from collections.abc import Iterator

from compiled_kernel import Direction, amd_resources, compile_kernel, waves_per_simd
from results import publish

from aria_ray.kernels.blocks import Blocks
from aria_ray.kernels.gfx942.mfma import Tile
from aria_ray.kernels.gfx942.tiles import CANDIDATES, Gemm, TileSchedule, choose_schedule, schedule
from aria_ray.machine.specs import MI300X
from aria_ray.planning.model_sizes import model_size

LLAMA_8B = model_size("meta-llama/Llama-3.1-8B").shape
TOKENS = (256, 512, 1024, 2048, 4096, 8192, 16384)
"""Lengths of a packed row for which schedules are chosen."""
DEFAULT_TILE = CANDIDATES[0]
ALSO = (DEFAULT_TILE, dataclasses.replace(DEFAULT_TILE, instruction_size=32), Tile(128, 128, 64, 8), Tile(256, 256, 64, 8))
"""Tiles to compile even if they are not chosen: the default with either instruction and with more wavefronts, and AITER's tile
for more than 512 rows."""


def products() -> Iterator[tuple[Direction, Gemm]]:
    """Large product of each kind of layer, forward and backward."""
    for inputs, outputs in sorted(set(LLAMA_8B.linear_layers.values())):
        for tokens in TOKENS:
            yield "forward", Gemm(tokens, outputs, inputs)
            yield "backward", Gemm(tokens, inputs, outputs)


def schedules() -> dict[tuple[Direction, Tile], tuple[TileSchedule, int]]:
    """Schedule of each direction and tile, with the number of products for which it is chosen."""
    made: dict[tuple[Direction, Tile], tuple[TileSchedule, int]] = {}
    for direction, gemm in products():
        chosen = choose_schedule(gemm, MI300X)
        tile = Tile(chosen.block_m, chosen.block_n, chosen.block_k, chosen.num_warps, chosen.num_stages, chosen.instruction[0])
        made[direction, tile] = chosen, made.get((direction, tile), (chosen, 0))[1] + 1
    for tile in ALSO:
        for direction in ("forward", "backward"):
            made.setdefault((direction, tile), (schedule(Gemm(2048, 4096, 4096), tile, MI300X), 0))
    return made


def row(direction: Direction, plan: TileSchedule, num_chosen: int, rank: int) -> str:
    """Row of the table: the schedule's prediction and the compiler's figures side by side."""
    compiled = compile_kernel(Blocks.of(plan, 8), "gfx942", direction, "bf16", rank=rank, k=plan.block_k)
    resources = amd_resources(compiled)
    instructions = ", ".join(f"{count} {name}" for name, count in sorted(compiled.matrix_instructions.items()))
    cells = (
        direction,
        f"{plan.block_m} x {plan.block_n} x {plan.block_k}, {plan.num_warps}",
        num_chosen,
        instructions.replace("v_mfma_f32_", ""),
        f"{plan.vgprs} / {resources.vgprs}",
        resources.agprs,
        resources.sgprs,
        f"{plan.lds_bytes:,} / {compiled.lds_bytes:,}",
        f"{resources.vgpr_spills} + {resources.sgpr_spills}, {resources.scratch_bytes}",
        f"{plan.waves_per_simd} / {waves_per_simd(compiled, plan.num_warps, MI300X)}",
        f"{resources.code_bytes:,}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def report(rank: int) -> str:
    """Section with all kernels, those that are chosen most often first."""
    ordered = sorted(schedules().items(), key=lambda item: (-item[1][1], dataclasses.astuple(item[0][1]), item[0][0]))
    rows = [row(direction, plan, count, rank) for (direction, _), (plan, count) in ordered]
    return f"""\
`aria_ray/kernels/gemm.py` in bf16 at rank {rank}, compiled for gfx942, not run: no such GPU was at hand. Forward is \
x W^T + s (x A^T) B^T, backward g W + s (g B) A. "Chosen" counts for how many of the products of Llama-3.1-8B's four kinds of \
layer and {len(TOKENS)} lengths of a packed row ({TOKENS[0]:,} to {TOKENS[-1]:,} tokens) `choose_schedule` takes the tile. \
Where two figures stand, the first is the schedule's prediction, the second the compiler's. Registers are a lane's; spills are \
vector and scalar ones, then scratch bytes.

| | tile, wavefronts | chosen | MFMA in the code | VGPR | AGPR | SGPR | LDS bytes | spills | wavefronts per SIMD | code bytes |
|---|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def main() -> None:
    """Compile and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--rank", type=int, default=16, help="rank of the adapter (16)")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    options = parser.parse_args()
    if options.rank < 1:
        raise SystemExit(f"--rank ({options.rank}) must be 1 or more")
    publish("Kernels compiled for gfx942", lambda: report(options.rank), ("triton",), options.write)


if __name__ == "__main__":
    main()
