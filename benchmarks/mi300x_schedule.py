"""The tiles, their order and the row pitch for the matrix products of Llama-3.1-8B on an MI300X: computed, none measured.

    python benchmarks/mi300x_schedule.py [--write]

Prints Markdown. With `--write` the section also takes the place of the one with its heading in `RESULTS.md`.
"""

import argparse
from collections.abc import Sequence

from hbm import MI300_HBM, Interleave, channel_loads, folded, overload, padded_pitch, plain
from results import publish
from tile_order import traffic_by_tile

from aria_ray.kernels.gfx942.mfma import Tile
from aria_ray.kernels.gfx942.tiles import (
    GROUPS,
    LOAD_LATENCY_CLOCKS,
    NEARLY,
    Gemm,
    TileSchedule,
    choose_schedule,
    l2_traffic,
    schedule,
)
from aria_ray.machine.specs import MI300X
from aria_ray.planning.model_sizes import model_size

LLAMA_8B = model_size("meta-llama/Llama-3.1-8B").shape
TOKENS, RANK = 2048, 16
STREAMS = (1, 32, 256)
L2_LATENCY_CLOCKS = 288
# AITER's tuned tiles for 16 bits on gfx942, by the most rows they are for (`gfx942-GEMM-A16W16.json`).
AITER_TILES = ((64, Tile(64, 128, 128, 4)), (512, Tile(128, 128, 128, 8)), (None, Tile(256, 256, 64, 8)))
INTERLEAVES = (plain(16, 256), plain(128, 256), plain(128, 4096), folded(128, 256), folded(128, 4096), MI300_HBM)
WALK_ROWS, WALK_BYTES = (128, 2048), 128
MIB = 2**20


def section() -> str:
    """The three tables."""
    products = named_products()
    return f"""\
All of this is computed from the figures of `machine.specs`; nothing was measured, as no MI300X was there. Predicted times \
rank tiles, and are less than what a kernel takes (`kernels.gfx942.tiles`).

Tiles for the products of a block of Llama-3.1-8B and its output head, in bf16: LoRA training of rank {RANK} at {TOKENS:,} \
tokens, and decoding. Two stages, MFMA 16x16x16, `waves_per_eu` 0 for all. Wave efficiency is of places for workgroups, CU \
efficiency of turns of one workgroup per CU. Registers per lane: in all, and of them sums + factors.

{schedule_table(products)}
The last column is the predicted time of the tile in AITER's tuned file, over that of ours. That file goes by rows alone. \
Above 512 it has 256x256x64, which at these widths leaves compute units without a tile; whether its inner loop makes up for \
that, the prediction does not know. Only runs on the device can decide between them.

{sensitivity(list(products.values()))}

What the eight L2s fetch of A and B, in MiB: each operand once (if one L2 served all); workgroups as the hardware deals them \
out, in groups of 8 rows, and in the best of groups of {", ".join(map(str, GROUPS))}; renumbered by `remap_xcd` with the group \
chosen. Counted with the workgroups that a die holds stepping through K together.

{traffic_table(products)}
Load of the fullest channel over the mean for what a tile of 128 rows reads in a step of 64 columns of bf16 (128 bytes of each \
row), and for all {TOKENS:,} rows at once, without and with padding by `padded_pitch`. How an MI300X takes the HBM channel is \
public (last line, from Linux); how it takes the L2 channel is not (first line: what AMD's advice fits). The others are for \
comparison.

{channel_table()}
So the padding that AMD advises is not for HBM, whose hash spreads these rows as it is and less evenly with padding, but for \
the L2 channels, if they are interleaved plainly.
"""


def named_products() -> dict[str, Gemm]:
    """Each different product once, named by the layers that compute it."""
    named: dict[Gemm, list[str]] = {}
    for name, (inputs, outputs) in LLAMA_8B.linear_layers.items():
        named.setdefault(Gemm(TOKENS, outputs, inputs), []).append(name)
        named.setdefault(Gemm(TOKENS, inputs, outputs), []).append(f"{name} backward")
    named[Gemm(TOKENS, RANK, LLAMA_8B.hidden_size)] = ["LoRA A"]
    named[Gemm(TOKENS, LLAMA_8B.hidden_size, RANK)] = ["LoRA B"]
    named[Gemm(RANK, LLAMA_8B.hidden_size, TOKENS)] = ["gradient of LoRA A"]
    for streams in STREAMS:
        for name, (inputs, outputs) in LLAMA_8B.linear_layers.items():
            named.setdefault(Gemm(streams, outputs, inputs), []).append(name)
        named[Gemm(streams, LLAMA_8B.vocabulary_size, LLAMA_8B.hidden_size)] = ["output head"]
    return {f"{', '.join(names)} ({gemm.m})": gemm for gemm, names in named.items()}


