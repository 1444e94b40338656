"""Test cases of example requests: word for word as people said them."""

from collections.abc import Sequence

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.from_requests.own import OwnRequests, Source, read_files
from aria_ray.dataset.from_requests.rows import RequestRows
from aria_ray.dataset.rows import Row
from aria_ray.errors import DataError
from aria_ray.requests.read import check_examples
from aria_ray.requests.template import RequestTemplate
from aria_ray.tools.sources import read_tools


def request_cases(config: DatasetConfig, files: Sequence[str], named_by: str = "validation.requests") -> list[Row]:
    """Rows of the split `test` from files of example requests, about the tools of `dataset.tools`.

    Raises:
        DataError: a file cannot be read, there are no tools, or a request does not fit them.
    """
    tools = read_tools(config.tools)
    placed = read_files(files, named_by)
    if not tools:
        raise DataError(f"{named_by} {files[0]} has requests and dataset.tools names no tools", "name the tools that they call")
    check_examples(placed, {name: tool.definition for name, tool in tools.items()})
    # Nothing is filled in again, so no values are looked for in the words.
    sources = [Source("request", number, RequestTemplate(example, ()), True) for number, (_, example) in enumerate(placed, 1)]
    rows = RequestRows(OwnRequests(tools, tuple(sources)), 1, config.seed)
    return [{**rows.as_written(source, "test"), "id": f"{source.id}/test"} for source in sources]
