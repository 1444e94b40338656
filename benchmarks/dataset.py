"""How fast rows are made, against the same function under Hugging Face `datasets`; and time and memory for more rows.

    python benchmarks/dataset.py [--rows 15000] [--repeats 3] [--workers 2] [--scale 150000 1500000] [--write]

Prints Markdown. With `--write` every section also takes the place of the one with its heading in `RESULTS.md`.
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import psutil
import ray
from results import publish, spread

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.generate import Item, dataset_items, generate_dataset, make_rows, row_batches
from aria_ray.dataset.loading import library
from aria_ray.dataset.quality import Quality, sampled_share
from aria_ray.dataset.sampling import SCENARIO_SHARES, SPLIT_SHARES
from aria_ray.telemetry.sampler import MachineSampler

AUGMENTATIONS = 5
"""Rows per base template, as in the recipes, while there are base templates enough."""
WARM_UP_ROWS = 200
PACKAGES = ("datasets", "pyarrow")
"""Whose versions matter here, beside those that every run notes."""


@dataclass
class Passes:
    """Seconds of passes over the same items: the first, and the warm ones."""

    first: float = 0.0
    warm: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Scale:
    """One size: what was made, and what it took."""

    templates: int
    rows: int
    seconds: float
    gib_before: float
    gib_peak: float


def config_for(rows: int, workers: int) -> DatasetConfig:
    """About that many rows: more base templates first, then, when those run out, more rows from each."""
    num_templates = min(max(1, rows // AUGMENTATIONS), most_templates())
    augmentations = -(-rows // num_templates)
    return DatasetConfig(num_templates=rows // augmentations, augmentations=augmentations, num_workers=workers)


def num_rows(config: DatasetConfig) -> int:
    """The rows that a configuration gives."""
    return config.num_templates * config.augmentations


def most_templates() -> int:
    """The largest dataset in base templates that has every scenario and split in its share."""
    frames = len(library().frames.frames)
    there = Counter((family.intent.scenario, family.split) for family in library().families())
    whole = {scenario: sum(SPLIT_SHARES[split] for other, split in there if other == scenario) for scenario in SCENARIO_SHARES}
    return min(
        int(count * frames / (SCENARIO_SHARES[scenario] * SPLIT_SHARES[split] / whole[scenario]))
        for (scenario, split), count in there.items()
    )


def items_for(config: DatasetConfig) -> list[Item]:
    """What the rows are made from, as many as are asked for."""
    items = dataset_items(config)
    if len(items) != config.num_templates:
        raise SystemExit(f"{config.num_templates} base templates were asked for and {len(items)} chosen")
    return items


@contextlib.contextmanager
def running_ray(workers: int) -> Iterator[None]:
    """A local Ray of this machine's cores, or of as many as there are workers."""
    cores = max(workers, psutil.cpu_count() or 1)
    ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def ours_seconds(config: DatasetConfig, items: list[Item]) -> float:
    """One pass of Ray Data over the items: rows made, verified, and brought to the driver in order."""
    start = time.perf_counter()
    _must_be(config, sum(batch.num_rows for batch in row_batches(config, items)))
    return time.perf_counter() - start


