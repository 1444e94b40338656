"""The dataset stage: Ray Data turns base templates into verified rows. The only module here that imports Ray.

The driver receives rows in a fixed order and writes them as they arrive. So the files are the same for any number of workers,
and memory holds a few batches of rows. The user's conversations alone are read in full at the start.
"""

import functools
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.data import DataContext, Dataset, TaskPoolStrategy

from aria_ray.artifacts import atomic_dir, atomic_path, remove_leftovers, write_json, write_text
from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.augment import augmentations
from aria_ray.dataset.checks import verify
from aria_ray.dataset.conversations.sources import Conversations, check_share, read_conversations
from aria_ray.dataset.from_requests.own import own_requests
from aria_ray.dataset.from_requests.rows import RequestRows
from aria_ray.dataset.loading import configured_library
from aria_ray.dataset.quality import Quality, facts_of, sampled_share
from aria_ray.dataset.rows import USER_PREFIX, Row, RowMaker
from aria_ray.dataset.samples import Samples
from aria_ray.dataset.sampling import choose_templates
from aria_ray.dataset.teacher.asking import OnAnswer, OpenEndpoint
from aria_ray.dataset.templates import Template
from aria_ray.errors import AriaError, DataError
from aria_ray.results import DatasetResult

OnRows = Callable[[int, int], None]

DATASET_FILE, QUALITY_FILE, SAMPLES_FILE, PARQUET_FOLDER = "final_dataset.jsonl", "quality.json", "SAMPLES.md", "parquet"
LEFT_OUT_FILE = "left_out.jsonl"
"""Conversations of the user's that no row is made of: place and reason of each."""
ROWS_PER_BATCH = 256
ROWS_PER_PARQUET_FILE = 4096
BLOCKS_PER_WORKER = 4
"""Blocks of templates per worker: with several, no worker waits long for the slowest."""
MAX_ITEMS_PER_BLOCK = 256
Item = dict[str, str]
"""Input of a task: a base template by its id, a finished row as JSON, or an example request by its id."""

_JSON_COLUMNS = ("tools", "messages")
"""Columns kept as JSON text: their keys vary from row to row, and an Arrow column has one type."""
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


def generate_dataset(
    config: DatasetConfig,
    out: Path,
    on_progress: OnRows | None = None,
    *,
    hold_out: bool = True,
    serve_teacher: OpenEndpoint | None = None,
    on_taught: OnAnswer | None = None,
) -> DatasetResult:
    """Write `final_dataset.jsonl`, `parquet/`, `quality.json` and `SAMPLES.md` into `out`; Ray must be running.

    `on_progress(done, total)` counts rows; with example requests the total is an estimate. `hold_out` is whether example
    requests are held out for the test. `serve_teacher` opens an endpoint of `dataset.teacher.source`, and
    `on_taught(done, total)` counts a teacher's answers. No file appears unless the dataset passes every gate.

    Raises:
        DataError: a template, a tool, a request or a conversation is wrong, there are too few, or the dataset fails a gate.
    """
    own = request_rows(config, hold_out=hold_out, serve_teacher=serve_teacher, on_taught=on_taught)
    conversations = read_conversations(config)
    items = dataset_items(config, own, conversations.rows)
    num_rows = sum(_num_rows(item, config) for item in items if not item["request"])
    num_rows += config.num_request_rows if own is not None else 0
    out.mkdir(parents=True, exist_ok=True)
    for name in (DATASET_FILE, PARQUET_FOLDER, SAMPLES_FILE):
        remove_leftovers(out / name)
    quality, samples = Quality(sampled_share(num_rows)), Samples()
    with atomic_path(out / DATASET_FILE) as path, atomic_dir(out / PARQUET_FOLDER) as folder:
        parquet = _ParquetFiles(folder)
        with path.open("w", encoding="utf-8") as lines:
            for batch in row_batches(config, items, own):
                batch = _without_refused(batch, conversations)
                for item in batch.to_pylist():
                    lines.write(line_of(item))
                    quality.add(json.loads(item["facts"]))
                    samples.add(item["id"], item["scenario"], item)
                parquet.write(batch.select(SCHEMA.names).cast(SCHEMA))
                if on_progress is not None:
                    on_progress(quality.num_rows, max(num_rows, quality.num_rows))
        parquet.close()
        check_share(conversations, config.sources, config.max_left_out_share)
        figures = quality.checked()
    if config.sources:
        figures["conversations"] = quality.of_conversations() | conversations.figures()
        write_text(out / LEFT_OUT_FILE, "".join(f"{line}\n" for line in conversations.lines()))
    if own is not None and own.own.yields:
        figures["teacher"] = dict(own.own.yields)
    write_json(out / QUALITY_FILE, figures)
    with atomic_path(out / SAMPLES_FILE) as path:
        path.write_text(samples.markdown(), encoding="utf-8")
    return DatasetResult(
        num_rows=figures["num_rows"],
        num_templates=figures["num_templates"],
        near_duplicate_share=figures["near_duplicate_share"],
    )


