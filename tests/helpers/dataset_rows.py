"""The rows of a finished dataset."""

import json
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a `final_dataset.jsonl`."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
