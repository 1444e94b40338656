"""What the tests of the training share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The models here are so small that threads cost more than they bring, the more so beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
