"""What a worker says of itself; training on Ray is in tests/integration/test_training.py."""

from types import SimpleNamespace

from aria_ray.training import train


def test_a_workers_gpu_is_named_as_telemetry_names_it(monkeypatch):
    """On a fake of torch's properties of an MI300X: no GPU is at hand."""
    gpu = SimpleNamespace(pci_domain_id=0, pci_bus_id=0xC5, pci_device_id=0)
    monkeypatch.setattr(train.torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(train.torch.cuda, "get_device_properties", {3: gpu}.get)
    monkeypatch.setattr(train.ray.util, "get_node_ip_address", lambda: "10.0.0.1")
    assert train._own_gpu() == ("10.0.0.1", "0000:c5:00")
