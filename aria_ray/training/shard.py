"""The model's weights spread over the workers (FSDP2), for base models that one device does not hold beside its work.

Decoder layers are sharded; embeddings and output head, a small part of a large model, stay whole on every worker.
"""

import torch.distributed as dist
from peft import PeftModel
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(model: PeftModel) -> None:
    """Spread the layers of a model, adapter included, over all workers. Every worker must call it with the same weights."""
    base = model.get_base_model()
    mesh = init_device_mesh(base.device.type, (dist.get_world_size(),))
    for layer in base.model.layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together; another as it is. Every worker must call it for the same tensors in the same order."""
    if isinstance(tensor, DTensor):
        together: Tensor = tensor.full_tensor()
        return together
    return tensor


def spread_like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor sharded as another is, or as it is if the other is whole."""
    if isinstance(other, DTensor):
        spread: Tensor = distribute_tensor(value.to(other.device), other.device_mesh, other.placements)
        return spread
    return value.to(other.device)