def schedule_table(products: dict[str, Gemm]) -> str:
    """Table with a row for each product."""
    head = (
        "product (rows)|N x K|tile|waves|workgroups|per CU, limited by|wave efficiency|CU efficiency|LDS KiB|registers"
        "|waves per SIMD|FLOP/byte, bound|predicted us|longest|AITER's tile"
    )
    lines = []
    for name, gemm in products.items():
        chosen = choose_schedule(gemm, MI300X)
        lines.append(
            f"{name}|{gemm.n} x {gemm.k}|{chosen.block_m}x{chosen.block_n}x{chosen.block_k}|{chosen.num_warps}"
            f"|{chosen.num_workgroups}|{chosen.workgroups_per_cu}, {chosen.limited_by}|{chosen.wave_efficiency:.0%}"
            f"|{chosen.cu_efficiency:.0%}|{chosen.lds_bytes / 1024:.0f}"
            f"|{chosen.vgprs}: {chosen.accumulator_vgprs} + {chosen.operand_vgprs}|{chosen.waves_per_simd}"
            f"|{chosen.flops_per_byte:.0f}, {chosen.bound}|{chosen.predicted_s * 1e6:.1f}|{chosen.predicted_limit}"
            f"|{schedule(gemm, aiter_tile(gemm.m), MI300X).predicted_s / chosen.predicted_s:.2f}"
        )
    return table(head, lines)


def aiter_tile(rows: int) -> Tile:
    """Tile of AITER's file for that many rows."""
    return next(tile for most, tile in AITER_TILES if most is None or rows <= most)


def sensitivity(gemms: Sequence[Gemm]) -> str:
    """Effect of the load latency, the one figure that is somebody else's measurement, on the choice of tiles."""
    lost = []
    for gemm in gemms:
        ours, other = choose_schedule(gemm, MI300X), choose_schedule(gemm, MI300X, L2_LATENCY_CLOCKS)
        kept = schedule(gemm, Tile(*blocks(ours)), MI300X, L2_LATENCY_CLOCKS)
        lost.append(kept.predicted_s / other.predicted_s)
    worse = sum(each > NEARLY for each in lost)
    return (
        f"The latency of a load, {LOAD_LATENCY_CLOCKS} clocks, decides where loads take longest. Were it {L2_LATENCY_CLOCKS}, "
        f"as of a hit in L2, {worse} of these {len(lost)} choices would be more than {NEARLY - 1:.0%} slower than the best, "
        f"the worst by {max(lost) - 1:.0%}."
    )


def blocks(chosen: TileSchedule) -> tuple[int, int, int, int]:
    """Sizes that tell tiles apart."""
    return chosen.block_m, chosen.block_n, chosen.block_k, chosen.num_warps


def traffic_table(products: dict[str, Gemm]) -> str:
    """L2 traffic of the products with more than one tile in both directions, for which the order matters."""
    lines = []
    for name, gemm in products.items():
        chosen = choose_schedule(gemm, MI300X)
        if gemm.m <= chosen.block_m or gemm.n <= chosen.block_n:
            continue
        tile = Tile(*blocks(chosen))
        dealt = {group: sum(traffic_by_tile(gemm, tile, MI300X, group, remap=False)) / MIB for group in GROUPS}
        renumbered = sum(l2_traffic(gemm, tile, MI300X, chosen.group_m)) / MIB
        once = (gemm.m + gemm.n) * gemm.k * 2 / MIB
        lines.append(
            f"{name}|{gemm.n} x {gemm.k}|{once:,.0f}|{dealt[8]:,.0f}|{min(dealt.values()):,.0f}|{renumbered:,.0f}"
            f"|{chosen.group_m}|{dealt[8] / renumbered:.1f}|{min(dealt.values()) / renumbered:.1f}"
        )
    head = "product (rows)|N x K|once|dealt out, groups of 8|dealt out, best group|renumbered|group|saves over 8|over best"
    return table(head, lines)


def channel_table() -> str:
    """Overload by interleave, without and with padding."""
    columns = (LLAMA_8B.hidden_size, LLAMA_8B.intermediate_size)
    walks = [(rows, width) for width in columns for rows in WALK_ROWS]
    lines = [
        "|".join([interleave.name, *(f"{walk(interleave, *each, False)} -> {walk(interleave, *each, True)}" for each in walks)])
        for interleave in INTERLEAVES
    ]
    titles = [f"{rows:,} rows of {width:,}, pitch {width:,} -> {padded_pitch(width, 2):,}" for rows, width in walks]
    return table("|".join(["interleave", *titles]), lines)


def walk(interleave: Interleave, rows: int, columns: int, padded: bool) -> str:
    """Load of the fullest channel over the mean."""
    pitch = padded_pitch(columns, 2) if padded else columns
    return f"{overload(channel_loads(rows, WALK_BYTES, pitch * 2, interleave)):.1f}"


def table(head: str, lines: Sequence[str]) -> str:
    """Markdown of cells that bars separate."""
    rule = "|".join(["---"] * len(head.split("|")))
    return "".join(f"| {' | '.join(line.split('|'))} |\n" for line in (head, rule, *lines))


def main() -> None:
    """Compute and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    publish("Tile schedule and HBM layout for MI300X (computed)", section, (), parser.parse_args().write)


if __name__ == "__main__":
    main()