def request_rows(
    config: DatasetConfig,
    *,
    hold_out: bool = True,
    serve_teacher: OpenEndpoint | None = None,
    on_taught: OnAnswer | None = None,
) -> RequestRows | None:
    """What makes the rows of example requests; None where there are none.

    Raises:
        DataError: a source of tools or a file of requests is wrong.
    """
    if not config.has_requests:
        return None
    own = own_requests(config, hold_out=hold_out, serve_teacher=serve_teacher, on_taught=on_taught)
    return RequestRows(own, config.num_request_rows, config.seed)


def dataset_items(config: DatasetConfig, own: RequestRows | None = None, conversations: Sequence[Row] = ()) -> list[Item]:
    """Inputs of the tasks: the user's conversations as finished rows, then base templates and example requests by id.

    Raises:
        DataError: there are too few templates, or two of them are the same sentence.
    """
    # Conversations of the user come first: `datasets` takes the types of nested columns from the first rows of a file.
    items = [_item(row=json.dumps(row, ensure_ascii=False)) for row in conversations]
    if config.has_builtin:
        items += [_item(template_id=template.id) for template in _templates(config)]
    return items + [_item(request=item_id) for item_id in (own.item_ids() if own else ())]


def _item(template_id: str = "", row: str = "", request: str = "") -> Item:
    return {"template_id": template_id, "row": row, "request": request}


def _templates(config: DatasetConfig) -> list[Template]:
    library = configured_library(config)
    templates = choose_templates(library, config.num_templates, config.catalogue_share, config.seed, config.num_intents)
    by_sentence: dict[str, str] = {}
    for template in templates:
        sentence = library.frames.frames[template.frame].replace("{q}", re.sub(r"\{\w+\}", "{}", template.phrasing))
        if sentence in by_sentence:
            raise DataError(
                f"base templates {by_sentence[sentence]} and {template.id} are the same sentence: {sentence!r}",
                "change one of them",
            )
        by_sentence[sentence] = template.id
    return templates


def _num_rows(item: Item, config: DatasetConfig) -> int:
    """Number of rows that an item becomes, about."""
    return config.augmentations if item["template_id"] else 1


