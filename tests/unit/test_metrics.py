"""The page of all figures follows from the table."""

from pathlib import Path

from aria_ray import metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == metrics.page(), "run `python -m aria_ray.metrics > docs/metrics.md`"
