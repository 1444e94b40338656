"""What a run found: for programs (`report.json`), for people (`system_report.txt`), and with plots (`report.html`)."""

from pathlib import Path

from aria_ray.artifacts import write_text
from aria_ray.records import Report
from aria_ray.report.build import build_report
from aria_ray.report.text import render_text

__all__ = ["build_report", "render_text", "write_report"]


def write_report(report: Report, out: Path) -> None:
    """Write `report.json`, `system_report.txt` and `report.html` into the run directory."""
    write_text(out / "report.json", report.model_dump_json(indent=2) + "\n")
    write_text(out / "system_report.txt", render_text(report))
    # Matplotlib takes seconds to import: not for those who only read reports.
    from aria_ray.report.evidence import read_evidence
    from aria_ray.report.html import render_html

    write_text(out / "report.html", render_html(report, read_evidence(report, out)))
