"""The dataset stage: templates in YAML, rows made and checked by Ray Data, gates that can fail the run."""
