"""What training holds in memory, as files: the adapter in PEFT's format, and the optimizer's averages."""

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from aria_ray.training.model import trainable_parameters
from aria_ray.training.settings import ADAPTER

OPTIMIZER = "optimizer.safetensors"


def write_state(folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer) -> None:
    """Write both into a folder."""
    model.save_pretrained(folder / ADAPTER, save_embedding_layers=False)
    parameters = trainable_parameters(model)
    state = optimizer.state_dict()["state"]
    tensors = {
        f"{name}|{key}": value
        for index, name in enumerate(parameters)
        for key, value in state.get(index, {}).items()
        if isinstance(value, torch.Tensor)
    }
    save_file(tensors, folder / OPTIMIZER)


def restore_state(folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer) -> None:
    """Load a checkpoint into a model and optimizer made the same way as those that wrote it."""
    weights = load_file(folder / ADAPTER / "adapter_model.safetensors")
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    assert set(weights) == expected, "the checkpoint's adapter has the shape of this configuration's"
    set_peft_model_state_dict(model, weights)
    tensors = load_file(folder / OPTIMIZER)
    names = {name: index for index, name in enumerate(trainable_parameters(model))}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for combined, value in tensors.items():
        name, key = combined.split("|")
        state.setdefault(names[name], {})[key] = value
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)
