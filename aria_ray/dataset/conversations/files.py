"""The records of a source: a file, a folder, a glob, an address such as `s3://bucket/key`, or a data set of the Hub.

Files are JSON Lines, JSON (an array, or one object) or Parquet, plain or compressed. Which it is, their first bytes say, not
their names.
"""

import bz2
import functools
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from aria_ray.artifacts import file_hash
from aria_ray.errors import DataError

ENDINGS = (".jsonl", ".json", ".ndjson", ".parquet")
"""Endings of the files that are read of a folder; a second one that names a compression may follow."""
LISTS = ("data", "conversations", "examples", "items", "rows", "train")
"""Keys under which a file that is one JSON object has its list of conversations."""
_COMPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
    b"\x28\xb5\x2f\xfd": lambda data: pa.input_stream(io.BytesIO(data), compression="zstd").read(),
}
"""How to decompress a file, by its first bytes."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Record:
    """One conversation as it lies in a file."""

    place: str
    """The file and the line, or the number of the record where a file has no lines."""
    stem: str
    """Name of the file without its ending."""
    number: int
    """Line, or number of the record, in its file; from 1."""
    value: Any = None
    problem: str | None = None
    """Why it cannot be read; None if it can."""


def name_and_share(source: str) -> tuple[str, float]:
    """What a source names, and the share of its conversations to take: `NAME` or `NAME:SHARE`.

    Raises:
        DataError: the share is not above 0 and at most 1.
    """
    name, _, share = source.rpartition(":")
    try:
        number = float(share) if name else None
    except ValueError:
        number = None
    if number is None:
        return source, 1.0
    if not 0 < number <= 1:
        raise DataError(
            f"dataset.sources {source}: the share {share} must be above 0 and at most 1", "write 0.5 for half of its rows"
        )
    return name, number


def read_records(name: str) -> Iterator[Record]:
    """The records of a source without its share, in the order of its files by name.

    Raises:
        DataError: there is no such source, or it cannot be read.
    """
    if not local_files(name):
        yield from _hub_records(name) if _is_hub_id(name) else _remote_records(name)
        return
    for path in local_files(name):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"dataset.sources {path} cannot be read ({error})", "make it readable") from None
        yield from _file_records(str(path), data)


def source_state(name: str) -> list[str]:
    """What changes when a source does: hashes of local files, size and time of others, the revision of a data set.

    Raises:
        DataError: there is no such source.
    """
    if paths := local_files(name):
        return [file_hash(path) for path in paths]
    if _is_hub_id(name):
        return [_hub_state(name)]
    return [f"{item.path} {item.size} {item.mtime_ns}" for item in _remote_files(name)[1]]


def local_files(name: str) -> list[Path]:
    """The files of this machine that a source names; empty if it names something else.

    Raises:
        DataError: nothing of that name is there, or a folder has no file of conversations.
    """
    if "://" in name:
        return []
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.is_file() and _is_data(item.name))
        if not found:
            raise DataError(
                f"dataset.sources {name} has no file that ends with {', '.join(ENDINGS)}", "give the files themselves"
            )
        return found
    if any(sign in name for sign in "*?["):
        folder, parts = Path(path.anchor), path.parts[1:] if path.anchor else path.parts
        found = sorted(item for item in folder.glob(str(Path(*parts))) if item.is_file())
        if not found:
            raise DataError(f"dataset.sources {name} matches no file", "run the command where they are, or give a whole path")
        return found
    if not _is_hub_id(name):
        raise DataError(
            f"dataset.sources {name} is no file, folder or data set of the Hub (OWNER/NAME)", "give one that exists"
        )
    return []


def _is_data(name: str) -> bool:
    suffixes = PurePosixPath(name).suffixes
    return not name.startswith(".") and any(suffix.lower() in ENDINGS for suffix in suffixes[-2:])


def _is_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None and not _is_data(name) and not name.startswith(".")


def _file_records(name: str, data: bytes) -> Iterator[Record]:
    stem = PurePosixPath(name).name.split(".")[0]
    try:
        for start, decompress in _COMPRESSIONS.items():
            if data.startswith(start):
                data = decompress(data)
        if data.startswith(b"PAR1"):
            for number, value in enumerate(_parquet_values(data), start=1):
                yield Record(f"{name}:{number}", stem, number, value)
            return
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, EOFError, ValueError, lzma.LZMAError, pa.ArrowException) as error:
        raise DataError(
            f"dataset.sources {name} cannot be read ({error})", "give JSON Lines or JSON in UTF-8, or Parquet"
        ) from None
    yield from _text_records(name, stem, text)


def _text_records(name: str, stem: str, text: str) -> Iterator[Record]:
    whole = _whole_values(text)
    if whole is not None:
        for number, value in enumerate(whole, start=1):
            yield Record(f"{name}:{number}", stem, number, value)
        return
    # Only these end a line: JSON Lines may have the other separators of Unicode within a text.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line.strip():
            try:
                yield Record(f"{name}:{number}", stem, number, parse_json(line))
            except (ValueError, RecursionError) as error:
                yield Record(f"{name}:{number}", stem, number, problem=f"not JSON: {error}")


def _whole_values(text: str) -> list[Any] | None:
    """The conversations of a text that is one JSON value; None where it is JSON Lines."""
    first, _, rest = text.strip().partition("\n")
    if not rest.strip():
        return _listed(first)
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return _listed(text)  # a value that goes on over lines
    return None


def _listed(text: str) -> list[Any] | None:
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, Mapping):
        if any(key in value for key in ("messages", "query", "from", "role")):
            return [value]
        lists = [value[key] for key in LISTS if isinstance(value.get(key), list)]
        # A list of messages is one conversation; a list of conversations has objects with messages, or lists.
        value = next((items for items in lists if items and not _is_message(items[0])), [value])
    if not isinstance(value, list):
        return None
    return [value] if value and _is_message(value[0]) else value


def _is_message(item: Any) -> bool:
    return isinstance(item, Mapping) and ("role" in item or "from" in item)


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, NaN and the infinities included.
    """
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _parquet_values(data: bytes) -> Iterator[Any]:
    for batch in pq.ParquetFile(pa.BufferReader(data)).iter_batches(batch_size=256):
        yield from batch.to_pylist()


