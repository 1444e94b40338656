"""What a worker says of itself; training on Ray is in tests/integration/test_training.py."""

import errno
from types import SimpleNamespace

import pytest

from aria_ray.errors import TrainingError
from aria_ray.training import train, worker


def test_a_workers_gpu_is_named_as_telemetry_names_it(monkeypatch):
    """On a fake of torch's properties of an MI300X: no GPU is at hand."""
    gpu = SimpleNamespace(pci_domain_id=0, pci_bus_id=0xC5, pci_device_id=0)
    monkeypatch.setattr(train.torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(train.torch.cuda, "get_device_properties", {3: gpu}.get)
    monkeypatch.setattr(train.ray.util, "get_node_ip_address", lambda: "10.0.0.1")
    assert train._own_gpu() == ("10.0.0.1", "0000:c5:00")


@pytest.mark.parametrize(
    ("raised", "problem", "fix"),
    [
        (TrainingError("loss is nan; step 3", "lower the rate"), "loss is nan; step 3", "lower the rate"),
        (OSError(errno.ENOSPC, "no space"), "is full", "make room, then run again"),
    ],
)
def test_what_a_worker_cannot_do_reaches_the_driver_with_its_way_out(tmp_path, monkeypatch, raised, problem, fix):
    class BrokenWorker:
        def __init__(self, *_):
            pass

        def run(self):
            raise raised

    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr(worker, "Worker", BrokenWorker)
    monkeypatch.setattr(train.ray.train, "get_context", lambda: context)
    args = SimpleNamespace(out=tmp_path, config=SimpleNamespace(use_gpu=False))
    trainer = SimpleNamespace(fit=lambda: train._train_worker({"args": args}))
    with pytest.raises(TrainingError) as caught:
        train._fit(trainer, tmp_path, lambda _event: None)
    assert problem in caught.value.problem
    assert caught.value.fix == fix
