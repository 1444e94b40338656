"""The state of training: the adapter and the optimizer's averages, in memory (whole or sharded) and as files.

With `parallelism: fsdp` the decoder layers are sharded over the workers (FSDP2), for base models that one device does not
hold beside its work. Embeddings and output head, a small part of a large model, stay whole on every worker. Files hold whole
tensors, the adapter in PEFT's format.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from aria_ray.training.model import trainable_parameters
from aria_ray.training.worker_args import ADAPTER

WEIGHTS, OPTIMIZER = "adapter_model.safetensors", "optimizer.safetensors"


@dataclass(frozen=True)
class AdapterState:
    """Adapter weights and optimizer averages by name, as whole tensors."""

    adapter: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def shard_layers(model: PeftModel) -> None:
    """Shard the decoder layers, adapter included, over all workers. Every worker must call it with the same weights."""
    base = model.get_base_model()
    mesh = init_device_mesh(base.device.type, (dist.get_world_size(),))
    for layer in base.base_model.layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)


def gather_state(model: PeftModel, optimizer: torch.optim.Optimizer) -> AdapterState:
    """The state of training as whole tensors. With sharded weights every worker must call this."""
    # The adapter first: reading it puts sharded weights in their places.
    adapter = {name: _gathered(value) for name, value in _adapter(model).items()}
    averages = {}
    for name, parameter in trainable_parameters(model).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            averages[f"{name}|{key}"] = _gathered(value)
    return AdapterState(adapter, averages)


def write_state(folder: Path, model: PeftModel, state: AdapterState) -> None:
    """Write a state into a folder, the adapter so that `PeftModel.from_pretrained` loads it."""
    (folder / ADAPTER).mkdir()
    for config in model.peft_config.values():
        config.save_pretrained(folder / ADAPTER)
    save_file({name: value.contiguous() for name, value in state.adapter.items()}, folder / ADAPTER / WEIGHTS)
    save_file(state.optimizer, folder / OPTIMIZER)


def restore_state(folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer) -> None:
    """Load a checkpoint into a model and an optimizer of the same configuration as those that wrote it."""
    weights, mine = load_file(folder / ADAPTER / WEIGHTS), _adapter(model)
    assert set(weights) == set(mine), "the checkpoint's adapter has the shape of this configuration's"
    with torch.no_grad():
        for name, value in weights.items():
            mine[name].copy_(_sharded_like(value, mine[name]))
    parameters = trainable_parameters(model)
    optimizer.state.clear()
    for combined, value in load_file(folder / OPTIMIZER).items():
        name, key = combined.split("|")
        parameter = parameters[name]
        # The step count is one number, which torch keeps on the CPU.
        optimizer.state[parameter][key] = _sharded_like(value, parameter) if value.shape == parameter.shape else value


def _adapter(model: PeftModel) -> dict[str, Tensor]:
    """The adapter's tensors by their names in PEFT's files, sharing memory with the model."""
    state: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def _gathered(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor; any other tensor as it is. Workers must call it for the same tensors in the same order."""
    if isinstance(tensor, DTensor):
        full: Tensor = tensor.full_tensor()
        return full
    return tensor


def _sharded_like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, sharded as `other` is and on its device."""
    if isinstance(other, DTensor):
        sharded: Tensor = distribute_tensor(value.to(other.device), other.device_mesh, other.placements)
        return sharded
    return value.to(other.device)