def _remote_files(name: str) -> tuple[Any, list[Any]]:
    """The file system of an address, and what it says of each file there."""
    try:
        system, path = fs.FileSystem.from_uri(name)
        info = system.get_file_info(path)
        if info.type == fs.FileType.File:
            return system, [info]
        found = system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"dataset.sources {name} cannot be read ({error})", "check the address and the credentials") from None
    files = sorted((item for item in found if item.type == fs.FileType.File and _is_data(item.base_name)), key=lambda i: i.path)
    if not files:
        raise DataError(f"dataset.sources {name} has no file that ends with {', '.join(ENDINGS)}", "give the files themselves")
    return system, files


def _remote_records(name: str) -> Iterator[Record]:
    system, files = _remote_files(name)
    for item in files:
        try:
            with system.open_input_file(item.path) as file:
                data = file.read()
        except OSError as error:
            raise DataError(f"dataset.sources {item.path} cannot be read ({error})", "check the credentials") from None
        yield from _file_records(item.path, data)


@functools.cache
def _hub_data(name: str) -> Any:
    """The splits of a data set of the Hub, by name."""
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise DataError(
            f"dataset.sources {name} is no file here, and data sets of the Hub need the package `datasets`",
            "install it with `pip install datasets`, or give a file that exists",
        ) from None
    try:
        return load_dataset(name)
    except (OSError, ValueError, DatasetsError) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(
            f"dataset.sources {name} is no file here, and no data set of the Hub that can be read ({told})",
            "correct the name, or give a file that exists",
        ) from None


def _hub_state(name: str) -> str:
    return " ".join(
        f"{split} {len(rows)} {sorted(rows.info.download_checksums or [])}" for split, rows in _hub_data(name).items()
    )


def _hub_records(name: str) -> Iterator[Record]:
    stem, number = name.split("/")[1], 0
    for split, rows in _hub_data(name).items():
        for index, value in enumerate(rows, start=1):
            number += 1
            yield Record(f"{name}:{split}:{index}", stem, number, value)
