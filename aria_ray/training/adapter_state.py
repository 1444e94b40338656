"""What training holds in memory, as files: the adapter in PEFT's format, and the optimizer's averages."""

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from aria_ray.training.model import trainable_parameters
from aria_ray.training.shard import spread_like, whole
from aria_ray.training.worker_args import ADAPTER

WEIGHTS, OPTIMIZER = "adapter_model.safetensors", "optimizer.safetensors"


@dataclass(frozen=True)
class AdapterState:
    """Weights and averages by name, whole tensors."""

    adapter: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def gather_state(model: PeftModel, optimizer: torch.optim.Optimizer) -> AdapterState:
    """The state of training. With sharded weights every worker must call it."""
    adapter = {name: whole(value) for name, value in _adapter(model).items()}  # first: it puts sharded weights in their places
    averages = {}
    for name, parameter in trainable_parameters(model).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            averages[f"{name}|{key}"] = whole(value)
    return AdapterState(adapter, averages)


def write_state(folder: Path, model: PeftModel, state: AdapterState) -> None:
    """Write it into a folder; the adapter loads with `PeftModel.from_pretrained`."""
    (folder / ADAPTER).mkdir()
    for config in model.peft_config.values():
        config.save_pretrained(folder / ADAPTER)
    save_file({name: value.contiguous() for name, value in state.adapter.items()}, folder / ADAPTER / WEIGHTS)
    save_file(state.optimizer, folder / OPTIMIZER)


def restore_state(folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer) -> None:
    """Load a checkpoint into a model and optimizer made the same way as those that wrote it."""
    weights, mine = load_file(folder / ADAPTER / WEIGHTS), _adapter(model)
    assert set(weights) == set(mine), "the checkpoint's adapter has the shape of this configuration's"
    with torch.no_grad():
        for name, value in weights.items():
            mine[name].copy_(spread_like(value, mine[name]))
    parameters = trainable_parameters(model)
    optimizer.state.clear()
    for combined, value in load_file(folder / OPTIMIZER).items():
        name, key = combined.split("|")
        parameter = parameters[name]
        # The count of steps is one number, which torch keeps on the processor.
        optimizer.state[parameter][key] = spread_like(value, parameter) if value.shape == parameter.shape else value


def _adapter(model: PeftModel) -> dict[str, Tensor]:
    """The adapter's tensors by their names in PEFT's files, sharing memory with the model."""
    state: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state
