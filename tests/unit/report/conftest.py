"""A finished run to read: made up, and complete."""

from pathlib import Path

import pytest
import synthetic_run

from aria_ray.records import Report


@pytest.fixture
def run_directory(tmp_path: Path) -> tuple[Path, Report]:
    """A run directory with everything that the page can show, and its report."""
    out = tmp_path / "run"
    out.mkdir()
    return out, synthetic_run.write_run(out)
