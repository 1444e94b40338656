"""The dataset stage: Ray Data turns base templates into verified rows. The only module here that imports Ray.

The driver receives rows in the order of their ids and writes them as they come, so it never holds the whole dataset, and
the files are the same for any number of workers.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.data import DataContext, Dataset, TaskPoolStrategy

from aria_ray.artifacts import atomic_path, write_json
from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.augment import AUGMENTATIONS
from aria_ray.dataset.checks import quality, verify
from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import Row, choose_templates, make_row

Progress = Callable[[int, int], None]

DATASET_FILE, QUALITY_FILE, PARQUET_FOLDER = "final_dataset.jsonl", "quality.json", "parquet"
ROWS_PER_BATCH = 256
ROWS_PER_PARQUET_FILE = 4096
BLOCKS_PER_WORKER = 4
"""Blocks of templates for each worker: enough that none waits long for the last."""
MAX_TEMPLATES_PER_BLOCK = 256

_JSON_COLUMNS = ("tools", "messages")
"""Nested values whose keys vary from row to row: Arrow has one type per column, so they travel as JSON text."""
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("template_id", pa.string()),
        ("template_family", pa.string()),
        ("augmentation", pa.string()),
        ("category", pa.string()),
        ("scenario", pa.string()),
        ("difficulty", pa.int64()),
        ("split", pa.string()),
        ("tools", pa.string()),
        ("messages", pa.string()),
        ("answer_contains", pa.list_(pa.string())),
        ("tool_names", pa.string()),
    ]
)


def generate_dataset(config: DatasetConfig, out: Path, on_progress: Progress | None = None) -> None:
    """Write `final_dataset.jsonl`, `parquet/` and `quality.json` into `out`; Ray must be running.

    `on_progress` gets the rows done and the rows in all. Nothing appears unless every gate holds.

    Raises:
        DataError: a template is wrong, there are too few, or the dataset fails one of its gates.
    """
    template_ids = [template.id for template in choose_templates(library(), config.num_templates, config.seed)]
    num_rows = len(template_ids) * config.augmentations
    out.mkdir(parents=True, exist_ok=True)
    problems: dict[str, list[str]] = {}
    done = 0
    with atomic_path(out / DATASET_FILE) as path, _ParquetFiles(out / PARQUET_FOLDER) as parquet:
        with path.open("w", encoding="utf-8") as lines:
            for batch in _batches(config, template_ids):
                for row in batch.to_pylist():
                    if row["problems"]:
                        problems[row["id"]] = row["problems"]
                    lines.write(json.dumps(_decoded(row), ensure_ascii=False) + "\n")
                parquet.write(batch.select(SCHEMA.names).cast(SCHEMA))
                done += batch.num_rows
                if on_progress is not None:
                    on_progress(done, num_rows)
        figures = quality(read_rows(path), problems)
    write_json(out / QUALITY_FILE, figures)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a `final_dataset.jsonl`, one at a time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _batches(config: DatasetConfig, template_ids: list[str]) -> Iterator[pa.Table]:
    """Tables of rows in the order of `template_ids`, made by `config.num_workers` tasks at a time."""
    _quiet()
    blocks = max(config.num_workers * BLOCKS_PER_WORKER, -(-len(template_ids) // MAX_TEMPLATES_PER_BLOCK))
    items = [{"template_id": template_id} for template_id in template_ids]
    dataset: Dataset = ray.data.from_items(items, override_num_blocks=min(blocks, len(items)))
    rows = dataset.flat_map(
        _make_rows,
        fn_kwargs={"augmentations": config.augmentations, "seed": config.seed},
        compute=TaskPoolStrategy(size=config.num_workers),
    )
    yield from rows.iter_batches(batch_size=ROWS_PER_BATCH, batch_format="pyarrow")


def _make_rows(item: dict[str, str], augmentations: int, seed: int) -> list[dict[str, Any]]:
    """All rows of one base template, in the order of their ids, each with the problems found in it."""
    rows = []
    for index in sorted(range(augmentations), key=AUGMENTATIONS.__getitem__):
        row = make_row(item["template_id"], index, seed)
        texts = {column: json.dumps(row[column], ensure_ascii=False) for column in _JSON_COLUMNS}
        rows.append({**row, **texts, "problems": verify(row)})
    return rows


def _decoded(row: dict[str, Any]) -> Row:
    return {name: json.loads(row[name]) if name in _JSON_COLUMNS else row[name] for name in SCHEMA.names}


def _quiet() -> None:
    """Rows in order; no progress bars or plans on the terminal, which shows the progress of the run itself."""
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # It warns that progress bars are off.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


class _ParquetFiles:
    """Parquet files of a fixed number of rows in a folder, which takes its place only when all are written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.")
        self._waiting: list[pa.Table] = []
        self._num_files = 0

    def __enter__(self) -> "_ParquetFiles":
        return self

    def write(self, table: pa.Table) -> None:
        self._waiting.append(table)
        while sum(part.num_rows for part in self._waiting) >= ROWS_PER_PARQUET_FILE:
            self._flush(ROWS_PER_PARQUET_FILE)

    def _flush(self, num_rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        # One chunk: the bytes of a file depend on its rows, not on the batches they came in.
        file = Path(self._temporary.name) / f"rows-{self._num_files:05}.parquet"
        pq.write_table(table.slice(0, num_rows).combine_chunks(), file)
        self._waiting = [table.slice(num_rows)]
        self._num_files += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._temporary:
            if kind is None:
                if sum(part.num_rows for part in self._waiting):
                    self._flush(ROWS_PER_PARQUET_FILE)
                self._folder.mkdir(exist_ok=True)
                for old in self._folder.glob("*.parquet"):
                    old.unlink()
                for file in sorted(Path(self._temporary.name).iterdir()):
                    file.replace(self._folder / file.name)
