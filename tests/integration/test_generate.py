import hashlib
import json
import logging

import pyarrow.parquet as pq
import pytest
import ray

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset import generate
from aria_ray.dataset.generate import generate_dataset, read_rows
from aria_ray.errors import DataError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def _ray():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    yield
    ray.shutdown()


def make(out, num_workers, monkeypatch):
    monkeypatch.setattr(generate, "ROWS_PER_PARQUET_FILE", 200)
    config = DatasetConfig(num_templates=60, augmentations=5, num_workers=num_workers)
    progress = []
    generate_dataset(config, out, lambda done, rows: progress.append((done, rows)))
    assert progress[-1] == (300, 300)
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_files_do_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    one = make(tmp_path / "one", 1, monkeypatch)
    assert one == make(tmp_path / "two", 2, monkeypatch)
    assert set(one) == {"final_dataset.jsonl", "parquet/rows-00000.parquet", "parquet/rows-00001.parquet", "quality.json"}

    rows = list(read_rows(tmp_path / "one" / "final_dataset.jsonl"))
    ids = [row["id"] for row in rows]
    assert ids == sorted(set(ids))
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["template_family"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())

    table = pq.read_table(tmp_path / "one" / "parquet").to_pylist()
    assert [json.loads(item["messages"]) for item in table] == [row["messages"] for row in rows]
    assert [json.loads(item["tools"]) for item in table] == [row["tools"] for row in rows]


def test_dataset_that_fails_a_gate_is_not_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("aria_ray.dataset.checks.MAX_DUPLICATE_SHARE", -1.0)
    with pytest.raises(DataError, match="repeat a question"):
        generate_dataset(DatasetConfig(num_templates=40, augmentations=2), tmp_path)
    assert list(tmp_path.iterdir()) == []
