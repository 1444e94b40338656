"""The JSON Schema of `report.json`, shipped as `report.schema.json` beside this module.

`python -m aria_ray.report.schema` writes that file again, from the records.
"""

import json
from pathlib import Path
from typing import Any

from aria_ray.records import Report

FILE = Path(__file__).with_name("report.schema.json")


def report_schema() -> dict[str, Any]:
    """The schema by the records as they are (draft 2020-12)."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(report_schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
