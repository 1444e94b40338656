"""What the tests of the dataset share."""

import pytest

from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import RowMaker


@pytest.fixture(scope="session")
def row_maker():
    """The templates that come with the package, with their tool lists."""
    return RowMaker(library())
