"""A stage directory is complete exactly when its manifest is there, and reused exactly when its fingerprint fits."""

import pytest

from aria_ray import artifacts
from aria_ray.errors import AriaError, DataError
from aria_ray.records import Manifest
from aria_ray.results import DatasetResult

KIND = Manifest[DatasetResult]
RESULT = DatasetResult(num_rows=5, num_templates=1, near_duplicate_share=0.0)


def manifest(directory, fingerprint="a" * 16):
    return KIND(
        stage="dataset",
        fingerprint=fingerprint,
        upstream={},
        config={},
        files=artifacts.file_hashes(directory),
        versions={},
        commit=None,
        created="2026-01-01T00:00:00+00:00",
        wall_s=1.0,
        result=RESULT,
    )


@pytest.fixture
def finished(tmp_path):
    artifacts.begin(tmp_path, "a" * 16)
    (tmp_path / "rows.txt").write_text("rows")
    artifacts.finish(tmp_path, manifest(tmp_path))
    return tmp_path


def test_a_finished_stage_is_reused(finished):
    assert artifacts.finished(finished, "a" * 16, KIND) == manifest(finished)


def test_a_folder_of_somebody_elses_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds files that are no stage's"):
        artifacts.begin(tmp_path, "a" * 16)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_another_configuration_is_refused_with_both_fingerprints(finished):
    with pytest.raises(DataError, match=r"a{16}.*b{16}"):
        artifacts.finished(finished, "b" * 16, KIND)


def test_an_unfinished_stage_is_continued_for_the_same_configuration_only(tmp_path):
    artifacts.begin(tmp_path, "a" * 16)
    assert artifacts.finished(tmp_path, "a" * 16, KIND) is None
    with pytest.raises(DataError, match=r"a{16}.*b{16}"):
        artifacts.finished(tmp_path, "b" * 16, KIND)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("other")])
def test_a_damaged_file_is_noticed(finished, damage):
    damage(finished / "rows.txt")
    with pytest.raises(DataError, match=r"rows\.txt is missing or was changed"):
        artifacts.finished(finished, "a" * 16, KIND)


def test_a_manifest_of_another_version_is_left_alone(finished):
    path = finished / artifacts.MANIFEST
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(DataError, match=r"written by another version .*choose another --out"):
        artifacts.finished(finished, "a" * 16, KIND)


def test_a_damaged_manifest_is_one_clear_error(finished):
    (finished / artifacts.MANIFEST).write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        artifacts.finished(finished, "a" * 16, KIND)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        artifacts.write_text(path, "half \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_written_whole_replaces_the_old_one(tmp_path):
    path = tmp_path / "folder"
    (path / "old").mkdir(parents=True)
    with artifacts.atomic_dir(path) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("new")
        assert (path / "old").is_dir()
    assert [str(entry.relative_to(tmp_path)) for entry in sorted(tmp_path.rglob("*"))] == [
        "folder",
        "folder/inner",
        "folder/inner/file",
    ]
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_directory_whose_writing_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").write_text("old")
    with pytest.raises(UnicodeEncodeError), artifacts.atomic_dir(path) as temporary:
        (temporary / "file").write_text("half \ud800")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    assert (path / "file").read_text() == "old"


def test_what_killed_processes_left_is_deleted_by_name(tmp_path):
    for name in ("folder", ".folder.abc", ".folder.def", ".other.abc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    (tmp_path / ".folder.ghi").write_text("")
    artifacts.remove_leftovers(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.abc", "folder"]
    artifacts.remove_leftovers(tmp_path / "oth*")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_output_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AriaError, match="must be writable"):
        artifacts.check_writable(tmp_path / "file", 0.001)


def test_an_output_directory_without_space_is_refused(tmp_path):
    with pytest.raises(AriaError, match=r"GiB left and this run needs 1000000000\.0"):
        artifacts.check_writable(tmp_path, 1e9)
