"""The GPU that torch computes on is one that telemetry reads."""

import pytest
import torch

from aria_ray.telemetry.gpus import find_gpus
from aria_ray.training.train import _own_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def test_a_workers_gpu_is_found_by_its_address():
    _, address = _own_gpu()
    gpus = find_gpus()
    assert gpus.addresses.count(address) == 1
    assert gpus.read()[gpus.addresses.index(address)].memory_gib > 0
