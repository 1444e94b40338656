"""What decides the rows of a dataset: hashed into the fingerprint of the stage."""

from typing import Any

from aria_ray.artifacts import file_hash
from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.loading import templates_digest
from aria_ray.dataset.user_rows import path_and_share
from aria_ray.dataset.user_tools import tool_file
from aria_ray.errors import DataError


def dataset_inputs(config: DatasetConfig) -> dict[str, Any]:
    """The section without the number of workers, the templates, and the hashes of the user's files.

    Raises:
        DataError: a file of `dataset.tools` or `dataset.sources` is not there.
    """
    paths = [tool_file(str(source)) for source in config.tools]
    paths += [path_and_share(source)[0] for source in config.sources]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]} of dataset.tools or dataset.sources is no file", "give one that exists")
    section = {"dataset": config.model_dump(mode="json", exclude={"num_workers"}), "templates": templates_digest()}
    return section | ({"own": [file_hash(path) for path in paths]} if paths else {})
