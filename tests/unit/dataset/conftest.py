"""What the tests of the dataset share."""

import pytest

from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import Source


@pytest.fixture(scope="session")
def source():
    """The templates that come with the package, with their toolboxes."""
    return Source(library())