def whole_seconds(config: DatasetConfig) -> float:
    """The dataset stage from templates to files, figures and gates included."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        generate_dataset(config, Path(folder))
        return time.perf_counter() - start


def peer_seconds(config: DatasetConfig, items: list[Item], warm: bool) -> float:
    """One pass of `datasets.map` over the items. It forks a pool of its own for each call.

    `warm` imports vLLM and reads the templates in this process before the clock starts, so the workers are forked with them.
    """
    datasets.disable_progress_bars()
    if warm:
        make_rows(items[0], config)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        rows = datasets.Dataset.from_list(items).map(
            rows_of_batch,
            batched=True,
            num_proc=config.num_workers,
            remove_columns=list(items[0]),
            fn_kwargs={"config": config},
            load_from_cache_file=False,
            cache_file_name=str(Path(folder) / "rows.arrow"),
        )
        seconds = time.perf_counter() - start
        _must_be(config, rows.num_rows)
    return seconds


def rows_of_batch(batch: dict[str, list[str]], config: DatasetConfig) -> dict[str, list[Any]]:
    """`make_rows` in the shape of a batched map."""
    items = (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
    rows = [row for item in items for row in make_rows(item, config)]
    return {key: [row[key] for row in rows] for key in rows[0]}


def _must_be(config: DatasetConfig, made: int) -> None:
    if made != num_rows(config):
        raise SystemExit(f"{made} rows were made and it must be {num_rows(config)}")


def speed(rows: int, repeats: int, workers: int) -> str:
    """Rows per second of both sides, in turn, and seconds of the whole stage."""
    config = config_for(rows, workers)
    items = items_for(config)
    ours, peer, whole = Passes(), Passes(), []
    # The peer has a process of its own: forking one that runs Ray is not safe.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as passing:  # so that neither side is the one to read vLLM from the disk
        passing.submit(make_rows, items[0], config).result()
    with running_ray(workers), ProcessPoolExecutor(1, mp_context=spawn) as other:
        ours.first = ours_seconds(config, items)
        peer.first = other.submit(peer_seconds, config, items, False).result()
        for _ in range(repeats):
            ours.warm.append(ours_seconds(config, items))
            peer.warm.append(other.submit(peer_seconds, config, items, True).result())
            whole.append(whole_seconds(config))
    return _speed_text(config, ours, peer, whole)


def _speed_text(config: DatasetConfig, ours: Passes, peer: Passes, whole: Sequence[float]) -> str:
    rows = num_rows(config)
    ratios = [theirs / mine for mine, theirs in zip(ours.warm, peer.warm, strict=True)]
    return f"""\
{rows:,} rows from {config.num_templates:,} base templates, {config.augmentations} from each, {config.num_workers} workers \
on each side, the two sides in turn. Every row is made and verified (calls run, vLLM's parsers) by the \
same function, `make_rows`. Warm figures are means, with the least and the most; warm passes of each side: {len(whole)}.

| rows/s | first pass | warm passes |
|---|---|---|
| Ray Data (`row_batches`, Ray up before) | {rows / ours.first:.1f} | {spread([rows / each for each in ours.warm], 1)} |
| `datasets.map` (batched, `num_proc={config.num_workers}`) | {rows / peer.first:.1f} | \
{spread([rows / each for each in peer.warm], 1)} |
| ours / peer | {peer.first / ours.first:.2f} | {spread(ratios, 2)} |

The first pass has the workers import vLLM, which was read from the disk before. Ray's workers stay, so later passes are \
warm by themselves. `datasets` forks a pool for each `map`, and its workers do not stay: every call in a process that has \
not imported vLLM costs what its first pass does. Its warm passes are forked from a process that had imported vLLM and read \
the templates before the clock started. Ray Data brings the rows to the driver in order; `datasets` writes them to a fresh \
cache file.

The whole stage (`generate_dataset`: also JSON Lines, Parquet, figures and gates), on warm workers: \
{spread(whole, 1)} s for {rows:,} rows.
"""


def scale(sizes: Sequence[int], workers: int) -> str:
    """Seconds and peak memory by the number of rows."""
    made = [scale_of(config_for(size, workers)) for size in sorted(sizes)]
    templates = library()
    phrasings = sum(len(intent.phrasings) for _, intent in templates.intents)
    frames = len(templates.frames.frames)
    lines = "\n".join(
        f"| {each.rows:,} | {each.templates:,} | {each.rows // each.templates} | {each.seconds:,.0f} | "
        f"{each.rows / each.seconds:.1f} | {each.gib_before:.2f} | {each.gib_peak:.2f} |"
        for each in made
    )
    return f"""\
Templates chosen, rows made and verified by {workers} Ray Data workers, and their facts counted for the figures, as \
`generate_dataset` does, without its files and gates. A fresh Ray for each size, its workers warm before the clock starts. \
Memory is the proportional set size of the driver and all of Ray's processes, object store included, sampled every second.

| rows | base templates | rows from each | seconds | rows/s | GiB before | GiB at most |
|---|---|---|---|---|---|---|
{lines}

There are {phrasings * frames:,} base templates: {len(templates.intents):,} intents in {phrasings:,} phrasings, each in \
{frames} frames. The shares of scenarios and splits let a dataset have {most_templates():,} of them, and `augmentations` \
makes up to 1,000 rows from each.
"""


def scale_of(config: DatasetConfig) -> Scale:
    """Make the rows of one size and count their facts."""
    with running_ray(config.num_workers):
        small = config_for(WARM_UP_ROWS, config.num_workers)
        ours_seconds(small, items_for(small))
        quality = Quality(sampled_share(num_rows(config)))
        with MachineSampler() as sampler:
            start = time.perf_counter()
            for batch in row_batches(config, items_for(config)):
                for facts in batch["facts"].to_pylist():
                    quality.add(json.loads(facts))
            seconds = time.perf_counter() - start
    _must_be(config, quality.num_rows)
    gib_peak = sampler.peak_memory_gib or 0.0
    return Scale(config.num_templates, quality.num_rows, seconds, sampler.timeline.samples[0].memory_gib, gib_peak)


def main() -> None:
    """Run what is asked for, one section after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--rows", type=int, default=15_000, help="rows of a pass (15000)")
    parser.add_argument("--repeats", type=int, default=3, help="warm passes of each side (3); 0 leaves the race out")
    parser.add_argument("--workers", type=int, default=2, help="processes that make rows, on each side (2)")
    parser.add_argument("--scale", type=int, nargs="+", default=[], metavar="ROWS", help="sizes to take time and memory of")
    parser.add_argument("--write", action="store_true", help="put the sections into RESULTS.md")
    options = parser.parse_args()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if options.repeats:
        race = functools.partial(speed, options.rows, options.repeats, options.workers)
        publish("Making the dataset", race, PACKAGES, options.write)
    if options.scale:
        sizes = functools.partial(scale, [options.rows, *options.scale], options.workers)
        publish("Scaling the dataset", sizes, PACKAGES, options.write)


if __name__ == "__main__":
    main()