def row_batches(config: DatasetConfig, items: list[Item], own: RequestRows | None = None) -> Iterator[pa.Table]:
    """Tables of rows with their facts for the quality figures, in the order of `items`, by `config.num_workers` tasks."""
    _quiet()
    blocks = max(config.num_workers * BLOCKS_PER_WORKER, -(-len(items) // MAX_ITEMS_PER_BLOCK))
    dataset: Dataset = ray.data.from_items(items, override_num_blocks=min(blocks, len(items)))
    rows = dataset.flat_map(
        _make_rows_or_error,
        fn_kwargs={"config": config, "own": own},
        compute=TaskPoolStrategy(size=config.num_workers),
    )
    for batch in rows.iter_batches(batch_size=ROWS_PER_BATCH, batch_format="pyarrow"):
        errors = batch["error"].drop_null()
        if len(errors):
            raise DataError(**json.loads(errors[0]))
        yield batch


def _without_refused(batch: pa.Table, conversations: Conversations) -> pa.Table:
    """The table without conversations of the user's that vLLM's parsers do not read back; they are left out as the others."""
    kept = []
    for item in batch.select(["id", "template_id", "facts"]).to_pylist():
        problems = json.loads(item["facts"])["problems"] if item["template_id"].startswith(USER_PREFIX) else []
        if problems:
            conversations.leave_out(item["id"], f"cannot be read back: {problems[0]}")
        kept.append(not problems)
    return batch.filter(pa.array(kept, pa.bool_()))


def make_rows(item: Item, config: DatasetConfig, own: RequestRows | None = None) -> list[dict[str, Any]]:
    """The rows of an item, sorted by id. Nested columns and the facts for the quality figures are JSON text."""
    if item["row"]:
        made = [json.loads(item["row"])]
    elif item["request"] and own is not None:
        made = own.rows(item["request"])
    else:
        row_maker = _row_maker(config)
        template = row_maker.library.template(item["template_id"])
        repetitions = augmentations(template, config.augmentations, config.augmentation_kinds, row_maker.library.frames)
        made = [row_maker.row(template.id, kind, repetition, config.seed) for kind, repetition in repetitions]
    made.sort(key=lambda row: str(row["id"]))
    return [_flat(row) for row in made]


def _flat(row: Row) -> dict[str, Any]:
    texts = {column: json.dumps(row[column], ensure_ascii=False) for column in _JSON_COLUMNS}
    facts = facts_of(row, verify(row))
    return {**row, **texts, "facts": json.dumps(facts, ensure_ascii=False)}


def _make_rows_or_error(item: Item, config: DatasetConfig, own: RequestRows | None) -> list[dict[str, Any]]:
    """`make_rows`, with an input error returned as a row: raised in a task, it would reach the driver as a traceback."""
    try:
        return [row | {"error": None} for row in make_rows(item, config, own)]
    except AriaError as error:
        return [dict.fromkeys([*SCHEMA.names, "facts"]) | {"error": json.dumps({"problem": error.problem, "fix": error.fix})}]


@functools.cache
def _row_maker(config: DatasetConfig) -> RowMaker:
    return RowMaker(configured_library(config))


def line_of(item: dict[str, Any]) -> str:
    """A row as one line of JSON; nested columns are JSON text already."""
    values = (item[name] if name in _JSON_COLUMNS else json.dumps(item[name], ensure_ascii=False) for name in SCHEMA.names)
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in zip(SCHEMA.names, values, strict=True))}}}\n"


def _quiet() -> None:
    """Keep rows in order, and Ray Data's progress bars and plans off the terminal, where the run shows its own progress."""
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # This logger warns that progress bars are off.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


class _ParquetFiles:
    """Writes tables to Parquet files of `ROWS_PER_PARQUET_FILE` rows each; the last one has the rest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[pa.Table] = []
        self._num_files = 0

    def write(self, table: pa.Table) -> None:
        """Add rows, and write every file that they fill."""
        self._waiting.append(table)
        while sum(part.num_rows for part in self._waiting) >= ROWS_PER_PARQUET_FILE:
            self._flush(ROWS_PER_PARQUET_FILE)

    def _flush(self, num_rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        # One chunk: the bytes of a file depend on its rows, not on the batches they came in.
        file = self._folder / f"rows-{self._num_files:05}.parquet"
        pq.write_table(table.slice(0, num_rows).combine_chunks(), file)
        self._waiting = [table.slice(num_rows)]
        self._num_files += 1

    def close(self) -> None:
        """Write the rows that fill no whole file."""
        if sum(part.num_rows for part in self._waiting):
            self._flush(ROWS_PER_PARQUET_FILE)
